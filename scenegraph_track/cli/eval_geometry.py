"""``scenegraph-track eval flow``, ``depth`` and ``pose``: figures of geometry on exact or recorded truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scenegraph_track.cli.console import BadUsage, note, usage
from scenegraph_track.cli.crew import ALONE
from scenegraph_track.cli.eval_groups import WHAT, Clips, Folder, Networks, Scale, Weights, Workers, grouped
from scenegraph_track.cli.geometry_report import (
    depth_sheet,
    flow_sheet,
    show,
    show_depth,
    show_motion,
    trajectory_sheet,
)
from scenegraph_track.cli.output_files import Output


@grouped
def flow(
    folder: Folder = None,
    *,
    clips: Clips,
    weights: Weights = None,
    workers: Workers = ALONE,
    files: Output,
) -> None:
    """End-point error and time of the learned optical flow beside DIS, on objects, borders and background."""
    from scenegraph_track.cli.measuring import Measuring
    from scenegraph_track.evaluation.flow import PROTOCOL, flow_figures

    source = clips.source(folder)
    measuring = Measuring.prepare(source, None, "none", None, weights, workers)
    if measuring.estimators.learned_flow is None:
        note("no trained network for flow ships with this version: DIS alone is measured")
    figures, rows, shown = measuring.measure("flow", flow_figures, files.rows)
    show("end-point error", figures["methods"])
    files.finish(figures, rows, measuring.about(), PROTOCOL)
    files.draw(lambda: flow_sheet(shown))


@grouped
def depth(
    folder: Folder = None,
    *,
    clips: Clips,
    networks: Networks,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Judge depth maps NAME.npy or NAME.png (16 bit, millimetres) beside FOLDER/depth/NAME.png.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    scale: Scale = True,
    workers: Workers = ALONE,
    files: Output,
) -> None:
    """AbsRel, SqRel, RMSE and threshold shares of video depth beside the network alone, triangulation and mean maps."""
    from scenegraph_track.cli.measuring import Measuring
    from scenegraph_track.evaluation.depth import PROTOCOL, depth_report

    if results is not None:
        _judge_depth_files(folder, results, scale, files)
        return
    if not scale:
        raise BadUsage("--no-scale: video depth has no scale of its own; it goes with --results")
    source = clips.source(folder)
    measuring = Measuring.prepare(source, **vars(networks), workers=workers, prior=clips.preset)
    figures, rows, shown = measuring.measure("depth", depth_report, files.rows)
    show_depth(figures)
    files.finish(figures, rows, measuring.about(), PROTOCOL)
    files.draw(lambda: depth_sheet(shown))


@grouped
def pose(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER | RESULT.txt",
            help="A recording in place of worlds, see eval depth; or a trajectory to be compared with --truth.",
            show_default=False,
        ),
    ] = None,
    *,
    clips: Clips,
    networks: Networks,
    trajectories: Annotated[
        int, typer.Option(min=0, help="Clips through which the camera is followed.", rich_help_panel=WHAT)
    ] = 6,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The true trajectory of RESULT.txt; TUM or KITTI format.", rich_help_panel=WHAT
        ),
    ] = None,
    scale: Scale = True,
    workers: Workers = ALONE,
    files: Output,
) -> None:
    """Camera motion beside identity and classical estimates, motion residual beside a homography's, trajectories."""
    from scenegraph_track.cli.measuring import Measuring
    from scenegraph_track.evaluation.pose import PROTOCOL, pose_report
    from scenegraph_track.evaluation.trajectories import PROTOCOL as TRAJECTORIES
    from scenegraph_track.evaluation.trajectories import trajectory_report

    if truth is not None or (folder is not None and folder.is_file()):
        _judge_trajectory(folder, truth, scale, files)
        return
    if not scale:
        raise BadUsage("--no-scale: the motions of one camera have no scale of their own; it goes with --truth")
    source = clips.source(folder)
    measuring = Measuring.prepare(source, **vars(networks), workers=workers, prior=clips.preset)
    figures, rows, _ = measuring.measure("pose", pose_report, 0)
    followed = measuring.follow(trajectories)
    figures["trajectory"] = trajectory_report(followed)
    show_motion(figures)
    files.finish(figures, rows, measuring.about(), (*PROTOCOL, TRAJECTORIES))
    files.draw(lambda: trajectory_sheet(followed))


def _judge_trajectory(result: Path | None, truth: Path | None, scale: bool, files: Output) -> None:
    """Compare two files."""
    from scenegraph_track.evaluation.trajectories import compare, read_trajectory

    if result is None or truth is None:
        raise BadUsage("expected a trajectory and --truth: eval pose RESULT.txt --truth TRUTH.txt")
    for path in (result, truth):
        if not path.is_file():
            raise BadUsage(f"{path}: no such file")
    found = compare(result.stem, read_trajectory(result), read_trajectory(truth), scale)
    figures = {**vars(found.figures), "alignment": "Sim(3)" if scale else "SE(3)"}
    show(f"{result.name} aligned by {figures['alignment']}", {result.stem: vars(found.figures), "still": found.still})
    files.finish(figures, {}, {}, ())
    files.draw(lambda: trajectory_sheet([found]))


def _judge_depth_files(folder: Path | None, results: Path, scale: bool, files: Output) -> None:
    """Compare the depth maps of two folders."""
    from scenegraph_track.evaluation.depth_files import compare_folders
    from scenegraph_track.evaluation.geometry import mean_figures

    if folder is None:
        raise BadUsage("--results: expected the folder with the truth too: eval depth FOLDER --results DIR")
    if files.picture:
        raise BadUsage("--picture: does not go with --results")
    with usage():
        found = compare_folders(folder, results, scale)
    figures = vars(mean_figures(found.values()))
    scaling = "median scaling of each frame" if scale else "no scaling"
    show(f"depth of {len(found)} frames, {scaling}", {results.name: figures})
    rows = {name: vars(one) for name, one in found.items()}
    files.finish(figures, rows, {"sequences": len(found), "scaling": scaling}, ())

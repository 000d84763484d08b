"""``scenegraph-track eval objects``: objects found without labels, on worlds or annotated real videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from scenegraph_track.cli.console import BadUsage, note, usage
from scenegraph_track.cli.crew import ALONE
from scenegraph_track.cli.eval_groups import WHAT, WHERE, Clips, Networks, Workers, grouped
from scenegraph_track.cli.geometry_report import show
from scenegraph_track.cli.output_files import Output


@dataclass(frozen=True)
class _Clips(Clips):
    frames: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Frames of each world; the preset decides otherwise. Longer videos are cut into parts of at most so "
            "many.  [default there: 80]",
            rich_help_panel=WHERE,
        ),
    ] = None


@dataclass(frozen=True)
class _Networks(Networks):
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Weights of the detector in place of those that ship, and, given again, of networks for flow or depth "
            "beside it.",
            rich_help_panel=WHAT,
        ),
    ] = None


@grouped
def objects(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="Annotated videos in place of worlds, one or a folder of them: MOTChallenge (img1, gt: boxes) or "
            "DAVIS (JPEGImages, Annotations: masks).",
            show_default=False,
        ),
    ] = None,
    *,
    clips: _Clips,
    networks: _Networks,
    workers: Workers = ALONE,
    files: Output,
) -> None:
    """FG-ARI, mBO, box recall and CorLoc of the learned detector beside k-means, components of motion and blocks."""
    from scenegraph_track.cli.measuring import Measuring
    from scenegraph_track.evaluation.object_clips import PART, ObjectWorlds, Videos
    from scenegraph_track.evaluation.object_methods import learned_method, part_weights
    from scenegraph_track.evaluation.objects import DRAWN, PROTOCOL, object_figures
    from scenegraph_track.visualize.objects import object_sheet

    part = clips.frames or PART
    if folder is not None:
        clips = replace(clips, frames=None)
    source = clips.source(folder, worlds=ObjectWorlds, recorded=lambda path: Videos(path, part))
    with usage():
        detector, others = part_weights(networks.weights or [])
        if others and detector is None:
            beside = "those of networks for flow or depth go beside them"
            raise BadUsage(f"--weights {others[0]}: expected weights of a detector; {beside}")
        learned = learned_method(detector)
    measuring = Measuring.prepare(
        source, networks.flow, networks.depth, networks.config, others, workers, detector=detector
    )
    if learned is None:
        note("no trained detector ships with this version: the baselines alone are measured")
    figures, rows, shown = measuring.measure("objects", object_figures, -(-files.rows // DRAWN))
    _show(figures)
    about = measuring.about()
    about["uses"] = {**about["uses"], "detector": "none" if learned is None else detector or "embedded"}
    files.finish(figures, rows, about, PROTOCOL)
    files.draw(lambda: object_sheet(shown))


def _show(figures: Mapping[str, Any]) -> None:
    """Print the figures that there are, masks and boxes in one table, then what moves apart from what stands still."""
    methods = figures["methods"]
    for title, apart in (("objects found, percent", False), ("what moves and what stands still, percent", True)):
        columns = [
            column
            for column in next(iter(methods.values()))
            if column.endswith(("_moving", "_still")) == apart
            and any(row[column] == row[column] for row in methods.values())
        ]
        if columns:
            show(title, {name: {column: row[column] for column in columns} for name, row in methods.items()}, digits=1)

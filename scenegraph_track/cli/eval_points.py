"""``scenegraph-track eval points``: points followed through occlusion, on worlds or a recording of a still scene."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from scenegraph_track.cli.console import choose, usage
from scenegraph_track.cli.crew import ALONE
from scenegraph_track.cli.eval_groups import WHAT, Folder, Workers, grouped
from scenegraph_track.cli.geometry_report import show
from scenegraph_track.cli.output_files import Tables
from scenegraph_track.cli.progress import progress_bar
from scenegraph_track.cli.spread import spread

FIGURES = ("occlusion_accuracy", "delta_avg", "average_jaccard")


@dataclass(frozen=True, eq=False)
class _Job:
    """What all clips of one call share."""

    source: Any
    weights: Path | None

    def __call__(self, number: int) -> tuple[str, dict[str, dict[str, float]]]:
        from scenegraph_track.evaluation.point_methods import point_methods
        from scenegraph_track.evaluation.points import clip_figures

        clip, found = self.source.clip(number), {}
        for name, follow in point_methods(_tracker(self.weights)).items():
            start = time.perf_counter()
            positions, visible = follow(clip)
            spent = time.perf_counter() - start
            found[name] = {**clip_figures(clip, positions, visible), "ms": 1000 * spent / len(clip.images)}
        return clip.name, found


def _tracker(weights: Path | None) -> Any:
    from scenegraph_track.occlusion.embedded import SHIPPED
    from scenegraph_track.occlusion.point_tracker import PointTracker

    if weights is None and not SHIPPED.is_file():
        return None
    return PointTracker.from_pretrained("embedded" if weights is None else weights)


@grouped
def points(
    folder: Folder = None,
    *,
    preset: Annotated[str, typer.Option(metavar="NAME", help="Kind of worlds.")] = "standard",
    split: Annotated[str, typer.Option(help="Part of the worlds: train, val or test.")] = "test",
    sequences: Annotated[int, typer.Option(min=1, help="How many worlds.")] = 40,
    frames: Annotated[int | None, typer.Option(min=6, help="Frames of each; the preset decides otherwise.")] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Image size of the worlds.")] = "256x256",
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Weights in place of those that ship.", rich_help_panel=WHAT),
    ] = None,
    workers: Workers = ALONE,
    files: Tables,
) -> None:
    """TAP-Vid figures of the point tracker beside chained optical flow (DIS) and pyramidal Lucas-Kanade."""
    from scenegraph_track.cli.synth import parse_size
    from scenegraph_track.data.worlds import PRESETS, SPLITS
    from scenegraph_track.evaluation.point_clips import PointRecordings, PointWorlds
    from scenegraph_track.evaluation.point_methods import LEARNED
    from scenegraph_track.evaluation.points import PROTOCOL, known_mean

    choose("--preset", preset, PRESETS)
    choose("--split", split, SPLITS)
    with usage():
        source = (
            PointWorlds(preset, split, sequences, parse_size(size), frames)
            if folder is None
            else PointRecordings(folder)
        )
        _tracker(weights)
    rows: dict[str, dict[str, dict[str, float]]] = {}
    with progress_bar(None, len(source)) as bar:
        for name, found in spread(_Job(source, weights), range(len(source)), workers):
            rows[name] = found
            bar.ended()
    methods = list(next(iter(rows.values())))
    means = {
        method: {
            figure: known_mean([row[method].get(figure, float("nan")) for row in rows.values()])
            for figure in next(iter(rows.values()))[method]
        }
        for method in methods
    }
    show("points followed, percent", means, digits=1)
    ours = means.get(LEARNED, {})
    figures: dict[str, Any] = {figure: ours.get(figure, float("nan")) for figure in FIGURES}
    for figure in FIGURES:
        for baseline in ("dis", "lk"):
            figures[f"{figure}_{baseline}"] = max(means[baseline][figure], means[f"{baseline}_lost"][figure])
    files.finish(
        {**figures, "methods": means},
        rows,
        {"clips": len(rows), "weights": "embedded" if weights is None else str(weights)},
        PROTOCOL,
    )

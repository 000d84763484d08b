"""``scenegraph-track points``: follow points of videos, also while they are hidden."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenegraph_track.cli.console import BadUsage, note, say, usage

if TYPE_CHECKING:
    from scenegraph_track.tracking.point_run import GivenPoint

GRID = 32.0
"""Spacing of the grid where no points are given, pixels."""


def points(
    source: Annotated[
        str,
        typer.Argument(
            help="A video, a folder or glob of images, a sequence (see track), or a folder of many of them.",
            show_default=False,
        ),
    ],
    point: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y[,FRAME]",
            help="Follow this point, in pixels of a frame (from 0, the first unless it is given); repeatable.",
        ),
    ] = None,
    grid: Annotated[
        float | None,
        typer.Option(
            metavar="SPACING",
            min=2,
            help=f"Follow a grid of points of the first frame, so many pixels apart.  [default: {GRID:g} without "
            "--point]",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for SEQUENCE.points.csv (point,frame,x,y,visible,confidence: point and frame from 0, "
            "pixels, 1 seen or 0 hidden, a probability), .points.mp4 and .points.run.json (how they were made).",
        ),
    ] = Path("out"),
    save_video: Annotated[
        bool,
        typer.Option("--save-video", help="Write SEQUENCE.points.mp4: points with short tails, hidden ones hollow."),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Make everything again. Without it, finished sequences are skipped, and files that were made "
            "otherwise are left alone.",
        ),
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights in place of those that ship.", show_default=False)
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="New frames that are looked at together.  [default: as the network was trained]",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.")] = False,
) -> None:
    """Follow points through one video or many sequences.

    A frame that cannot be read is warned of, and the one before stands in for it.
    """
    from scenegraph_track.cli.progress import progress_bar
    from scenegraph_track.data.sequences import find_sequences
    from scenegraph_track.occlusion.point_tracker import PointTracker
    from scenegraph_track.tracking.point_run import PointOptions, PointRun, point_outputs, recipe

    with usage():
        given = tuple(_given(text) for text in point or ())
        options = PointOptions(given, GRID if grid is None and not given else grid, stride, save_video)
        sequences = find_sequences(source)
        if given and len(sequences) > 1:
            raise BadUsage(f"--point: expected one sequence, found {len(sequences)} in {source}")
        tracker = PointTracker.from_pretrained("embedded" if weights is None else weights, stride=stride)
        todo = []
        for sequence in sequences:
            record = recipe(sequence, options, weights)
            if not point_outputs(out, sequence).finished(record, options.suffixes, overwrite):
                todo.append((PointRun(sequence, tracker, options), point_outputs(out, sequence), record))
    if len(todo) < len(sequences) and not quiet:
        note(f"{len(sequences) - len(todo)} of {len(sequences)} sequences are finished already and skipped")
    lengths = [run.frames.length for run, _, _ in todo]
    total = None if None in lengths else sum(length or 0 for length in lengths)
    done = 0
    with usage(), progress_bar(total, len(todo), quiet) as bar:
        for run, outputs, record in todo:
            done += run.write(outputs, record, bar.advance)
            bar.ended()
    if todo and not quiet:
        say(f"{len(todo)} sequence{'s' * (len(todo) != 1)}, {done} frames: {out}")


def _given(text: str) -> GivenPoint:
    from scenegraph_track.tracking.point_run import GivenPoint

    parts = text.split(",")
    try:
        made = GivenPoint(float(parts[0]), float(parts[1]), int(parts[2]) if len(parts) > 2 else 0)
    except (ValueError, IndexError):
        made = GivenPoint(math.nan, math.nan)
    if not math.isfinite(made.x + made.y) or made.frame < 0 or len(parts) > 3:
        raise BadUsage(f"--point {text}: expected x,y in pixels, as 120,80, or x,y,frame, as 120,80,15")
    return made

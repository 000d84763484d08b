"""``scenegraph-track synth``: generated sequences with exact ground truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from scenegraph_track.cli.console import BadUsage, choose, err, say
from scenegraph_track.cli.progress import progress_bar
from scenegraph_track.errors import UserError

STREAMS = "streams/"
"""What stands before the presets of detection streams, which have no images."""


def synth(
    preset: Annotated[
        str,
        typer.Option(
            help="Kind of worlds: easy, standard, crowded, long_occlusion, static; or streams/street, streams/crowd, "
            "streams/sports, ...: detections with ground truth, without images."
        ),
    ] = "standard",
    split: Annotated[str, typer.Option(help="Part of the data: train, val or test.")] = "train",
    seed: Annotated[int, typer.Option(min=0, help="Number of the first sequence; the next ones count on.")] = 0,
    sequences: Annotated[int, typer.Option(min=1, help="How many sequences.")] = 1,
    frames: Annotated[
        int | None, typer.Option(min=2, help="Frames of each; the preset decides otherwise.", show_default=False)
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Image size of worlds in pixels; 480x360 otherwise.", show_default=False),
    ] = None,
    to: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of sequences, in the layout of MOTChallenge.")
    ] = Path("synth"),
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the first world as one picture (.png or .jpg).", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace sequences of the same names.")] = False,
) -> None:
    """Generate sequences with exact ground truth, to try, test and train trackers on.

    Worlds come with images, boxes, masks, depth, camera poses and sentences. The same arguments give the same bytes.
    """
    if preset.startswith(STREAMS):
        if size is not None:
            raise BadUsage("--size: streams have no images, and draw the size that their cameras would have")
        if sheet is not None:
            raise BadUsage("--sheet: streams have no images")
        _streams(preset.removeprefix(STREAMS), split, range(seed, seed + sequences), frames, to, overwrite)
    else:
        _worlds(preset, split, seed, sequences, frames, parse_size(size or "480x360"), to, overwrite)
        if sheet is not None:
            _sheet(sheet, preset, split, seed, frames, parse_size(size or "480x360"))
    say(f"{sequences} sequence{'s' * (sequences != 1)}: {to}")


def _worlds(
    preset: str,
    split: str,
    seed: int,
    sequences: int,
    frames: int | None,
    size: tuple[int, int],
    to: Path,
    overwrite: bool,
) -> None:
    from scenegraph_track.data.worlds import PRESETS, SPLITS
    from scenegraph_track.data.worlds.export import synthesise

    choose("--preset", preset, PRESETS)
    choose("--split", split, SPLITS)
    with err().status(f"generating {sequences} sequences"):
        synthesise(to, preset, split, seed, sequences, frames, size, overwrite)


def _sheet(path: Path, preset: str, split: str, seed: int, frames: int | None, size: tuple[int, int]) -> None:
    import cv2

    from scenegraph_track.data.worlds import render, sample_scene
    from scenegraph_track.data.worlds.sheet import contact_sheet
    from scenegraph_track.files import atomic_path

    if path.suffix.lower() not in {".png", ".jpg", ".jpeg"}:
        raise BadUsage(f"--sheet {path}: expected a file ending in .png or .jpg")
    picture = contact_sheet(render(sample_scene(preset, split, (seed, 0), size, frames)))
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


def _streams(preset: str, split: str, seeds: range, frames: int | None, to: Path, overwrite: bool) -> None:
    from scenegraph_track.data.streams import PRESETS, SPLITS, simulate, write_mot

    choose("--preset", preset, PRESETS, STREAMS)
    choose("--split", split, SPLITS)
    with progress_bar(None, len(seeds)) as bar:
        for seed in seeds:
            stream = simulate(preset, seed, split, frames)
            if (to / stream.name).exists() and not overwrite:
                raise UserError(f"{to / stream.name} exists already: add --overwrite, or choose another --out")
            write_mot(stream, to, overwrite)
            bar.advance(stream.frames)
            bar.ended()


def parse_size(text: str) -> tuple[int, int]:
    """(W, H) of a text like ``640x360``."""
    match = re.fullmatch(r"(\d{2,5})x(\d{2,5})", text)
    if match is None:
        raise BadUsage(f"--size {text}: expected WIDTHxHEIGHT in pixels, as 640x360")
    return int(match[1]), int(match[2])

"""``scenegraph-track synth``: generated sequences with exact ground truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from scenegraph_track.cli.console import BadUsage, choose, err, say
from scenegraph_track.cli.output_files import PICTURES, refuse_standing
from scenegraph_track.cli.progress import progress_bar

STREAMS = "streams/"
"""What stands before the presets of detection streams, which have no images."""


def synth(
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Kind of worlds: easy, standard, crowded, long_occlusion, static; or streams/street, streams/crowd, "
            "streams/sports, ...: detections with ground truth, without images.",
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace sequences and a sheet of the same names.")
    ] = False,
) -> None:
    """Generate sequences with exact ground truth, to try, test and train trackers on.

    Worlds come with images, boxes, masks, depth, camera poses and sentences. The same arguments give the same bytes.
    """
    from scenegraph_track.data import streams
    from scenegraph_track.data.worlds import PRESETS, SPLITS
    from scenegraph_track.data.worlds.export import synthesise, world_name

    choose("--preset", preset, [*PRESETS, *(STREAMS + name for name in streams.PRESETS)])
    choose("--split", split, SPLITS)
    kind, seeds = preset.removeprefix(STREAMS), range(seed, seed + sequences)
    if preset.startswith(STREAMS):
        if size is not None:
            raise BadUsage("--size: streams have no images, and draw the size that their cameras would have")
        if sheet is not None:
            raise BadUsage("--sheet: streams have no images")
        _refuse_sequences(to, [streams.stream_name(kind, split, one) for one in seeds], overwrite)
        _streams(kind, split, seeds, frames, to, overwrite)
    else:
        shape = parse_size(size or "480x360")
        if sheet is not None and sheet.suffix.lower() not in PICTURES:
            raise BadUsage(f"--sheet {sheet}: expected a file ending in .png or .jpg")
        refuse_standing({"--sheet": sheet}, overwrite)
        _refuse_sequences(to, [world_name(kind, split, seed, number) for number in range(sequences)], overwrite)
        with err().status(f"generating {sequences} sequences"):
            synthesise(to, kind, split, seed, sequences, frames, shape, overwrite)
        if sheet is not None:
            _sheet(sheet, kind, split, seed, frames, shape)
    say(f"{sequences} sequence{'s' * (sequences != 1)}: {to}")


def _refuse_sequences(to: Path, names: list[str], overwrite: bool) -> None:
    standing = next((to / name for name in names if (to / name).exists()), None)
    if standing is not None and not overwrite:
        raise BadUsage(f"{standing} exists already: add --overwrite to replace it, or choose another --out or --seed")


def _sheet(path: Path, preset: str, split: str, seed: int, frames: int | None, size: tuple[int, int]) -> None:
    import cv2

    from scenegraph_track.data.worlds import render, sample_scene
    from scenegraph_track.data.worlds.sheet import contact_sheet
    from scenegraph_track.files import atomic_write

    picture = contact_sheet(render(sample_scene(preset, split, (seed, 0), size, frames)))
    bgr, quality = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88]
    with atomic_write(path, "wb") as file:
        file.write(cv2.imencode(path.suffix, bgr, quality)[1].tobytes())


def _streams(preset: str, split: str, seeds: range, frames: int | None, to: Path, overwrite: bool) -> None:
    from scenegraph_track.data.streams import simulate, write_mot

    with progress_bar(None, len(seeds)) as bar:
        for seed in seeds:
            stream = simulate(preset, seed, split, frames)
            write_mot(stream, to, overwrite)
            bar.advance(stream.frames)
            bar.ended()


def parse_size(text: str) -> tuple[int, int]:
    """(W, H) of a text like ``640x360``."""
    from scenegraph_track.data.worlds.sample import SMALLEST

    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise BadUsage(f"--size {text}: expected WIDTHxHEIGHT in pixels, as 640x360")
    width, height = int(match[1]), int(match[2])
    if min(width, height) < SMALLEST:
        raise BadUsage(f"--size {text}: expected at least {SMALLEST} pixels in width and in height")
    return width, height

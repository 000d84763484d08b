"""What a MOTChallenge sequence folder says of itself in ``seqinfo.ini``, or what can be seen where that is missing."""

from __future__ import annotations

import configparser
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from scenegraph_track.data.mot import FRAME_MAX, read_rows
from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.files import absolute, list_images, read_text

FRAME_RATE = 30.0
"""Frames per second that are assumed where a sequence does not say."""


@dataclass(frozen=True)
class SequenceInfo:
    """Facts about one sequence.

    Args:
        name: The sequence's name as the file gives it, or the folder's.
        frame_rate: Frames per second.
        frame_rate_known: False where ``frame_rate`` is only assumed.
        length: Frames, or None where nothing tells.
        size: (W, H) in pixels, or None where nothing tells.
        image_dir: The folder of the images where it exists.
        extension: The images' suffix with its dot.
    """

    name: str
    frame_rate: float
    frame_rate_known: bool
    length: int | None
    size: tuple[int, int] | None
    image_dir: Path | None
    extension: str


def read_seqinfo(folder: str | Path) -> SequenceInfo:
    """Read ``seqinfo.ini`` of a sequence folder.

    What it does not say is taken from what is there: length and size from the images, else the length from the last
    frame of detections and ground truth; the frame rate is then 30 and marked as not known.

    Args:
        folder: A folder that holds some of ``seqinfo.ini``, ``img1``, ``det``, ``gt``.

    Raises:
        FormatError: ``seqinfo.ini`` is no such file or holds an impossible value.
        UserError: There is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    path = folder / "seqinfo.ini"
    text = read_text(path) if path.is_file() else ""
    values = _parse(path, text) if text.strip() else {}
    image_dir = folder / (values.get("imdir") or "img1")
    images = list_images(image_dir)
    rate = _number(path, text, values, "frameRate", "frames per second, more than 0", 1e6)
    length = _whole(path, text, values, "seqLength", "a number of frames from 0", 0, FRAME_MAX)
    width, height = (_whole(path, text, values, key, "pixels from 1", 1, 10**6) for key in ("imWidth", "imHeight"))
    if length is None:
        length = len(images) or _last_frame(folder)
    size = (width, height) if width and height else image_size(images) if images else None
    return SequenceInfo(
        name=values.get("name") or absolute(folder).name,
        frame_rate=rate or FRAME_RATE,
        frame_rate_known=rate is not None,
        length=length,
        size=size,
        image_dir=image_dir if image_dir.is_dir() else None,
        extension=values.get("imext") or (images[0].suffix if images else ".jpg"),
    )


def image_size(images: Sequence[Path]) -> tuple[int, int]:
    """(W, H) of the first of some image files that can be read, from its header alone.

    Raises:
        FormatError: None of the files is an image.
    """
    for path in images:
        try:
            with Image.open(path) as image:
                return image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
    raise FormatError(images[0], None, "an image")


def _parse(path: Path, text: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        wrong = getattr(error, "errors", None)
        line = wrong[0][0] if wrong else getattr(error, "lineno", None)
        raise FormatError(path, line, "a section [Sequence] with lines key=value, each key once") from None
    section = next((s for s in parser.sections() if s.lower() == "sequence"), None)
    if section is None:
        raise FormatError(path, None, "a section [Sequence]")
    return dict(parser[section])


def _number(path: Path, text: str, values: dict[str, str], key: str, expected: str, most: float) -> float | None:
    value = values.get(key.lower(), "")
    if not value:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number <= most:
        raise FormatError(path, _line_of(text, key), f"{key} as {expected}", repr(value))
    return number


def _whole(path: Path, text: str, values: dict[str, str], key: str, expected: str, least: int, most: int) -> int | None:
    value = values.get(key.lower(), "")
    if not value:
        return None
    if not re.fullmatch(r"\d{1,12}", value, re.ASCII) or not least <= int(value) <= most:
        raise FormatError(path, _line_of(text, key), f"{key} as {expected}", repr(value))
    return int(value)


def _line_of(text: str, key: str) -> int | None:
    lines = (n for n, line in enumerate(text.split("\n"), 1) if line.strip().lower().startswith(key.lower()))
    return next(lines, None)


def _last_frame(folder: Path) -> int | None:
    files = [folder / "det" / "det.txt", folder / "gt" / "gt.txt"]
    last = [int(rows[:, 0].max()) for path in files if path.is_file() and len(rows := read_rows(path))]
    return max(last, default=None)

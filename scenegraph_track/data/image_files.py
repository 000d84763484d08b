"""Read single images as the frames of a video."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from scenegraph_track.errors import FormatError, UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".jp2")


class ImageFiles:
    """Image files in a given order; they carry no time, so frame ``i`` is shown at ``i / frame_rate`` seconds.

    Args:
        paths: The files, first frame first.
        frame_rate: Frames a second.
        name: What messages call the whole.

    Attributes:
        frame_rate: Frames a second.
        length: Number of files.
        size: (W, H) of the first readable image.

    Raises:
        FormatError: None of the files is an image.
    """

    def __init__(self, paths: Sequence[Path], frame_rate: float, name: str) -> None:
        self.name, self.frame_rate, self.length = name, frame_rate, len(paths)
        self._paths = list(paths)
        first = next(self.pictures(0, None, lambda index, reason: None), None)
        if first is None:
            raise FormatError(name, None, f"images, none of {len(paths)} files can be read as one")
        self.size = (first[2].shape[1], first[2].shape[0])

    def where(self, index: int) -> str:
        """What messages call a frame."""
        return str(self._paths[index])

    def pictures(
        self, start: int, stop: int | None, note: Callable[[int, str], None]
    ) -> Iterator[tuple[int, float, np.ndarray]]:
        """Yield (index, seconds, (H, W, 3) uint8 RGB); ``note(index, reason)`` gets the unreadable ones."""
        for index, path in enumerate(self._paths[start:stop], start):
            rgb = read_image(path)
            if isinstance(rgb, str):
                note(index, f"{path.name} {rgb}")
            else:
                yield index, index / self.frame_rate, rgb


def read_image(path: Path) -> np.ndarray | str:
    """One image as (H, W, 3) uint8 RGB (16 bits scaled to 8, alpha dropped), or in words why it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if not data:
        return "is empty"
    if data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        return "is cut off"  # the JPEG's last scan has no end marker
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        bgr = None
    return "is no readable image" if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def images_in_folder(folder: Path) -> list[Path]:
    """The images of a folder in natural order (``frame2`` before ``frame10``), hidden files left out."""
    paths = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    if not paths:
        inside = sorted(p.name for p in folder.iterdir() if p.is_dir() and any(map(_is_image, p.iterdir())))
        hint = f" (its sub-folder {inside[0]} holds some)" if inside else ""
        raise UserError(f"{folder}: expected a folder of images, found none{hint}")
    return sorted(paths, key=natural_key)


def images_of_pattern(pattern: str) -> list[Path]:
    """The images that a glob pattern (``*``, ``?``, ``[...]``, ``**``) matches, in natural order."""
    path = Path(pattern)
    paths = [p for p in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if _is_image(p)]
    if not paths:
        raise UserError(f"{pattern}: expected a pattern of image files, nothing matches it")
    return sorted(paths, key=natural_key)


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sorting key of a path in which runs of digits count as numbers."""
    parts = re.findall(r"\d+|\D+", str(path))
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES

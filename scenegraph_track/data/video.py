"""Video input: files, image folders, glob patterns, lists of images and cameras as one stream of frames."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from scenegraph_track.data.image_files import IMAGE_SUFFIXES, ImageFiles, images_in_folder, images_of_pattern
from scenegraph_track.data.video_file import VideoFile, broken_off
from scenegraph_track.data.video_writer import VideoWriter, write_video
from scenegraph_track.data.webcam import Webcam
from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.structures import Frame

__all__ = ["BrokenFrame", "VideoReader", "VideoWriter", "read_video", "warn_if_broken_off", "write_video"]

logger = logging.getLogger(__name__)

IMAGES_PER_SECOND = 30.0
"""Frame rate of single images where none is given: they carry no time."""


@dataclass(frozen=True)
class BrokenFrame:
    """A frame that could not be read, or the first of all those that a video that breaks off has not.

    Args:
        index: 0-based number of the frame.
        reason: What is wrong with it.
    """

    index: int
    reason: str


class _Source(Protocol):
    name: str
    frame_rate: float
    length: int | None
    size: tuple[int, int]

    def where(self, index: int) -> str: ...

    def pictures(
        self, start: int, stop: int | None, note: Callable[..., None]
    ) -> Iterator[tuple[int, float, np.ndarray]]: ...


class VideoReader:
    """Frames of one source, decoded while they are asked for; every ``iter`` starts again at the first.

    Broken frames are left out, named in ``broken`` and in a warning; the numbers of the others stay true.

    Attributes:
        frame_rate: Average frames a second.
        length: Number of frames between start and stop as the source promises it, or None where it does not say.
        size: (W, H) in pixels; every frame has it.
        broken: The frames that the last iteration could not read.

    Raises:
        FormatError: While iterating: a frame has another size than the first.
    """

    def __init__(self, source: _Source, start: int, stop: int | None) -> None:
        self._source, self._start, self._stop = source, start, stop
        self.frame_rate, self.size = source.frame_rate, source.size
        end = source.length if stop is None else min(stop, source.length or stop)
        self.length = None if end is None else end - start
        self.broken: list[BrokenFrame] = []

    def __iter__(self) -> Iterator[Frame]:
        self.broken.clear()
        for index, timestamp, rgb in self._source.pictures(self._start, self._stop, self._note):
            size = (rgb.shape[1], rgb.shape[0])
            if size != self.size:
                expected = f"{self.size[0]} x {self.size[1]} pixels like the first frame"
                raise FormatError(self._source.where(index), None, expected, f"{size[0]} x {size[1]}")
            yield Frame.from_rgb(rgb, index, timestamp)

    def _note(self, index: int, reason: str, ends: bool = False) -> None:
        if index >= self._start:
            self.broken.append(BrokenFrame(index, reason))
            what = reason if ends else f"frame {index} is left out: {reason}"
            logger.warning("%s: %s", self._source.name, what)


def read_video(
    source: str | Path | int | Sequence[str | Path],
    *,
    start: int = 0,
    stop: int | None = None,
    frame_rate: float | None = None,
) -> VideoReader:
    """Open a video, whatever it is made of, as a stream of frames that needs the same memory at any length.

    Args:
        source: Video file or stream address, folder of images (natural order: 2 before 10), glob pattern of images,
            list of image files, or number of a camera (``0`` or ``"0"``).
        start: First frame, 0-based.  Numbers and times count from the first frame of the source, not from ``start``.
        stop: Frame before which to stop, or None for all.
        frame_rate: Frames a second.  Images carry no time, so theirs is ``index / frame_rate`` (30 where not given);
            for a video file it replaces the file's own times; a camera is asked for it.

    Returns:
        An iterable of :class:`~scenegraph_track.structures.Frame`.

    Raises:
        UserError: The source does not exist, is empty, is no video, or start and stop enclose nothing.
    """
    if start < 0 or (stop is not None and stop <= start):
        raise UserError(f"read_video: expected 0 <= start < stop, found start {start} and stop {stop}")
    if frame_rate is not None and not 0 < frame_rate < float("inf"):
        raise UserError(f"read_video: expected a positive frame rate, found {frame_rate}")
    opened = _open(source, frame_rate)
    if opened.length is not None and start >= opened.length:
        raise UserError(f"{opened.name}: expected a start before frame {opened.length}, its length, found {start}")
    return VideoReader(opened, start, stop)


def warn_if_broken_off(path: Path) -> None:
    """Warn of a video file that breaks off, for those who do not decode it.

    Raises:
        UserError: It is no video.
    """
    if reason := broken_off(path):
        logger.warning("%s: %s", path, reason)


def _open(source: str | Path | int | Sequence[str | Path], frame_rate: float | None) -> _Source:
    images_per_second = frame_rate or IMAGES_PER_SECOND
    if isinstance(source, int) or (isinstance(source, str) and source.isdecimal() and not Path(source).exists()):
        return Webcam(int(source), frame_rate)
    if not isinstance(source, str | Path):
        paths = [Path(item) for item in source]
        if not paths:
            raise UserError("read_video: expected a list of image files, found an empty list")
        absent = next((path for path in paths if not path.is_file()), None)
        if absent is not None:
            raise UserError(f"{absent}: expected an image file, found nothing")
        return ImageFiles(paths, images_per_second, f"{paths[0]} and {len(paths) - 1} more")
    if "://" in str(source):
        return VideoFile(source, frame_rate)
    path = Path(source)
    if path.is_dir():
        return ImageFiles(images_in_folder(path), images_per_second, str(path))
    if not path.exists() and any(sign in str(source) for sign in "*?["):
        return ImageFiles(images_of_pattern(str(source)), images_per_second, str(source))
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        return ImageFiles([path], images_per_second, str(path))
    return VideoFile(path, frame_rate)

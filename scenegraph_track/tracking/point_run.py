"""Follow points through one sequence: read, step, write."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scenegraph_track.data.sequences import Sequence
from scenegraph_track.data.video_writer import VideoWriter
from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_write
from scenegraph_track.occlusion.embedded import SHIPPED
from scenegraph_track.occlusion.point_stream import final_tracks
from scenegraph_track.occlusion.point_tracker import PointTracker, PointTracks
from scenegraph_track.structures import Frame
from scenegraph_track.tracking.frames import SequenceFrames
from scenegraph_track.tracking.outputs import VIDEO, Outputs
from scenegraph_track.version import __version__
from scenegraph_track.visualize.draw import display_scale
from scenegraph_track.visualize.points import TAIL, draw_points

TABLE = ".csv"
"""Ending of the positions."""

HEADER = "point,frame,x,y,visible,confidence"
"""Of the positions, a row a point and frame, frame by frame.

point: number of the point from 0, those that are given first, in the order they are given in, then the grid, row by
row.  frame: from 0; a point has rows from the frame it is given in.  x, y: pixels, the first one's middle at 0.5.
visible: 1 seen, 0 hidden or outside the image.  confidence: probability that the position is right to a few pixels.
"""


@dataclass(frozen=True)
class GivenPoint:
    """A point that a user wants followed: x and y in pixels of a frame, counted from 0."""

    x: float
    y: float
    frame: int = 0


@dataclass(frozen=True)
class PointOptions:
    """What is wanted.

    Args:
        points: That are given.
        grid: Spacing of a grid of points in the first frame, pixels; None: no grid.
        stride: See `PointTracker`.
        save_video: Write the frames with the points drawn on them.
    """

    points: tuple[GivenPoint, ...] = ()
    grid: float | None = None
    stride: int | None = None
    save_video: bool = False

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the files that are wanted."""
        return (TABLE, VIDEO) if self.save_video else (TABLE,)


def point_outputs(folder: Path, sequence: Sequence) -> Outputs:
    """Where the results of a sequence go: ``<name>.points.csv`` and so on."""
    return Outputs(folder, f"{sequence.name}.points")


def recipe(sequence: Sequence, options: PointOptions, weights: Path | None) -> dict[str, Any]:
    """Everything that the results depend on, as JSON values."""
    files = sequence.images or (Path(str(sequence.video)),)
    listing = "".join(f"{path.name} {path.stat().st_size if path.is_file() else 0}\n" for path in files)
    values = {
        "version": __version__,
        "points": [asdict(point) for point in options.points],
        "grid": options.grid,
        "stride": options.stride,
        "weights": hashlib.sha256((weights or SHIPPED).read_bytes()).hexdigest(),
        "frames": hashlib.sha256(listing.encode()).hexdigest(),
    }
    return json.loads(json.dumps(values))


class PointRun:
    """Points and the sequence they are followed through.

    Args:
        sequence: With images or a video.
        tracker: What follows the points.
        options: What is wanted.

    Raises:
        UserError: There are no images, or no frame or place in it where a point is given.
    """

    def __init__(self, sequence: Sequence, tracker: PointTracker, options: PointOptions) -> None:
        if sequence.images is None and sequence.video is None:
            raise UserError(f"{sequence.path}: there are no images to follow points in")
        self.sequence, self.tracker, self.options = sequence, tracker, options
        self.frames = SequenceFrames(sequence, decode=True)
        assert self.frames.size is not None
        width, height = self.frames.size
        for point in options.points:
            if not (0 <= point.x <= width and 0 <= point.y <= height):
                raise UserError(
                    f"{sequence.path}: expected points inside its {width} x {height} pixels, found {point.x:g}, "
                    f"{point.y:g}"
                )
        if sequence.video is None:
            self._refuse_late(self.frames.length)
        grid = [] if options.grid is None else _grid(width, height, options.grid)
        if options.grid is not None and not grid:
            raise UserError(f"a grid of {options.grid:g} pixels: no point of it lies inside {width} x {height}")
        self._points = (*options.points, *grid)
        self._order = sorted(range(len(self._points)), key=lambda number: self._points[number].frame)

    def write(self, outputs: Outputs, record: dict[str, Any], tick: Callable[[int], None]) -> int:
        """Follow the points and write the files, whole or not at all; returns the number of frames."""
        facts: dict[str, Any] = {}
        with outputs.making(record, facts) as work, ExitStack() as files:
            table = files.enter_context(atomic_write(work / outputs.path(TABLE).name))
            table.write(HEADER + "\n")
            video = None
            if self.options.save_video:
                assert self.frames.size is not None
                scale = display_scale(self.frames.size)
                size = (self.frames.size[0] * scale, self.frames.size[1] * scale)
                video = VideoWriter(work / outputs.path(VIDEO).name, size, self.frames.frame_rate)
                files.enter_context(video)
            self._follow(table, video, tick)
            self._refuse_late(self.frames.count)
            facts |= {"frames": self.frames.count, "broken": [[b.index, b.reason] for b in self.frames.broken]}
        return self.frames.count

    def _follow(self, table: IO[str], video: VideoWriter | None, tick: Callable[[int], None]) -> None:
        waiting: deque[tuple[NDArray[np.uint8], float]] = deque()
        path: deque[NDArray] = deque(maxlen=TAIL)
        for tracks in final_tracks(self.tracker, self._images(waiting, video is not None), self._given):
            numbers = np.array(self._order[: len(tracks.positions)], int)
            positions, visible = self._rows(tracks, numbers)
            self._write_rows(table, tracks, numbers)
            if video is not None:
                rgb, timestamp = waiting.popleft()
                path.append(positions)
                video.write(draw_points(rgb, path, visible), timestamp)
            tick(1)

    def _images(self, waiting: deque[tuple[NDArray[np.uint8], float]], kept: bool) -> Iterator[Tensor]:
        """Images (3, H, W); the one before in place of one that cannot be read."""
        last: Frame | None = None
        for frame in self.frames:
            last = frame if frame.image is not None else last
            if last is None or last.image is None:
                raise UserError(f"{self.sequence.path}: frame {frame.index} cannot be read, nor one before it")
            if kept:
                waiting.append((last.to_rgb(), frame.timestamp))
            yield last.image

    def _given(self, frame: int) -> Tensor | None:
        found = [self._points[number] for number in self._order if self._points[number].frame == frame]
        return torch.tensor([(point.x, point.y) for point in found]) if found else None

    def _rows(self, tracks: PointTracks, numbers: NDArray) -> tuple[NDArray, NDArray[np.bool_]]:
        """Positions (N, 2) and visibility (N,) of one frame by the numbers of all points."""
        positions, visible = np.full((len(self._points), 2), np.nan), np.zeros(len(self._points), bool)
        positions[numbers], visible[numbers] = tracks.positions[:, 0].numpy(), tracks.visible[:, 0].numpy()
        return positions, visible

    @staticmethod
    def _write_rows(table: IO[str], tracks: PointTracks, numbers: NDArray) -> None:
        for row in np.argsort(numbers):
            x, y = tracks.positions[row, 0].tolist()
            if np.isfinite(x):
                seen, sure = int(tracks.visible[row, 0]), float(tracks.confidence[row, 0])
                table.write(f"{numbers[row]},{tracks.start},{x:.2f},{y:.2f},{seen},{sure:.3f}\n")

    def _refuse_late(self, length: int | None) -> None:
        late = max((point.frame for point in self.options.points), default=-1)
        if length is not None and late >= length:
            raise UserError(
                f"{self.sequence.path}: a point is given in frame {late}, the last one is {length - 1} (from 0)"
            )


def _grid(width: int, height: int, spacing: float) -> list[GivenPoint]:
    """Points of the first frame, row by row."""
    x, y = np.meshgrid(np.arange(spacing / 2, width, spacing), np.arange(spacing / 2, height, spacing))
    return [GivenPoint(float(a), float(b)) for a, b in zip(x.ravel(), y.ravel())]

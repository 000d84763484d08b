"""Tracks of points of a stream in order, as soon as they are final, with constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from scenegraph_track.occlusion.point_tracker import PointTracker, PointTracks


def final_tracks(
    tracker: PointTracker, images: Iterable[Tensor], points: Callable[[int], Tensor | None]
) -> Iterator[PointTracks]:
    """Every frame once, in order, when no later window covers it any more.

    Args:
        tracker: What follows the points.
        images: Of (3, H, W), see `PointTracker.step`.
        points: Gives (n, 2) x and y in pixels of the points to follow from the frame of a number on, or None.

    Yields:
        One frame each (T = 1), rows in the order in which points are added; NaN before a point was given.

    Raises:
        UserError: See `PointTracker.step`.
    """
    state, pending = tracker.start(), {}
    for number, image in enumerate(images):
        pending[number] = PointTracks(number, torch.zeros(0, 1, 2), torch.zeros(0, 1), torch.zeros(0, 1))
        state, tracks = tracker.step(state, image, points(number))
        _improve(pending, tracks)
        while next(iter(pending)) < state.frames - tracker.window:
            yield pending.pop(next(iter(pending)))
    _, tracks = tracker.finish(state)
    _improve(pending, tracks)
    yield from pending.values()


def _improve(pending: dict[int, PointTracks], tracks: PointTracks | None) -> None:
    """Put the estimates of a window in place of earlier ones."""
    if tracks is None:
        return
    for t in range(tracks.positions.shape[1]):
        parts = (part[:, t : t + 1] for part in (tracks.positions, tracks.visibility, tracks.confidence))
        pending[tracks.start + t] = PointTracks(tracks.start + t, *parts)

"""Ways to follow points that are measured beside each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from geometry.camera import sample
from geometry.flow import dis_flow
from scenegraph_track.evaluation.point_clips import PointClip
from scenegraph_track.occlusion.point_tracker import PointTracker

LEARNED = "learned"

CHAINS = ("dis", "dis_lost", "lk", "lk_lost")
"""Baselines: flow of DIS or pyramidal Lucas-Kanade from frame to frame, hidden where the way back does not agree (and,
``_lost``, ever after)."""

_LK = {"winSize": (21, 21), "maxLevel": 3, "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)}

Follower = Callable[[PointClip], tuple[NDArray, NDArray]]
"""From a clip to positions (N, T, 2) and visibility (N, T)."""


class _Step(Protocol):
    def __call__(self, clip: PointClip, t: int, points: NDArray) -> tuple[NDArray, NDArray]:
        """Where points (n, 2) of frame t are in frame t + 1, and where those are in frame t."""
        ...


def dis_step(clip: PointClip, t: int, points: NDArray) -> tuple[NDArray, NDArray]:
    """By DIS at the setting that follows points best, see `_Step`."""
    a, b = clip.images[t], clip.images[t + 1]
    there = points + _flow_at(dis_flow(a, b, "dis_sparse"), points)
    return there, there + _flow_at(dis_flow(b, a, "dis_sparse"), there)


def _flow_at(flow: torch.Tensor, points: NDArray) -> NDArray:
    places = torch.from_numpy(np.asarray(points, np.float32)).T[None, :, :, None]
    return sample(flow[None], places)[0, :, :, 0].T.numpy()


def lk_step(clip: PointClip, t: int, points: NDArray) -> tuple[NDArray, NDArray]:
    """By pyramidal Lucas-Kanade, see `_Step`."""
    a, b = (
        cv2.cvtColor(clip.images[k].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY) for k in (t, t + 1)
    )  # fmt: skip
    start = np.asarray(points - 0.5, np.float32).reshape(-1, 1, 2)
    there, found, _ = cv2.calcOpticalFlowPyrLK(a, b, start, None, **_LK)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(b, a, there, None, **_LK)
    back[(found & returned)[:, 0] == 0] = np.nan
    return there[:, 0] + 0.5, back[:, 0] + 0.5


def chain(clip: PointClip, step: _Step, lost: bool) -> tuple[NDArray, NDArray]:
    """Points moved on from frame to frame; hidden where forward and backward differ, or outside the image.

    They differ from 1.5 pixels or a twentieth of the way on.

    Args:
        clip: Frames and queries.
        step: How points are moved on.
        lost: Whether what is hidden once stays so.
    """
    count, frames = clip.seen.shape
    height, width = clip.images[0].shape[1:]
    positions, visible = np.full((count, frames, 2), np.nan), np.zeros((count, frames), bool)
    first = clip.queries[:, 0].astype(int)
    for t in range(frames):
        new = first == t
        positions[new, t], visible[new, t] = clip.queries[new, 1:], True
        rows = np.flatnonzero(first <= t)
        if t + 1 == frames or not len(rows):
            continue
        there, back = step(clip, t, positions[rows, t])
        way = np.linalg.norm(there - positions[rows, t], axis=1)
        agree = np.linalg.norm(back - positions[rows, t], axis=1) < np.maximum(1.5, 0.05 * way)
        inside = ((there >= 0) & (there < (width, height))).all(1)
        positions[rows, t + 1] = np.clip(there, -width, 2 * width)
        visible[rows, t + 1] = agree & inside & (visible[rows, t] | (not lost))
    return positions, visible


def follow_points(clip: PointClip, tracker: PointTracker) -> tuple[NDArray, NDArray]:
    """By a point tracker."""
    tracks = tracker.track(clip.images, torch.from_numpy(clip.queries))
    return tracks.positions.numpy(), tracks.visible.numpy()


def point_methods(tracker: PointTracker | None) -> dict[str, Follower]:
    """The baselines and, where there is one, a point tracker."""
    learned: dict[str, Follower] = {} if tracker is None else {LEARNED: partial(follow_points, tracker=tracker)}
    steps: dict[str, _Step] = {"dis": dis_step, "lk": lk_step}
    return learned | {
        name: partial(chain, step=steps[name.removesuffix("_lost")], lost=name.endswith("_lost")) for name in CHAINS
    }

"""Clips with exact tracks of points to measure on: worlds, and recordings of a real RGB-D camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scenegraph_track.data.rgbd import RgbdRecording, read_rgbd
from scenegraph_track.data.worlds.dataset import sample_queries
from scenegraph_track.evaluation.clips import RenderedWorlds

POINTS = 64
"""Of a clip of a world."""

SPACING = 48
"""Of the points of a recording, pixels."""

STRETCH = 20
"""Frames of a recording that are one clip."""

NEARER = 0.05
"""A point of a recording is hidden where the depth camera sees something nearer by this share; and counts as seen where
it agrees within that."""


@dataclass(frozen=True, eq=False)
class PointClip:
    """Frames with the true tracks of N points.

    Args:
        name: Of the clip.
        images: T images (3, H, W) uint8 RGB.
        queries: (N, 3) float32: first frame in which a point is seen, and x, y there in pixels.
        tracks: (N, T, 2) pixels; NaN where unknown.
        seen: (N, T) bool.
        counted: (N, T) bool: frames after the query in which the truth is known.
        on_object: (N,) bool, whether a point lies on an object; all false in recordings.
    """

    name: str
    images: Sequence[Tensor]
    queries: NDArray[np.float32]
    tracks: NDArray[np.float32]
    seen: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    on_object: NDArray[np.bool_]


def _first_seen(tracks: NDArray, seen: NDArray, known: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Queries (N, 3) at the first frames in which points are seen, frames that count, and which rows have any."""
    first = seen.argmax(1)
    queries = np.column_stack([first, tracks[np.arange(len(tracks)), first]]).astype(np.float32)
    counted = known & (np.arange(seen.shape[1]) > first[:, None])
    return queries, counted, seen.any(1) & counted.any(1)


@dataclass(frozen=True)
class PointWorlds(RenderedWorlds):
    """Held-out worlds with points on objects and around them."""

    size: tuple[int, int] = (256, 256)

    def clip(self, number: int) -> PointClip:
        """The clip of a number: points chosen in random frames, half of them on objects, asked for where first seen."""
        world = self.world(number)
        drawn = sample_queries(np.random.default_rng((number, 5)), world, POINTS)
        tracks, seen = world.track_points(drawn)
        tracks, seen = tracks.swapaxes(0, 1), seen.T
        frames, columns, rows = drawn.astype(int).T
        instance = np.array([world.frames[f].instance[r, c] for f, r, c in zip(frames, rows, columns)])
        queries, counted, kept = _first_seen(tracks, seen, np.isfinite(tracks).all(-1))
        images = [torch.from_numpy(frame.image.transpose(2, 0, 1).copy()) for frame in world.frames]
        on_object = (instance > 0) & (instance <= len(world.scene.objects))
        return PointClip(
            self.name(number),
            images,
            queries[kept],
            tracks[kept],
            seen[kept],
            counted[kept],
            on_object[kept],
        )


class PointRecordings:
    """Stretches of a recording of a still scene: points follow from depth and poses of the camera.

    Args:
        folder: See `scenegraph_track.data.rgbd`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.recording: RgbdRecording = read_rgbd(folder)

    def __len__(self) -> int:
        return max(1, len(self.recording) // STRETCH)

    def clip(self, number: int) -> PointClip:
        """The stretch of a number, with points on a grid of its first frame."""
        recording = self.recording
        frames = range(number * STRETCH, min((number + 1) * STRETCH, len(recording)))
        images = [recording.images[index] for index in frames]
        depths = [recording.depth(index) for index in frames]
        poses = recording.trajectory.world_from_camera[list(frames)]
        height, width = depths[0].shape
        x, y = np.meshgrid(np.arange(SPACING / 2, width, SPACING), np.arange(SPACING / 2, height, SPACING))
        pixels = np.stack([x.ravel(), y.ravel()], -1)
        depth = _looked_up(depths[0], pixels)
        pixels, depth = pixels[depth > 0], depth[depth > 0]
        points = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(recording.intrinsics).T
        world = (points * depth[:, None]) @ poses[0, :3, :3].T + poses[0, :3, 3]
        tracks = np.full((len(world), len(frames), 2), np.nan, np.float32)
        seen, known = np.zeros(tracks.shape[:2], bool), np.zeros(tracks.shape[:2], bool)
        for t, (pose, there) in enumerate(zip(poses, depths)):
            camera = (world - pose[:3, 3]) @ pose[:3, :3]
            projected = camera @ recording.intrinsics.T
            front = projected[:, 2] > 0.05
            tracks[front, t] = projected[front, :2] / projected[front, 2:]
            inside = front & ((tracks[:, t] >= 0) & (tracks[:, t] < (width, height))).all(-1)
            measured = np.where(inside, _looked_up(there, np.nan_to_num(tracks[:, t])), 0)
            nearer = measured < camera[:, 2] * (1 - NEARER)
            agree = np.abs(measured / np.maximum(camera[:, 2], 1e-6) - 1) <= NEARER
            seen[:, t] = inside & (measured > 0) & agree
            known[:, t] = front & (~inside | ((measured > 0) & (agree | nearer)))
        queries, counted, kept = _first_seen(tracks, seen, known)
        still = np.zeros(len(tracks), bool)
        name = f"{recording.folder.name}-{frames[0]:04d}"
        return PointClip(name, images, queries[kept], tracks[kept], seen[kept], counted[kept], still[kept])


def _looked_up(depth: NDArray, pixels: NDArray) -> NDArray:
    """Depth (N,) of the pixels that hold positions (N, 2)."""
    columns = np.clip(pixels[:, 0].astype(int), 0, depth.shape[1] - 1)
    rows = np.clip(pixels[:, 1].astype(int), 0, depth.shape[0] - 1)
    return depth[rows, columns]

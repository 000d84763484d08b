"""What a frame says about space, and where the camera's motion in space moves the tracks.

A track of known depth is moved by where its point in space goes; its size and velocity follow the map of the pixels
around it at that depth.  Whether the motion in space or the similarity measured in the image (`camera`) is believed is
decided by what both say about corners of the background: `surer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geometry import GeometryError, guess_intrinsics
from geometry.video import VideoGeometry, VideoGeometryState
from scenegraph_track.config import WEIGHTS_SUFFIX, GeometrySettings
from scenegraph_track.errors import UserError
from scenegraph_track.structures import Frame

NEAREST = 2.0
"""Metres: nothing is taken to be nearer where only the camera's pose is known."""

DOMINANCE = 4.0
"""The rotation dominates where it moves points at `NEAREST` at least so many times as far as the translation does."""

SLACK = 0.5
"""Pixels of the reduced image (`camera.WIDTH`) by which the motion in space may explain the background worse."""

LEAST_CORNERS = 12
"""Fewer corners of known depth decide nothing: then the motion in space is believed."""


@dataclass(frozen=True, eq=False)
class Space:
    """What is known of a frame's geometry.

    Args:
        intrinsics: (3, 3) in pixels of the image.
        depth: (h, w) depth map at any resolution, 0 where unknown; or None.
        confidence: (h, w) in [0, 1], or None: measured.
        world_from_camera: (4, 4), or None.
        metric: Whether lengths are metres.
        current_from_previous: (4, 4) motion since the last frame in the unit of the depth, where it was estimated; else
            the poses of both frames say it.
        flow: (2, h, w) to the frame before at the resolution of the depth map, pixels of it; or None.
        residual: (2, h, w) of it that the camera does not explain, NaN where it cannot be trusted; or None.
    """

    intrinsics: np.ndarray
    depth: np.ndarray | None = None
    confidence: np.ndarray | None = None
    world_from_camera: np.ndarray | None = None
    metric: bool = True
    current_from_previous: np.ndarray | None = None
    flow: Tensor | None = None
    residual: Tensor | None = None


def video_geometry(settings: GeometrySettings) -> VideoGeometry | None:
    """What finds depth and motion where frames bring none; None where the settings ask for nothing.

    Raises:
        UserError: A network cannot be loaded.
    """
    if settings.flow == "none":
        return None
    try:
        flow: Any = settings.flow
        if flow.endswith(WEIGHTS_SUFFIX):
            from geometry.embedded import flow_estimator

            flow = flow_estimator(flow)
        if settings.depth == "none":
            depth = None
        elif settings.depth == "embedded" or settings.depth.endswith(WEIGHTS_SUFFIX):
            from geometry.embedded import depth_estimator

            depth = depth_estimator(None if settings.depth == "embedded" else settings.depth)
        else:
            from geometry.pretrained_depth import PretrainedDepth

            depth = PretrainedDepth.load(settings.depth)
        return VideoGeometry(flow, depth, settings.working_size)
    except GeometryError as error:
        raise UserError(f"geometry: {error}") from None


def space_of(
    frame: Frame, video: VideoGeometry | None, state: VideoGeometryState | None
) -> tuple[Space | None, VideoGeometryState | None]:
    """What a frame brings, completed by what its image tells.

    Args:
        frame: The frame.
        video: Finds what the frame does not bring; None for nothing.
        state: What ``video`` carries from frame to frame; None before the first image.

    Returns:
        The geometry, or None where the size of the image is not known; and the next state.

    Raises:
        UserError: The image is too small.
    """
    size = frame.size
    if size is None and frame.depth is not None:
        size = int(frame.depth.shape[2]), int(frame.depth.shape[1])
    if size is None and frame.intrinsics is None:
        return None, state
    k = guess_intrinsics(*size) if frame.intrinsics is None and size is not None else frame.intrinsics
    assert k is not None
    if video is not None and frame.image is not None:
        try:
            state, found = video.step(
                video.start() if state is None else state, frame.image, k, frame.depth, frame.world_from_camera
            )
        except GeometryError as error:
            raise UserError(f"frame {frame.index}: {error}") from None
        maps = (_numpy(part) for part in (k, found.depth, found.confidence, found.world_from_camera))
        moved = None if found.current_from_previous is None else _numpy(found.current_from_previous)
        return Space(*maps, found.metric, moved, found.flow, found.residual), state
    depth = None if frame.depth is None else _numpy(frame.depth[0])
    pose = None if frame.world_from_camera is None else _numpy(frame.world_from_camera)
    return Space(_numpy(k), depth, None, pose), state


def moved_in_space(
    pixels: np.ndarray,
    depths: np.ndarray,
    current_from_previous: np.ndarray,
    intrinsics: np.ndarray,
    current_intrinsics: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Where a moving camera sees resting points, and how it maps the pixels around them at the same depth.

    Args:
        pixels: (N, 2) in the previous image.
        depths: (N,) along z there; infinite for points at infinity.
        current_from_previous: (4, 4).
        intrinsics: (3, 3) of the previous image.
        current_intrinsics: (3, 3) of the current one.

    Returns:
        Affine maps (N, 2, 3) of pixels near each point, NaN where it is unknown or behind the camera, and depths (N,)
        along the current z, NaN there.
    """
    inverse = np.linalg.inv(intrinsics)
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ inverse.T
    turn = current_from_previous[:3, :3]
    nearness = 1 / depths
    points = rays @ turn.T + nearness[:, None] * current_from_previous[:3, 3]  # over the depth
    ahead = np.where(points[:, 2] > 1e-3, points[:, 2], np.nan)[:, None]
    seen = points @ current_intrinsics.T
    there = seen[:, :2] / ahead
    slope = current_intrinsics @ turn @ inverse[:, :2]  # (3, 2) derivative of the homogeneous pixel
    linear = (slope[:2] - there[:, :, None] * slope[2]) / ahead[:, :, None]
    shift = there - (linear @ pixels[:, :, None])[:, :, 0]
    return np.concatenate([linear, shift[:, :, None]], axis=2), ahead[:, 0] * depths


def rotation_dominates(current_from_previous: np.ndarray) -> bool:
    """Whether a motion (4, 4) in metres hardly depends on depth: nothing nearer than `NEAREST` matters, see
    `DOMINANCE`."""
    cosine = (np.trace(current_from_previous[:3, :3]) - 1) / 2
    angle = float(np.arccos(np.clip(cosine, -1, 1)))
    return angle * NEAREST >= DOMINANCE * float(np.linalg.norm(current_from_previous[:3, 3]))


def surer(
    corners: tuple[np.ndarray, np.ndarray] | None,
    similarity: np.ndarray | None,
    space: Space,
    previous_from_current: np.ndarray,
    previous_intrinsics: np.ndarray,
    size: tuple[int, int],
    slack: float,
) -> bool:
    """Whether the motion in space is to be believed rather than the similarity measured in the image.

    Both are compared with how corners of the background moved, over the corners whose depth is known: the motion in
    space is believed where its median error is at most that of the similarity plus a slack, or where there is nothing
    to compare with.

    Args:
        corners: Pixels (P, 2) in the previous image and in this one, or None.
        similarity: (2, 3) ``current_from_previous`` in pixels, or None where none was found.
        space: Of this frame; without depth all is at infinity.
        previous_from_current: (4, 4).
        previous_intrinsics: (3, 3).
        size: (W, H) of the image.
        slack: Pixels.
    """
    if corners is None or similarity is None:
        return True
    before, after = corners
    depths = np.full(len(after), np.inf)
    if space.depth is not None:
        height, width = space.depth.shape
        column = np.clip((after[:, 0] * (width / size[0])).astype(np.int64), 0, width - 1)
        row = np.clip((after[:, 1] * (height / size[1])).astype(np.int64), 0, height - 1)
        depths = space.depth[row, column]
    with np.errstate(divide="ignore", invalid="ignore"):
        maps, _ = moved_in_space(after, depths, previous_from_current, space.intrinsics, previous_intrinsics)
    back = (maps[:, :, :2] @ after[:, :, None])[:, :, 0] + maps[:, :, 2]
    error = np.linalg.norm(back - before, axis=1)
    known = (depths > 0) & np.isfinite(error)
    if known.sum() < LEAST_CORNERS:
        return True
    other = np.linalg.norm(before @ similarity[:, :2].T + similarity[:, 2] - after, axis=1)
    return bool(np.median(error[known]) <= np.median(other[known]) + slack)


def track_maps(
    pixels: np.ndarray,
    depths: np.ndarray,
    current_from_previous: np.ndarray,
    intrinsics: np.ndarray,
    current_intrinsics: np.ndarray,
    similarity: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The map of pixels for every track.

    Tracks of unknown depth, and those that come to lie behind the camera, follow the similarity, or else move as if
    they were at the median depth of the others.

    Args:
        pixels: (N, 2) middle of the tracks in the previous image.
        depths: (N,) there, NaN where unknown; at least one is known, or infinite.
        current_from_previous: (4, 4).
        intrinsics: (3, 3) of the previous image.
        current_intrinsics: (3, 3) of this one.
        similarity: (2, 3) measured in the image, or None.

    Returns:
        Maps (N, 2, 3) and the depths (N,) in this frame, NaN where unknown.
    """
    cameras = current_from_previous, intrinsics, current_intrinsics
    maps, ahead = moved_in_space(pixels, depths, *cameras)
    lost = ~np.isfinite(maps).all((1, 2))
    if lost.any():
        if similarity is None:
            middle = np.full(int(lost.sum()), np.nanmedian(depths))
            maps[lost] = moved_in_space(pixels[lost], middle, *cameras)[0]
            maps[~np.isfinite(maps).all((1, 2))] = np.eye(3)[:2]
        else:
            maps[lost] = similarity
    return maps, np.where(np.isfinite(ahead), ahead, np.nan)


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().to(torch.float64).cpu().numpy()

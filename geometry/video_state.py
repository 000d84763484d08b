"""What the geometry of a video says of a frame, and what it carries from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from geometry.errors import GeometryError


@dataclass(frozen=True, eq=False)
class FrameGeometry:
    """What is known of one frame, at the working resolution H x W.

    Args:
        depth: (H, W) float32 along z, positive everywhere; in metres where ``metric``, else in a scale that the whole
            video shares.
        confidence: (H, W) float32 in [0, 1]: 0.99 where measured, `FLAT` where nothing is known; else
            ``1 / (1 + (s / 0.3)^2)`` of the relative standard deviation s, see `triangulate`.
        intrinsics: (3, 3) float64 of the working resolution.
        world_from_camera: (4, 4) float64; the world is that of the measured poses, else the first camera.
        current_from_previous: (4, 4) float64 motion of the camera since the frame before, in the same scale; identity
            in the first frame.
        flow: (2, H, W) float32 from this frame to the one before, or None in the first.
        residual: (2, H, W) float32, ``flow`` without what the camera explains; NaN where the flow cannot be trusted;
            None in the first frame.
        moving: (H, W) bool, pixels that move on their own (`moving_mask`); none in the first frame.
        metric: Whether a measured depth or pose, or a network of metric depth, gave the scale.
    """

    depth: Tensor
    confidence: Tensor
    intrinsics: Tensor
    world_from_camera: Tensor
    current_from_previous: Tensor
    flow: Tensor | None
    residual: Tensor | None
    moving: Tensor
    metric: bool


@dataclass(frozen=True, eq=False)
class VideoGeometryState:
    """What a video's geometry carries from frame to frame; K is at most the number of keyframes plus one.

    Args:
        images: (K, 3, H, W) uint8 at the working resolution: the keyframes, then the last frame.
        world_from_camera: (K, 4, 4) float64 of these.
        intrinsics: (3, 3) float64 of these.
        depth: (H, W) float32 of the last frame.
        confidence: (H, W) float32 of the last frame.
        metric: (1,) bool, whether the scale is metres.
        measured: (1,) bool, whether all these poses were given.
    """

    images: Tensor
    world_from_camera: Tensor
    intrinsics: Tensor
    depth: Tensor
    confidence: Tensor
    metric: Tensor
    measured: Tensor

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as NumPy arrays by name, for saving."""
        return {f.name: getattr(self, f.name).numpy() for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> VideoGeometryState:
        """The state that :meth:`arrays` came from.

        Raises:
            GeometryError: An array is missing.
        """
        missing = [f.name for f in fields(cls) if f.name not in arrays]
        if missing:
            raise GeometryError(f"expected the state of a video's geometry, {missing[0]} is missing")
        return cls(**{f.name: torch.from_numpy(np.array(arrays[f.name])) for f in fields(cls)})

    def scaled(self, factor: float) -> VideoGeometryState:
        """The same scene in another unit."""
        poses = self.world_from_camera.clone()
        poses[:, :3, 3] *= factor
        return replace(self, world_from_camera=poses, depth=self.depth * factor)

    @classmethod
    def empty(cls, metric: bool) -> VideoGeometryState:
        """The state before the first frame; ``metric``: whether the scale will be metres."""
        return cls(
            torch.zeros(0, 3, 0, 0, dtype=torch.uint8),
            torch.zeros(0, 4, 4, dtype=torch.float64),
            torch.eye(3, dtype=torch.float64),
            torch.zeros(0, 0),
            torch.zeros(0, 0),
            torch.tensor([metric]),
            torch.tensor([False]),
        )

    def restarted(self) -> VideoGeometryState:
        """No images to compare with, but the pose of the last frame."""
        return replace(self, images=self.images[:0], world_from_camera=self.world_from_camera[-1:])

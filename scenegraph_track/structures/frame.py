"""One image of a video and what came with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.structures.checks import Equal, check_tensor, fail


@dataclass(frozen=True, eq=False)
class Frame(Equal):
    """One image of a video and what came with it.

    Args:
        index: 0-based position in the sequence.
        timestamp: Seconds since the start of the sequence.
        image: (3, H, W) float RGB in [0, 1], or None where only detections are given.
        size: (W, H) in pixels; taken from the image where there is one.
        intrinsics: (3, 3) pinhole matrix in pixels.
        depth: (1, H, W) measured depth in metres, 0 where unknown; replaces the depth network.
        world_from_camera: (4, 4) measured camera pose; replaces the pose network.

    Raises:
        UserError: A field has another shape, or is not finite.
    """

    index: int
    timestamp: float
    image: Tensor | None = None
    size: tuple[int, int] | None = None
    intrinsics: Tensor | None = None
    depth: Tensor | None = None
    world_from_camera: Tensor | None = None

    def __post_init__(self) -> None:
        if self.index < 0:
            fail(self, "index", "a 0-based frame index", self.index)
        if not np.isfinite(self.timestamp):
            fail(self, "timestamp", "finite seconds", self.timestamp)
        if self.image is not None:
            check_tensor(self, "image", (3, None, None), "(3, H, W) float RGB in [0, 1]", floating=None)
            if not self.image.is_floating_point():
                raise UserError(f"Frame.image: expected floats in [0, 1], found {self.image.dtype}; see Frame.from_rgb")
            size = (int(self.image.shape[2]), int(self.image.shape[1]))
            if self.size is not None and tuple(self.size) != size:
                raise UserError(f"Frame.size: expected {size} (W, H) as the image has, found {tuple(self.size)}")
            object.__setattr__(self, "size", size)
        if self.intrinsics is not None:
            check_tensor(self, "intrinsics", (3, 3), "(3, 3) pinhole matrix")
        if self.depth is not None:
            check_tensor(self, "depth", (1, None, None), "(1, H, W) metres")
        if self.world_from_camera is not None:
            check_tensor(self, "world_from_camera", (4, 4), "(4, 4) rigid transform")

    @classmethod
    def from_rgb(cls, rgb: np.ndarray, index: int, timestamp: float, **more: Any) -> Frame:
        """Make a frame from an (H, W, 3) uint8 RGB array."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise UserError(f"Frame.from_rgb: expected (H, W, 3) uint8, found {rgb.shape} {rgb.dtype}")
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))).float().div_(255.0)
        return cls(index=index, timestamp=timestamp, image=image, **more)

    def to_rgb(self) -> np.ndarray:
        """The image as an (H, W, 3) uint8 RGB array."""
        if self.image is None:
            raise UserError(f"Frame {self.index} has no image")
        return (self.image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()

"""Depth and motion of every frame of a clip, for methods that find objects by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from geometry.camera import scale_intrinsics
from geometry.completion import DepthEstimator
from geometry.flow import FlowEstimator
from geometry.video import FrameGeometry, VideoGeometry

WORKING_SIZE = 256
"""Longer side in pixels to which images are reduced."""


def clip_cues(
    images: Sequence[Tensor],
    intrinsics: Tensor,
    flow: str | FlowEstimator = "dis_fine",
    depth: DepthEstimator | None = None,
    working_size: int = WORKING_SIZE,
) -> list[FrameGeometry]:
    """The geometry of every frame, found online by `VideoGeometry`, at the size of the images.

    Flow and residual go from each frame to the one before; those of the first frame go to the second.  A clip of one
    frame has no motion: its flow is zero, and its residual is NaN, as where a flow cannot be trusted.

    Args:
        images: T images (3, H, W) of one size, float in [0, 1] or uint8 RGB.
        intrinsics: (3, 3) of all of them, pixels.
        flow: One of `geometry.flow.METHODS` or an estimator.
        depth: Network that guesses the depth of an image, or None.
        working_size: Longer side in pixels to which images are reduced; maps are then enlarged again.

    Returns:
        T frames; all maps are (H, W), flow and residual in pixels of the images, ``intrinsics`` those of the images.

    Raises:
        GeometryError: A shape is wrong, or the images are smaller than 16 pixels.
    """
    geometry = VideoGeometry(flow, depth, working_size)
    found = _followed(geometry, images, intrinsics)
    if len(found) > 1:
        ahead = _followed(geometry, [images[1], images[0]], intrinsics)[1]
        found[0] = replace(found[0], flow=ahead.flow, residual=ahead.residual, moving=ahead.moving)
    elif found:
        still = torch.zeros(2, *found[0].depth.shape)
        found[0] = replace(found[0], flow=still, residual=torch.full_like(still, float("nan")))
    return [_enlarged(one, tuple(image.shape[1:])) for one, image in zip(found, images)]


def _followed(geometry: VideoGeometry, images: Sequence[Tensor], intrinsics: Tensor) -> list[FrameGeometry]:
    state, found = geometry.start(), []
    for image in images:
        state, frame = geometry.step(state, image, intrinsics)
        found.append(frame)
    return found


def _enlarged(frame: FrameGeometry, size: tuple[int, int]) -> FrameGeometry:
    """The same at the size (H, W) of the image; what may be unknown is not interpolated."""
    height, width = frame.depth.shape
    if (height, width) == size:
        return frame
    factors = size[1] / width, size[0] / height
    lengths = torch.tensor(factors)[:, None, None]
    smooth = torch.cat([frame.depth[None], frame.confidence[None], frame.flow])  # type: ignore[list-item]
    smooth = interpolate(smooth[None], size, mode="bilinear", align_corners=False)[0]
    hard = torch.cat([frame.residual, frame.moving[None].float()])  # type: ignore[list-item]
    hard = interpolate(hard[None], size, mode="nearest-exact")[0]
    return replace(
        frame,
        depth=smooth[0],
        confidence=smooth[1],
        intrinsics=scale_intrinsics(frame.intrinsics, *factors),
        flow=smooth[2:] * lengths,
        residual=hard[:2] * lengths,
        moving=hard[2] > 0,
    )

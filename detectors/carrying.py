"""Masks of one frame carried to the next along the flow."""

from __future__ import annotations

import torch
from torch import Tensor

from detectors.errors import DetectorError
from geometry.camera import pixel_grid, sample


def carry_masks(masks: Tensor, flow: Tensor) -> Tensor:
    """Masks of the frame before as they lie in this one.

    Args:
        masks: (K, h, w) of the frame before, at any resolution.
        flow: (2, H, W) pixels, from this frame to the one before.

    Returns:
        (K, h, w): each pixel has what the masks have where its flow ends, 0 where that is outside the image.

    Raises:
        DetectorError: A shape is wrong.
    """
    if masks.ndim != 3 or flow.ndim != 3 or len(flow) != 2:
        raise DetectorError(
            f"expected masks (K, h, w) and a flow (2, H, W), found {tuple(masks.shape)} and {tuple(flow.shape)}"
        )
    if not len(masks):
        return masks
    height, width = masks.shape[1:]
    factors = flow.new_tensor([width / flow.shape[2], height / flow.shape[1]])[:, None, None]
    small = torch.nn.functional.interpolate(flow[None], (height, width), mode="bilinear", align_corners=False)[0]
    ends = pixel_grid(height, width, flow.device, flow.dtype) + small * factors
    inside = (ends[0] >= 0) & (ends[1] >= 0) & (ends[0] <= width) & (ends[1] <= height)
    return sample(masks[None].to(flow.dtype), ends[None])[0] * inside

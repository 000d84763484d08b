"""Masks: which pixel belongs to which, the box around each, its largest part and the depth inside.

Pixels are continuous: the centre of the first pixel is at (0.5, 0.5), so the box of a mask ends at its last column + 1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detectors.errors import DetectorError

_DEPTH_SAMPLES = 2048
"""Pixels of a mask from which its depth is taken at most."""


def assign_pixels(probabilities: Tensor, size: tuple[int, int], threshold: float = 0.0) -> tuple[Tensor, Tensor]:
    """Each pixel of the image to its best slot, or to none where the rest ``1 - sum`` or the threshold is higher.

    Args:
        probabilities: (K, h, w) soft masks whose sum over K is at most 1.
        size: (H, W) of the image; the masks are resized bilinearly before the choice.
        threshold: Least probability of a pixel's slot.

    Returns:
        labels (H, W) int32, slot + 1 or 0 for none, and the probability (H, W) of the best slot.

    Raises:
        DetectorError: The masks are no probabilities.
    """
    if probabilities.ndim != 3 or not probabilities.is_floating_point() or 0 in probabilities.shape:
        raise DetectorError(f"expected soft masks (K, h, w), found {tuple(probabilities.shape)} {probabilities.dtype}")
    if min(size) < 1:
        raise DetectorError(f"expected a size (H, W) of at least one pixel, found {tuple(size)}")
    import cv2

    masks = probabilities.detach().float().cpu()
    rest = 1 - masks.sum(0)
    if not (float(masks.min()) >= 0 and float(rest.min()) >= -1e-3):  # also where a number is NaN
        raise DetectorError("expected soft masks that are >= 0 and sum to at most 1 over the slots")
    height, width = size
    resized = np.empty((len(masks) + 1, height, width), np.float32)
    for small, large in zip(torch.cat([masks, rest.clamp(min=0)[None]]).numpy(), resized, strict=True):
        cv2.resize(small, (width, height), dst=large, interpolation=cv2.INTER_LINEAR)
    *slots, rest_probability = resized
    best = resized[:-1].max(0)
    labels = np.zeros((height, width), np.int32)
    for k in range(len(slots), 0, -1):
        labels[slots[k - 1] == best] = k
    labels[best < np.maximum(rest_probability, threshold)] = 0
    return torch.from_numpy(labels).to(probabilities.device), torch.from_numpy(best).to(probabilities.device)


def mask_boxes(masks: Tensor, largest_component: bool = True) -> Tensor:
    """The box around each mask; of an empty mask all zeros.

    Args:
        masks: (N, H, W) bool.
        largest_component: Only the largest 8-connected part of the mask counts.

    Returns:
        (N, 4) float32 xyxy pixels; x2 is the last column + 1.
    """
    if masks.ndim != 3 or masks.dtype != torch.bool:
        raise DetectorError(f"mask_boxes: expected (N, H, W) bool, found {tuple(masks.shape)} {masks.dtype}")
    pixels = masks.detach().cpu().contiguous().numpy().view(np.uint8)
    parts = [cut_out(mask, largest_component) for mask in pixels]
    boxes = [(0, 0, 0, 0) if part is None else part[1] for part in parts]
    return torch.tensor(boxes, dtype=torch.float32, device=masks.device).reshape(-1, 4)


def soft_boxes(masks: Tensor, size: tuple[int, int] | None = None, levels: tuple[float, float] = (0.1, 0.9)) -> Tensor:
    """Boxes of soft masks, with gradients: the mean of the boxes of ``mask > level`` over a range of levels.

    With p(x) the largest value of column x over the mask's peak, the box of one level u begins at the first column with
    ``p > u``; its mean over u is ``sum_x 1 - running_max(p)(x)``, and alike for the other three sides.  It equals
    `mask_boxes` without components where a mask is 0 or 1.

    Args:
        masks: (N, h, w) numbers >= 0.
        size: (H, W) of the image in whose pixels the boxes are given; that of the masks where None.
        levels: Lowest and highest level as shares of each mask's peak.

    Returns:
        (N, 4) xyxy pixels, of the masks' dtype; all zeros for a mask without any value above 0.
    """
    low, high = levels
    if masks.ndim != 3 or not masks.is_floating_point() or 0 in masks.shape[1:]:
        raise DetectorError(f"soft_boxes: expected (N, h, w) floats, found {tuple(masks.shape)} {masks.dtype}")
    if not 0 <= low < high <= 1:
        raise DetectorError(f"soft_boxes: expected levels 0 <= low < high <= 1, found {levels}")
    height, width = size or masks.shape[1:]
    peak = masks.amax((1, 2))
    there = (peak > 0)[:, None]
    scale = torch.where(there, peak[:, None], 1)

    def ends(profile: Tensor, length: int) -> tuple[Tensor, Tensor]:
        share = ((profile / scale - low) / (high - low)).clamp(0, 1)
        pixels = length / profile.shape[1]
        before, after = ((1 - p.cummax(1).values).sum(1) * pixels for p in (share, share.flip(1)))
        return before, length - after

    x1, x2 = ends(masks.amax(1), width)
    y1, y2 = ends(masks.amax(2), height)
    return torch.where(there, torch.stack([x1, y1, x2, y2], 1), 0)


def cut_out(mask: NDArray[np.uint8], largest_component: bool) -> tuple[NDArray, tuple[int, int, int, int]] | None:
    """A mask cut out along its box.

    Args:
        mask: (H, W) of zeros and ones.
        largest_component: Only its largest 8-connected part.

    Returns:
        The mask (y2 - y1, x2 - x1) and its box x1, y1, x2, y2; None where it is empty.
    """
    import cv2

    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    mask = mask[y : y + height, x : x + width]
    if largest_component:
        count, components = cv2.connectedComponents(mask, connectivity=8)
        if count > 2:
            best = 1 + int(np.bincount(components.ravel())[1:].argmax())
            mask = (components == best).view(np.uint8)
            left, top, width, height = cv2.boundingRect(mask)
            mask = mask[top : top + height, left : left + width]
            x, y = x + left, y + top
    return mask, (x, y, x + width, y + height)


def median_depth(depth: NDArray, known: NDArray[np.bool_], mask: NDArray[np.uint8], weight: NDArray | None) -> float:
    """Weighted median of the known depth inside a mask, without the mask's outermost pixels where that leaves anything.

    Args:
        depth: (H, W).
        known: (H, W), where it counts.
        mask: (H, W) of zeros and ones.
        weight: (H, W), above 0 where the depth is known; None for all the same.

    Returns:
        The depth, NaN where none is known.
    """
    import cv2

    inner = cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    for member in (inner, mask):
        chosen = known & member.view(bool)
        values = depth[chosen]
        if len(values):
            step = -(-len(values) // _DEPTH_SAMPLES)
            order = values[::step].argsort()
            mass = np.arange(1, 1 + len(order)) if weight is None else weight[chosen][::step][order].cumsum(dtype=float)
            return float(values[::step][order[np.searchsorted(mass, mass[-1] / 2)]])
    return float("nan")

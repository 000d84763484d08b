"""Masks of one frame carried to the next along the flow, and with them the numbers of their objects.

The masks of the frames before are carried along the flow, and the pairing of largest total overlap hands the numbers
on.  An object that is not found is carried on for a while, so that one that is hidden for a few frames comes back under
its number.  Masks are carried softly: whole pixels alone would lose, at each step, the part of a pixel that it moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from detectors.errors import DetectorError
from geometry.camera import pixel_grid, sample

MEMORY = 8
"""Frames for which an object that is not found is carried on."""

LEAST_IOU = 0.1
"""Overlap from which an object is one of the frame before."""


@dataclass(frozen=True, eq=False)
class NumberedMasks:
    """The objects that are known after a frame: those found in it, then those that are carried on.

    Args:
        numbers: (K,) int64 from 1, each once.
        ages: (K,) int64 frames since each was found.
        masks: (K, h, w) float32 in [0, 1], where each was, carried to the last frame.
        used: The largest number so far.
    """

    numbers: Tensor
    ages: Tensor
    masks: Tensor
    used: int = 0

    @classmethod
    def start(cls) -> NumberedMasks:
        """Before the first frame."""
        return cls(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 1, 1))


def number_masks(
    state: NumberedMasks,
    masks: Tensor,
    flow: Tensor | None = None,
    least_iou: float = LEAST_IOU,
    memory: int = MEMORY,
) -> tuple[NumberedMasks, Tensor]:
    """Number the objects of a frame as in the frames before; a pure function of its arguments.

    Args:
        state: What the last step returned, or :meth:`NumberedMasks.start`.
        masks: (N, h, w) bool of the objects of the frame, at any resolution.
        flow: (2, H, W) pixels, from this frame to the one before, not finite where unknown; None: nothing has moved.
        least_iou: Overlap (intersection over union) from which an object is one of those that are known.
        memory: Frames for which an object that is not found is carried on.

    Returns:
        The following state, and the numbers (N,) int64 of the objects; new ones are in the order of their masks.

    Raises:
        DetectorError: A shape is wrong.
    """
    if masks.ndim != 3:
        raise DetectorError(f"expected masks (N, h, w), found {tuple(masks.shape)}")
    before = _at(state.masks, tuple(masks.shape[1:]))
    before = before if flow is None else carry_masks(before, flow)
    there = before > 0.5
    mine, theirs = _paired(masks, there, least_iou)
    numbers = torch.full((len(masks),), -1)
    numbers[mine] = state.numbers[theirs]
    fresh = numbers < 0
    numbers[fresh] = state.used + 1 + torch.arange(int(fresh.sum()))
    lost = (state.ages < memory) & there.flatten(1).any(1)
    lost[theirs] = False
    following = NumberedMasks(
        torch.cat([numbers, state.numbers[lost]]),
        torch.cat([torch.zeros_like(numbers), state.ages[lost] + 1]),
        torch.cat([masks.float(), before[lost]]),
        state.used + int(fresh.sum()),
    )
    return following, numbers


def carry_masks(masks: Tensor, flow: Tensor) -> Tensor:
    """Masks of the frame before as they lie in this one.

    Args:
        masks: (K, h, w) of the frame before, at any resolution.
        flow: (2, H, W) pixels, from this frame to the one before; what is not finite counts as no motion.

    Returns:
        (K, h, w) float32: each pixel has what the masks have where its flow ends, 0 where that is outside the image.

    Raises:
        DetectorError: A shape is wrong.
    """
    if masks.ndim != 3 or flow.ndim != 3 or len(flow) != 2:
        raise DetectorError(
            f"expected masks (K, h, w) and a flow (2, H, W), found {tuple(masks.shape)} and {tuple(flow.shape)}"
        )
    masks, flow = masks.float(), torch.where(flow.isfinite(), flow, 0).float()
    if not len(masks):
        return masks
    height, width = masks.shape[1:]
    factors = flow.new_tensor([width / flow.shape[2], height / flow.shape[1]])[:, None, None]
    small = interpolate(flow[None], (height, width), mode="bilinear", align_corners=False)[0]
    ends = pixel_grid(height, width, flow.device, flow.dtype) + small * factors
    inside = (ends[0] >= 0) & (ends[1] >= 0) & (ends[0] <= width) & (ends[1] <= height)
    return sample(masks[None], ends[None])[0] * inside


def _at(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (K, h, w) at another resolution."""
    if not len(masks):
        return masks.new_zeros(0, *size)
    if tuple(masks.shape[1:]) == size:
        return masks
    return interpolate(masks[None], size, mode="bilinear", align_corners=False)[0]


def _paired(a: Tensor, b: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Rows of two sets of bool masks whose overlaps (intersection over union) have the largest sum, one to one."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = a.flatten(1).float(), b.flatten(1).float()
    shared = rows @ columns.T
    overlap = shared / (rows.sum(1)[:, None] + columns.sum(1) - shared).clamp(min=1)
    overlap = torch.where(overlap >= least, overlap, 0.0)
    mine, theirs = (torch.from_numpy(part) for part in linear_sum_assignment(overlap.numpy(), maximize=True))
    valid = overlap[mine, theirs] > 0
    return mine[valid], theirs[valid]

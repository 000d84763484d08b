"""How tracks moved and where they are expected, told to the graph through time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MOTION = 15
"""Width of what `motion_features` tells of a track."""

HIDING = 0.25
"""Part of a box from which what covers it is said to hide it."""


@dataclass(frozen=True)
class Motion:
    """Where a model of motion expects N tracks in a frame.

    Args:
        expected: (N, 4) boxes, xyxy pixels.
        velocity: (N, 4) of their sides, pixels per second.
        std: (N, 4) standard deviation of centre x, centre y, width and height, pixels.
    """

    expected: Tensor
    velocity: Tensor
    std: Tensor


def motion_features(
    motion: Motion, there: Tensor, height: Tensor, away: Tensor, seconds: Tensor, inside: Tensor, covered: Tensor
) -> Tensor:
    """How tracks moved, whatever the resolution and frame rate.

    Args:
        motion: What was expected, any shape in place of N.
        there: (..., 4) detections, the expected boxes where there is none.
        height: (...) of the last detections, pixels.
        away: (...) seconds since the last detection, 0 where there is one.
        seconds: (...) between frames.
        inside: (...) part of the box in the image.
        covered: (...) part of an undetected box behind something, 0 of a detected one.

    Returns:
        (..., MOTION).
    """
    unit = height.clamp(min=1.0)[..., None]
    speed, surprise = motion.velocity / unit, ((there - motion.expected) / unit).clamp(-2, 2)
    spread = (motion.std[..., ::2] / unit).clamp(min=1e-3).log() / 3
    times = torch.stack([5 * seconds, away], -1)
    flags = torch.stack([(away == 0).to(away), inside, covered], -1)
    return torch.cat([speed / (1 + speed.abs()), surprise, spread, times / (1 + times), flags], -1)


def inside_part(boxes: Tensor, size: Tensor) -> Tensor:
    """(...) part of boxes (..., 4) that is in the image of a size (..., 2)."""
    corners = torch.minimum(boxes.clamp(min=0), torch.cat([size, size], -1))
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3).prod(-1)
    return (corners[..., 2:] - corners[..., :2]).clamp(min=0).prod(-1) / area


def hiding(boxes: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """What hides tracks that are not seen: the box that covers most of theirs, of seen ones with a lower bottom edge.

    Args:
        boxes: (N, 4) xyxy pixels.
        seen: (N,) bool.

    Returns:
        The part that it covers (N,), and its row (N,), -1 where that part is less than `HIDING`; 0 and -1 of seen ones.
    """
    boxes = boxes.detach()
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3).prod(1)
    rows = (~seen).nonzero()[:, 0]
    a, b = boxes[rows, None], boxes[None]
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(2)
    front = seen[None] & (b[..., 3] > a[..., 3])
    covered = torch.where(front, shared / area[rows, None], 0.0)
    covered, by = torch.cat([covered, covered.new_zeros(rows.shape[0], 1)], 1).max(1)  # the last column is nothing
    whole = torch.zeros_like(area).index_copy(0, rows, covered)
    return whole, torch.full_like(seen, -1, dtype=torch.int64).index_copy(
        0, rows, torch.where(covered > HIDING, by, -1)
    )

"""Losses of target models."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

FILTER_WEIGHTS = {"classification": 100.0, "giou": 1.0}
"""Of `filter_loss` (ToMP)."""

CENTRE_WEIGHTS = {"focal": 1.0, "giou": 2.0, "l1": 5.0}
"""Of `centre_loss` (OSTrack)."""


def focal(probability: Tensor, label: Tensor) -> Tensor:
    """Focal loss of heat maps (CornerNet, equation 1), over the number of cells whose label is exactly 1.

    ``-log p (1 - p)^2`` there, ``-log(1 - p) p^2 (1 - y)^4`` elsewhere.

    Args:
        probability: (...) in (0, 1).
        label: (...) in [0, 1].
    """
    top = label == 1
    hit = probability.clamp(min=1e-6).log() * (1 - probability) ** 2
    miss = (1 - probability).clamp(min=1e-6).log() * probability**2 * (1 - label) ** 4
    return -torch.where(top, hit, miss).sum() / top.sum().clamp(min=1)


def lb_hinge(score: Tensor, label: Tensor, threshold: float = 0.05) -> Tensor:
    """Squared error that does not mind how far below zero the background is (DiMP, section 3.3).

    Where the label is below the threshold it counts as 0, and so does a score below 0.

    Args:
        score: (...) without bounds.
        label: (...) in [0, 1].
        threshold: Where the background begins.
    """
    background = label < threshold
    return torch.where(background, score.relu(), score - label).square().mean()


def giou(boxes: Tensor, others: Tensor) -> Tensor:
    """1 - generalised IoU (Rezatofighi et al., 2019) of boxes (..., 4) xyxy, row by row.

    Returns:
        (...) in [0, 2].
    """
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
    other = (others[..., 2:] - others[..., :2]).clamp(min=0).prod(-1)
    low, high = torch.maximum(boxes[..., :2], others[..., :2]), torch.minimum(boxes[..., 2:], others[..., 2:])
    both = (high - low).clamp(min=0).prod(-1)
    low, high = torch.minimum(boxes[..., :2], others[..., :2]), torch.maximum(boxes[..., 2:], others[..., 2:])
    hull = (high - low).clamp(min=0).prod(-1)
    union = area + other - both
    return 1 - both / union.clamp(min=1e-7) + (hull - union) / hull.clamp(min=1e-7)


def ltrb_giou(ltrb: Tensor, truth: Tensor) -> Tensor:
    """`giou` of boxes (..., 4) given by distances to their sides from one point."""
    signs = ltrb.new_tensor([-1.0, -1.0, 1.0, 1.0])
    return giou(ltrb * signs, truth * signs)


def filter_loss(
    classification: Tensor, ltrb: Tensor, truth: Tensor, positive: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of ToMP: 100 times a loss of the score map and GIoU on positive cells.

    Args:
        classification: () `lb_hinge` or `focal`.
        ltrb: (N, 4, h, w) predicted distances.
        truth: (N, 4, h, w).
        positive: (N, h, w) bool.

    Returns:
        The sum, and its parts before they are weighted.
    """
    here = ltrb.movedim(1, -1)[positive], truth.movedim(1, -1)[positive]
    parts = {"classification": classification, "giou": _mean(ltrb_giou(*here))}
    return _weighted(parts, FILTER_WEIGHTS), parts


def centre_loss(
    score: Tensor, boxes: Tensor, label: Tensor, truth: Tensor, present: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of OSTrack: focal + 2 GIoU + 5 L1.

    Args:
        score: (B, h, w) probabilities.
        boxes: (B, 4) xyxy in [0, 1].
        label: (B, h, w) of `labels.heat_maps`; zeros where there is no target.
        truth: (B, 4) xyxy in [0, 1].
        present: (B,) bool, whether the view shows the target; None: all do.

    Returns:
        The sum, and its parts before they are weighted.
    """
    if present is not None:
        boxes, truth = boxes[present], truth[present]
    distance = l1_loss(boxes, truth, reduction="none")
    parts = {"focal": focal(score, label), "giou": _mean(giou(boxes, truth)), "l1": _mean(distance)}
    return _weighted(parts, CENTRE_WEIGHTS), parts


def _weighted(parts: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    return torch.stack([weights[name] * part for name, part in parts.items()]).sum()


def _mean(values: Tensor) -> Tensor:
    """The mean, 0 of nothing."""
    return values.sum() / max(values.numel(), 1)

"""Instance contrast: two views of one instance look alike, and unlike those of the others (SSTrack, AAAI 2025)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from scenegraph_track.pretraining.prompts import cells_inside


def box_means(features: Tensor, boxes: Tensor, stride: float) -> Tensor:
    """Means of the features whose cells lie within boxes, at least of the cell with the middle of the box.

    Args:
        features: (B, D, h, w).
        boxes: (B, 4) xyxy, pixels of what the features cover.
        stride: Pixels of a cell.

    Returns:
        (B, D).
    """
    height, width = features.shape[2:]
    sides = boxes.new_tensor([width, height, width, height]) * stride
    inside = cells_inside(boxes / sides, (height, width)).to(features)
    return torch.einsum("bdhw,bhw->bd", features, inside) / inside.sum((1, 2))[:, None]


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent (SimCLR, equation 1) of N pairs of views; each view is to find its other one among all 2 N - 1.

    Args:
        first: (N, D).
        second: (N, D), other views of the same instances.
        temperature: Cosines are divided by it.

    Returns:
        The mean over all 2 N views; 0 of fewer than two pairs, which have nothing to differ from.
    """
    count = len(first)
    if count < 2:
        return (first.sum() + second.sum()) * 0
    views = normalize(torch.cat([first, second]), dim=1)
    itself = torch.eye(2 * count, dtype=torch.bool, device=views.device)
    alike = (views @ views.T / temperature).masked_fill(itself, -torch.inf)
    return cross_entropy(alike, torch.arange(2 * count, device=views.device).roll(count))

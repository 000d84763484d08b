"""Small pieces of the image round points, by which supposed positions are checked and settled to a part of a pixel."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geometry.camera import sample

SIDE = 9
"""Pixels of a piece along each side."""

NEAR = 4.0
"""Pixels by which settling moves a position at most."""

_STEPS = 8
_ALIKE = 0.8
"""Least correlation at which a settled position is taken."""

_CORNER = 1.0
"""Least eigenvalue, of squared grey values a pixel, from which a piece tells where it lies."""


class Fit(NamedTuple):
    """How pieces fit at positions.

    Args:
        alike: (...) normalised correlation in [-1, 1], 0 where there is nothing to correlate.
        step: (..., 2) pixels to where they fit better, one step of Gauss-Newton.
        corner: (...) the smaller eigenvalue of the structure tensor of the piece.
    """

    alike: Tensor
    step: Tensor
    corner: Tensor


def grey(images: Tensor) -> Tensor:
    """(..., 1, H, W) in grey values of 0 to 255, of images (..., 3, H, W) uint8."""
    return images.float().mean(-3, keepdim=True)


def cut_templates(images: Tensor, points: Tensor) -> Tensor:
    """Pieces (B, N, `SIDE` + 2, `SIDE` + 2) round points (B, N, 2) in pixels of grey images (B, 1, H, W)."""
    return _pieces(images, points, SIDE + 2).unflatten(-1, (SIDE + 2, -1))


def templates_of(greys: Tensor, frames: Tensor, points: Tensor) -> Tensor:
    """`cut_templates` of points (B, N, 2), each from its frame (B, N) of grey images (B, T, 1, H, W)."""
    found = torch.stack([cut_templates(image, points) for image in greys.unbind(1)], 2)  # B, N, T, s, s
    return found.gather(2, frames[:, :, None, None, None].expand(-1, -1, 1, *found.shape[3:]))[:, :, 0]


def _pieces(images: Tensor, points: Tensor, side: int) -> Tensor:
    """(B, N, side^2)."""
    steps = torch.arange(side, device=points.device, dtype=points.dtype) - (side - 1) / 2
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).flatten(0, 1)
    places = points[:, :, None] + offsets
    return sample(images, places.permute(0, 3, 1, 2))[:, 0]


def fit(images: Tensor, templates: Tensor, points: Tensor) -> Fit:
    """How templates (B, N, ...) of `cut_templates` fit at points (B, N, 2) of grey images (B, 1, H, W).

    The step is that of the inverse compositional algorithm for a shift (Baker and Matthews, 2004, section 3.2), after
    the means are taken away.
    """
    inner = templates[..., 1:-1, 1:-1].flatten(-2)
    slope_x = (templates[..., 1:-1, 2:] - templates[..., 1:-1, :-2]).flatten(-2) / 2
    slope_y = (templates[..., 2:, 1:-1] - templates[..., :-2, 1:-1]).flatten(-2) / 2
    slopes = torch.stack([slope_x, slope_y], -1)  # B, N, s^2, 2
    found = _pieces(images, points, SIDE)
    found, wanted = found - found.mean(-1, keepdim=True), inner - inner.mean(-1, keepdim=True)
    alike = (found * wanted).sum(-1) / (found.square().sum(-1) * wanted.square().sum(-1) + 1.0).sqrt()
    tensor = slopes.transpose(-1, -2) @ slopes / SIDE**2
    a, b, c = tensor[..., 0, 0], tensor[..., 0, 1], tensor[..., 1, 1]
    corner = (a + c) / 2 - ((a - c).square() / 4 + b.square()).sqrt()
    right = (slopes * (found - wanted)[..., None]).sum(-2) / SIDE**2
    determinant = (a * c - b * b).clamp(min=1e-3)
    step = torch.stack([c * right[..., 0] - b * right[..., 1], a * right[..., 1] - b * right[..., 0]], -1)
    return Fit(alike, -step / determinant[..., None], corner)


def settle(images: Tensor, templates: Tensor, points: Tensor) -> Tensor:
    """Points (B, N, 2) of grey images (B, 1, H, W) moved to where their templates fit best, if near and sure."""
    places = points
    for _ in range(_STEPS):
        places = places + fit(images, templates, places).step.clamp(-1, 1)
        places = torch.maximum(torch.minimum(places, points + 2 * NEAR), points - 2 * NEAR)
    last = fit(images, templates, places)
    sure = (last.alike > _ALIKE) & (last.corner > _CORNER) & (last.step.square().sum(-1) < 0.01)
    near = (places - points).square().sum(-1) < NEAR**2
    return torch.where((sure & near)[..., None], places, points)

"""What optical flow, there and back, and pieces of the image round the points say about supposed tracks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from geometry.camera import sample
from geometry.flow import dis_flow
from scenegraph_track.occlusion.templates import fit

EVIDENCE = 10
"""Numbers of `evidence`."""

_UNIT = 4.0
"""Pixels."""


SETTLING = slice(7, 9)
"""Those among them that lead to where a template fits better, pixels."""


class Sight(NamedTuple):
    """What a window of T frames shows besides features, for B clips with N points each.

    Args:
        flows: (B, T - 1, 4, H, W) optical flow from each frame to the next, and back; None: not known.
        greys: (B, T, 1, H, W) of `templates.grey`.
        templates: (B, N, s, s) of `templates.cut_templates`.
    """

    flows: Tensor | None
    greys: Tensor
    templates: Tensor


def evidence(positions: Tensor, sight: Sight) -> Tensor:
    """(B, N, T, EVIDENCE): `disagreement` with the flow, and how the templates fit (`templates.Fit`).

    Args:
        positions: (B, N, T, 2) pixels.
        sight: Of the T frames.
    """
    batch, count, frames = positions.shape[:3]
    pieces = sight.templates[:, None].expand(-1, frames, -1, -1, -1).flatten(0, 1)
    found = fit(sight.greys.flatten(0, 1), pieces, positions.transpose(1, 2).flatten(0, 1))
    told = torch.cat(
        [found.alike[..., None], found.step.clamp(-2, 2), found.corner.clamp(min=0).log1p()[..., None] / 4], -1
    )
    fits = told.unflatten(0, (batch, frames)).transpose(1, 2)
    if sight.flows is None:
        return torch.cat([fits.new_zeros(batch, count, frames, 6), fits], -1)
    return torch.cat([disagreement(positions, sight.flows), fits], -1)


def as_shown(image: Tensor, longest: int) -> Tensor:
    """An image (3, H, W), uint8 or float in [0, 1], as uint8 of at most ``longest`` pixels along its longer side."""
    pixels = image if image.dtype == torch.uint8 else (image * 255 + 0.5).clamp(0, 255).to(torch.uint8)
    scale = longest / max(image.shape[1:])
    if scale >= 1:
        return pixels
    size = [max(1, round(side * scale)) for side in image.shape[1:]]
    return interpolate(pixels[None].float(), size, mode="area")[0].round().to(torch.uint8)


def both_ways(image: Tensor, after: Tensor, method: str) -> Tensor:
    """Flow (4, H, W) from an image (3, H, W) uint8 to the one after it, and back; see `geometry.flow.dis_flow`.

    The way back only tells whether it leads to where a point was, for which half the resolution does.
    """
    return torch.cat([dis_flow(image, after, method), dis_flow(after, image, "dis_half")])


def disagreement(positions: Tensor, flows: Tensor) -> Tensor:
    """How tracks differ from optical flow: (B, N, T, 6), 0 in the first frame.

    Where a point has moved differently than the flow there, where the flow back leads elsewhere than it came from (x
    and y of each, in units of `_UNIT` pixels), and the logarithms of both lengths: what comes to lie behind something
    has no place to which the flow leads there and back.

    Args:
        positions: (B, N, T, 2) pixels.
        flows: (B, T - 1, 4, H, W) from each frame to the next, and back.
    """
    if positions.shape[2] < 2:
        return positions.new_zeros(*positions.shape[:3], 6)
    ahead, back = flows.flatten(0, 1).split(2, 1)
    before, after = (part.transpose(1, 2).flatten(0, 1) for part in (positions[:, :, :-1], positions[:, :, 1:]))
    here = before.transpose(1, 2)[..., None], after.transpose(1, 2)[..., None]
    moved, returned = (sample(flow, at)[..., 0].transpose(1, 2) for flow, at in zip((ahead, back), here))
    errors = torch.stack([before + moved - after, after + returned - before], -2)  # B (T - 1), N, 2, 2
    lengths = errors.square().sum(-1).add(1e-6).sqrt().log1p()
    found = torch.cat([(errors / _UNIT).clamp(-2, 2).flatten(2), lengths], -1)
    found = found.unflatten(0, (len(positions), -1)).transpose(1, 2)
    return torch.cat([torch.zeros_like(found[:, :, :1]), found], 2)

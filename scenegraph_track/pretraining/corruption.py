"""What a student is shown in place of a clean frame (GOT-JEPA): cells of its features moved, or a spoilt image.

The authors' code moves cells of the features, which needs no further pass of the backbone and is the default; the
summary of their paper speaks of occlusion, noise and blur of the image, which are options.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn.functional import conv2d, pad

from scenegraph_track.errors import UserError
from scenegraph_track.pretraining.occluders import OCCLUDERS, occluded

RELOCATE, OCCLUDE, NOISE, BLUR = "relocate", "occlude", "noise", "blur"
KINDS = (RELOCATE, OCCLUDE, NOISE, BLUR)
"""Of corruption; all but the first spoil images."""


class CorruptionSettings(BaseModel):
    """How frames are corrupted; the kind is drawn for each batch, strengths of images for each image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: dict[str, float] = Field({RELOCATE: 1.0}, description=f"share of each: {', '.join(KINDS)}")
    relocated: tuple[float, float] = Field((0.0, 0.3), description="part of the cells that are moved, drawn from")
    occluders: dict[str, float] = Field(
        {"textured": 1.0}, description=f"share of each kind of block: {', '.join(OCCLUDERS)}"
    )
    hidden: tuple[float, float] = Field((0.0, 0.7), description="part of the target's box under a block, drawn from")
    opacity: tuple[float, float] = Field((0.4, 0.8), description="of semi-transparent blocks, drawn from")
    noise: tuple[float, float] = Field((0.05, 0.3), description="deviation of the noise, drawn from")
    blur: tuple[float, float] = Field((1.0, 4.0), description="deviation of the blur, pixels, drawn from")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, shares, known in (("kinds", self.kinds, KINDS), ("occluders", self.occluders, OCCLUDERS)):
            if unknown := [kind for kind in shares if kind not in known]:
                raise ValueError(f"{name}: expected some of {', '.join(known)}, found {unknown[0]}")
            if not sum(shares.values()) > 0 or min(shares.values()) < 0:
                raise ValueError(f"{name}: expected shares of which one is above 0")
        for name in ("relocated", "hidden", "opacity"):
            low, high = getattr(self, name)
            if not 0 <= low <= high <= 1:
                raise ValueError(f"{name}: expected two numbers that rise, from 0 to 1, found {low} and {high}")
        return self


def drawn_kind(shares: dict[str, float]) -> str:
    """One of the names, by torch's generator."""
    names, weights = list(shares), torch.tensor(list(shares.values()))
    return names[int(torch.multinomial(weights, 1))]


def between(limits: tuple[float, float], count: int, device: torch.device | None = None) -> Tensor:
    """Numbers (count,) drawn evenly."""
    return limits[0] + (limits[1] - limits[0]) * torch.rand(count, device=device)


def relocated(features: Tensor, share: float) -> Tensor:
    """Features in which some cells have changed places, all channels together.

    In each row a subset of cells is drawn, and one random permutation of it.  (The authors' code swaps two lists of
    cells that overlap, which loses some of them.)

    Args:
        features: (N, D, h, w).
        share: Of the cells, rounded down.

    Raises:
        UserError: The share is no part of 1.
    """
    if not 0 <= share <= 1:
        raise UserError(f"corruption: expected a share of cells from 0 to 1, found {share}")
    count, cells = len(features), features.shape[2] * features.shape[3]
    chosen = torch.rand(count, cells, device=features.device).argsort(1)[:, : math.floor(share * cells)]
    order = torch.rand(chosen.shape, device=features.device).argsort(1)
    place = torch.arange(cells, device=features.device).repeat(count, 1).scatter(1, chosen, chosen.gather(1, order))
    return features.flatten(2).gather(2, place[:, None].expand(-1, features.shape[1], -1)).view_as(features)


def noised(images: Tensor, deviation: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] with normal noise of some deviation (N,)."""
    return (images + deviation[:, None, None, None] * torch.randn_like(images)).clamp(0, 1)


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Images (N, 3, H, W) blurred by a Gaussian of a deviation in pixels; borders are continued."""
    reach = max(1, math.ceil(3 * deviation))
    away = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = (-(away**2) / (2 * deviation**2)).exp()
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    wide = pad(images, (reach,) * 4, mode="replicate")
    return conv2d(conv2d(wide, kernel[:, :, None], groups=3), kernel[..., None], groups=3)


def corrupted_images(images: Tensor, boxes: Tensor, kind: str, settings: CorruptionSettings) -> Tensor:
    """Images that are occluded, noisy or blurred.

    Args:
        images: (N, 3, H, W) in [0, 1].
        boxes: (N, 4) xyxy pixels, where blocks lie.
        kind: One of `KINDS` but the first.
        settings: Strengths are drawn from.

    Raises:
        UserError: It is no corruption of images.
    """
    count, device = len(images), images.device
    if kind == OCCLUDE:
        block = drawn_kind(settings.occluders)
        opacity = between(settings.opacity, count, device) if block == "semi_transparent" else None
        return occluded(images, boxes, between(settings.hidden, count, device), block, opacity)
    if kind == NOISE:
        return noised(images, between(settings.noise, count, device))
    if kind == BLUR:
        return blurred(images, float(between(settings.blur, 1)))
    raise UserError(f"corruption: expected one of {', '.join(KINDS[1:])}, found {kind}")

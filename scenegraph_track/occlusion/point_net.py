"""The network that moves supposed tracks of points to where the points are, in a window of frames."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import gelu

from scenegraph_track.occlusion.point_features import (
    AROUND,
    LEVELS,
    REACH,
    STRIDE,
    Level,
    PointEncoder,
    aligned,
    correlate,
    shifts,
)
from scenegraph_track.occlusion.point_layers import SpaceTimeLayer
from scenegraph_track.occlusion.sight import EVIDENCE, SETTLING, Sight, evidence


class PointNetSettings(BaseModel):
    """Sizes of a `PointNet`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: tuple[int, int, int] = Field((24, 48, 64), description="of the encoder at 1/2, 1/4 and 1/8")
    features: int = Field(48, ge=1, description="dimension of the features of an image")
    dim: int = Field(96, ge=4, description="of the tokens")
    layers: int = Field(2, ge=1, description="space-time layers of an iteration")
    heads: int = Field(4, ge=1, description="of the attention")
    virtual: int = Field(16, ge=1, description="virtual tracks through which points exchange")
    window: int = Field(8, ge=2, description="frames that are looked at together")
    stride: int = Field(4, ge=1, description="new frames in a window, after the first")
    iterations: int = Field(3, ge=1, description="corrections of a window")

    @model_validator(mode="after")
    def _overlapping(self) -> Self:
        if self.stride >= self.window:
            raise ValueError(f"stride: expected less than the window of {self.window} frames, found {self.stride}")
        return self


class Supposed(NamedTuple):
    """What is supposed of N points in T frames, for each of B clips.

    Args:
        positions: (B, N, T, 2) pixels.
        visible: (B, N, T) logits.
        confident: (B, N, T) logits of an error below `CONFIDENT` pixels.
        tokens: (B, N, T, d) of the last iteration, or None before the first.
        fits: (B, N, T, L, 25) logits of the shifts of the positions before it, by looks alone; None before the first.
    """

    positions: Tensor
    visible: Tensor
    confident: Tensor
    tokens: Tensor | None = None
    fits: Tensor | None = None


CONFIDENT = 8.0
"""Pixels."""

_FREQUENCIES = 5


class PointNet(nn.Module):
    """Corrects tracks of points again and again by what is seen at their supposed places.

    Each iteration compares the looks of every point with the image round its supposed position in every frame
    (`correlate`), lets all frames of a track and all tracks of a frame exchange (`SpaceTimeLayer`), and adds what comes
    out to positions, visibility and confidence (CoTracker3, Karaev et al., 2024, section 3; written anew from the
    equations).  Positions start from optical flow, which is mostly right already: a correction is multiplied by the
    trust in it, so that what is right can stay, and is led by the shifts that looks alone suggest.

    Args:
        settings: Sizes.
    """

    def __init__(self, settings: PointNetSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or PointNetSettings()
        dim = settings.dim
        self.encoder = PointEncoder(settings.channels, settings.features)
        products = (2 * AROUND + 1) ** 2 * (2 * REACH + 1) ** 2
        self.look = nn.Linear(products, dim // 2)
        self.sharp = nn.Parameter(torch.zeros(LEVELS))
        self.join = nn.Linear(LEVELS * (dim // 2 + 3) + 4 * (1 + 2 * _FREQUENCIES) + 3 + EVIDENCE, dim)
        self.times = nn.Parameter(0.02 * torch.randn(settings.window, dim))
        self.virtual = nn.Parameter(torch.randn(settings.virtual, dim))
        self.layers = nn.ModuleList(SpaceTimeLayer(dim, settings.heads) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(dim)
        self.move = nn.Linear(dim, 3 + LEVELS)
        self.trust = nn.Linear(dim, 1)
        self.see = nn.Linear(dim, 2)
        nn.init.normal_(self.move.weight, 0, 1e-3)
        nn.init.zeros_(self.move.bias)
        nn.init.zeros_(self.trust.weight)
        nn.init.constant_(self.trust.bias, -1.0)

    def features(self, images: Tensor) -> Tensor:
        """(B, D, h, w) of images (B, 3, H, W) in [0, 1]."""
        return self.encoder(images)

    def forward(
        self,
        levels: list[Level],
        supposed: Supposed,
        descriptions: Tensor,
        known: Tensor,
        given: Tensor,
        sight: Sight | None,
        iterations: int | None = None,
    ) -> list[Supposed]:
        """Correct the tracks of a window.

        Args:
            levels: Pyramid of the B * T frames, clip after clip.
            supposed: Where the points may be.
            descriptions: (B, N, L, 9, D) of `describe`.
            known: (B, N, T) bool, false before a point's first frame.
            given: (B, N, T) bool, true in its first frame: what is supposed there is true and stays.
            sight: What else the window shows; None: nothing.
            iterations: In place of those of the settings.

        Returns:
            What is supposed after each iteration.
        """
        found = []
        for _ in range(iterations or self.settings.iterations):
            supposed = self._corrected(levels, supposed, descriptions, known, given, sight)
            found.append(supposed)
        return found

    def _corrected(
        self,
        levels: list[Level],
        supposed: Supposed,
        descriptions: Tensor,
        known: Tensor,
        given: Tensor,
        sight: Sight | None,
    ) -> Supposed:
        positions = supposed.positions.detach()
        batch, count, frames = positions.shape[:3]
        numbers = torch.arange(batch * frames, device=positions.device).view(batch, 1, frames).expand(-1, count, -1)
        products = correlate(levels, numbers, positions, descriptions)
        fits = aligned(products) * self.sharp.exp()[:, None]
        chances = fits.softmax(-1)
        shift = chances @ shifts(positions.device)  # B, N, T, L, 2 in cells
        looks = gelu(self.look(products), approximate="tanh").flatten(3)
        led = torch.cat([shift, chances.amax(-1, keepdim=True)], -1).flatten(3)
        told = positions.new_zeros(*positions.shape[:3], EVIDENCE) if sight is None else evidence(positions, sight)
        tracks = self._tokens(supposed, looks, led, given, told)
        virtual = (self.virtual[None, :, None] + self.times[:frames]).expand(batch, -1, -1, -1)
        for layer in self.layers:
            tracks, virtual = layer(tracks, virtual, known)
        tracks = self.norm(tracks)
        step, logits = self.move(tracks), self.see(tracks)
        scales = STRIDE * 2.0 ** torch.arange(LEVELS, device=positions.device)
        led = ((scales * step[..., 3:])[..., None] * shift).sum(-2)
        step = STRIDE * step[..., :2] + step[..., 2:3] * told[..., SETTLING] + led
        positions = torch.where(given[..., None], positions, positions + self.trust(tracks).sigmoid() * step)
        return Supposed(positions, supposed.visible + logits[..., 0], supposed.confident + logits[..., 1], tracks, fits)

    def _tokens(self, supposed: Supposed, looks: Tensor, shift: Tensor, given: Tensor, told: Tensor) -> Tensor:
        """(B, N, T, d) of what is seen at the supposed positions and how they move."""
        positions = supposed.positions.detach()
        step = positions[:, :, 1:] - positions[:, :, :-1]
        none = torch.zeros_like(positions[:, :, :1])
        steps = torch.cat([torch.cat([none, step], 2), torch.cat([step, none], 2)], -1) / STRIDE
        belief = torch.stack([supposed.visible.tanh(), supposed.confident.tanh(), given.float()], -1)
        return self.join(torch.cat([looks, shift, _waves(steps), belief, told], -1)) + self.times[: positions.shape[2]]


def _waves(values: Tensor) -> Tensor:
    """Values (..., C) and their sines and cosines at `_FREQUENCIES` octaves, (..., C (1 + 2 f))."""
    scaled = values[..., None] * (math.pi * 2.0 ** torch.arange(-4, _FREQUENCIES - 4, device=values.device))
    return torch.cat([values / 4, scaled.sin().flatten(-2), scaled.cos().flatten(-2)], -1)

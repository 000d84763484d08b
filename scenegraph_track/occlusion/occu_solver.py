"""OccuSolver: from the tracks of points on objects to what can be seen of each object (GOT-JEPA, stage C)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import gelu

from geometry.camera import sample
from scenegraph_track.occlusion.point_features import STRIDE
from scenegraph_track.occlusion.point_layers import Attention, FeedForward
from scenegraph_track.occlusion.point_net import Supposed


class OccuSolverSettings(BaseModel):
    """Sizes of an `OccuSolver`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dim: int = Field(64, ge=4, description="of the side networks")
    layers: int = Field(2, ge=1, description="of the side network that reads each iteration")
    heads: int = Field(4, ge=1, description="of their attention")


class ObjectsSeen(NamedTuple):
    """What can be seen of O objects with P points each in T frames.

    Args:
        point_logits: (O, P, T) of a point being seen.
        member_logits: (O, P) of a point lying on its object and not on what is round it.
        fraction: (O, T) visible part of each object, 0 to 1.
    """

    point_logits: Tensor
    member_logits: Tensor
    fraction: Tensor


class OccuSolver(nn.Module):
    """Refines the visibility of points by what all points of an object show, and sums it up to a visible part.

    At each iteration i of the point network a side network reads the tokens F_i of the points, to which the object's
    prior (its response map or mask, where there is one) at the place of each point is added, and how far the point has
    moved from the others: ``G = sum_i D(F_i + E(prior))``.  A second one turns
    the sum into ``F' = F_last + U(G)``, from which a linear layer corrects the point network's visibility.  All is
    soft, so that gradients reach both side networks; the point network itself is left alone.  The points of an object
    look at one another, those of different objects do not, so any number of objects share one pass.

    The published version reads a fixed number of points of one target, adds the prior to the features of two frames and
    thresholds visibility; the motion of the others and the pooled correction of the visible part are ours.

    Args:
        dim: Of the tokens of the point network.
        window: Its frames.
        settings: Sizes.
    """

    def __init__(self, dim: int, window: int, settings: OccuSolverSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or OccuSolverSettings()
        inner = settings.dim
        self.prior = nn.Sequential(nn.Conv2d(1, inner, 3, 1, 1), nn.GELU(), nn.Conv2d(inner, dim, 1))
        self.no_prior = nn.Parameter(torch.zeros(dim))
        self.down = nn.Linear(dim + 4, inner)
        self.times = nn.Parameter(0.02 * torch.randn(window, inner))
        self.read = nn.ModuleList(_Read(inner, settings.heads) for _ in range(settings.layers))
        self.up_inner, self.up = nn.Linear(inner, inner), nn.Linear(inner, dim)
        self.norm = nn.LayerNorm(dim)
        self.see, self.member, self.whole = nn.Linear(dim, 1), nn.Linear(dim, 1), nn.Linear(dim + 2, 1)
        for layer in (self.see, self.whole):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        found: Sequence[Supposed],
        known: Tensor,
        counted: Tensor,
        places: Tensor,
        priors: Tensor | None = None,
        told: Tensor | None = None,
    ) -> ObjectsSeen:
        """What can be seen of the objects.

        Args:
            found: What `PointNet` supposed after each iteration, with B = O objects of N = P points.
            known: (O, P, T) bool, false before a point's first frame.
            counted: (O, P) bool; false for points that only fill the row of an object.
            places: (O, P, 2) where the points were given, pixels.
            priors: (O, h, w) where the object is in the frame in which they were, 0 to 1, at the stride of the
                features.
            told: (O,) bool, which of them count; None: all.
        """
        last = found[-1]
        known = known & counted[..., None]
        prior = self._prior(places, priors, told)
        total = torch.zeros((), device=known.device)
        for supposed in found:
            assert supposed.tokens is not None
            beliefs = torch.stack([supposed.visible.detach(), supposed.confident.detach()], -1).tanh()
            moved = apart(supposed.positions.detach() - places[:, :, None], known)
            tokens = torch.cat([supposed.tokens.detach() + prior, beliefs, moved], -1)
            tokens = self.down(tokens) + self.times[: tokens.shape[2]]
            for layer in self.read:
                tokens = layer(tokens, known)
            total = total + tokens
        assert last.tokens is not None
        refined = self.norm(last.tokens.detach() + self.up(gelu(self.up_inner(total))))
        point_logits = last.visible.detach() + self.see(refined)[..., 0]
        share = known.float() / known.sum(2, keepdim=True).clamp(min=1)
        member_logits = (self.member(refined)[..., 0] * share).sum(2)
        return ObjectsSeen(point_logits, member_logits, self._fraction(refined, point_logits, member_logits, known))

    def _fraction(self, refined: Tensor, point_logits: Tensor, member_logits: Tensor, known: Tensor) -> Tensor:
        """(O, T): the share of the object's own points that are seen, corrected by what they look like together."""
        weight = member_logits.sigmoid()[..., None] * known
        mass = weight.sum(1)
        share = (weight * point_logits.sigmoid()).sum(1) / mass.clamp(min=1e-3)
        together = (weight[..., None] * refined).sum(1) / mass.clamp(min=1e-3)[..., None]
        logit = torch.logit(share.clamp(0.01, 0.99))
        features = torch.cat([together, share[..., None], logit[..., None] / 4], -1)
        return (logit + self.whole(features)[..., 0]).sigmoid()

    def _prior(self, places: Tensor, priors: Tensor | None, told: Tensor | None) -> Tensor:
        """(O, P, 1, d) of the prior at the places (O, P, 2) of the points, or a learned constant."""
        if priors is None:
            return self.no_prior
        at = sample(self.prior(priors[:, None]), (places / STRIDE).transpose(1, 2)[..., None])
        at = at.permute(0, 2, 3, 1)
        return at if told is None else torch.where(told[:, None, None, None], at, self.no_prior)


def apart(moved: Tensor, known: Tensor) -> Tensor:
    """How far points have moved from the median of their object, and that median: logarithms (O, P, T, 2).

    Args:
        moved: (O, P, T, 2) pixels since they were given.
        known: (O, P, T) bool; others do not count, and get 0.
    """
    median = torch.where(known[..., None], moved, torch.nan).nanmedian(1, keepdim=True).values.nan_to_num()
    lengths = torch.stack([(moved - median).norm(dim=-1), median.norm(dim=-1).expand(known.shape)], -1)
    return (lengths / STRIDE).log1p() * known[..., None]


class _Read(nn.Module):
    """The frames of each point, then the points of each object in each frame."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.time, self.among, self.each = Attention(dim, heads), Attention(dim, heads), FeedForward(dim)

    def forward(self, tokens: Tensor, known: Tensor) -> Tensor:
        """Tokens (O, P, T, d) where points are ``known`` (O, P, T)."""
        objects, points = tokens.shape[:2]
        tokens = self.time(tokens.flatten(0, 1), None, known.flatten(0, 1)).unflatten(0, (objects, points))
        tokens, there = tokens.transpose(1, 2), known.transpose(1, 2)
        tokens = self.among(tokens.flatten(0, 1), None, there.flatten(0, 1)).unflatten(0, there.shape[:2])
        return self.each(tokens.transpose(1, 2))

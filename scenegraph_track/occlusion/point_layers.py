"""Attention over the time of each point and over the points of each frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention


class Attention(nn.Module):
    """Queries look at keys, with a residual: ``x + W softmax(q k / sqrt d) v``, layers normalised before.

    Args:
        dim: Of the tokens.
        heads: Of the attention.
        cross: Whether other tokens are looked at.
    """

    def __init__(self, dim: int, heads: int, cross: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.norm_seen = nn.LayerNorm(dim) if cross else None
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, seen: Tensor | None = None, allowed: Tensor | None = None) -> Tensor:
        """Tokens (B, Q, d) that look at ``seen`` (B, K, d), or at themselves; ``allowed`` (B, K) bool."""
        tokens = self.norm(x)
        keys = tokens if seen is None or self.norm_seen is None else self.norm_seen(seen)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(tokens), *self.key_value(keys).chunk(2, -1))
        )
        mask = None if allowed is None else (allowed | ~allowed.any(-1, keepdim=True))[:, None, None]
        return x + self.out(scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two layers with a residual, each token by itself."""

    def __init__(self, dim: int, ratio: int = 2) -> None:
        super().__init__()
        self.norm, self.inner, self.out = nn.LayerNorm(dim), nn.Linear(dim, ratio * dim), nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d)."""
        return x + self.out(gelu(self.inner(self.norm(x)), approximate="tanh"))


class SpaceTimeLayer(nn.Module):
    """Every track attends to its own frames, then the tracks of a frame exchange through a few virtual tracks.

    The cost is linear in the number of tracks (CoTracker, Karaev et al., 2023, section 3.3).
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.time, self.time_forward = Attention(dim, heads), FeedForward(dim)
        self.gather, self.gather_forward = Attention(dim, heads, cross=True), FeedForward(dim)
        self.among = Attention(dim, heads)
        self.give, self.give_forward = Attention(dim, heads, cross=True), FeedForward(dim)

    def forward(self, tracks: Tensor, virtual: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """New tokens of tracks (B, N, T, d) and virtual tracks (B, K, T, d).

        Args:
            tracks: Of N points in T frames.
            virtual: Of K virtual tracks.
            known: (B, N, T) bool, where a point exists; tokens of a point that is nowhere mean nothing.
        """
        count = tracks.shape[1]
        together = torch.cat([tracks, virtual], 1)
        allowed = torch.cat([known, known.new_ones(virtual.shape[:3])], 1)
        together = self.time_forward(self.time(together.flatten(0, 1), None, allowed.flatten(0, 1)))
        together = together.unflatten(0, (len(tracks), -1)).transpose(1, 2)  # B, T, N + K, d
        batch, frames = together.shape[:2]
        tracks, virtual = together.flatten(0, 1).split([count, together.shape[2] - count], 1)
        virtual = self.gather(virtual, tracks, known.transpose(1, 2).flatten(0, 1))
        virtual = self.among(self.gather_forward(virtual))
        tracks = self.give_forward(self.give(tracks, virtual))
        tracks, virtual = (part.unflatten(0, (batch, frames)).transpose(1, 2) for part in (tracks, virtual))
        return tracks, virtual

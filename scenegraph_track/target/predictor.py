"""A transformer that predicts a target's filters from a few remembered views of it (ToMP; Mayer et al., CVPR 2022).

Ours differs where it makes a small network faster or steadier: what the transformer predicts is a correction of the
mean of the remembered features round the target (the model initialiser of DiMP; Bhat et al., ICCV 2019); layers are
normalised before, not after; the decoder has no self-attention, which for its single query is a linear map; positions
are cells from the middle of the grid, added once, so that grids of any size can be read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from scenegraph_track.errors import UserError

_WAVES = (4.0, 64.0)
"""Shortest and longest wave of the positions, cells."""


@dataclass(frozen=True, eq=False)
class MemoryTokens:
    """Remembered views of N targets, n of each.

    Args:
        features: (N, n, D, h, w).
        labels: (N, n, h, w) Gaussian maps.
        ltrb: (N, n, 4, h, w) distances to the sides of the box.
        valid: (N, n) bool, False where a target has fewer views; the first is always there.
        given: (N, n) bool, whether the box was given and not found by the tracker itself.
    """

    features: Tensor
    labels: Tensor
    ltrb: Tensor
    valid: Tensor
    given: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def repeated(self, count: int) -> MemoryTokens:
        """Each target ``count`` times, one after the other."""
        parts = (self.features, self.labels, self.ltrb, self.valid, self.given)
        return MemoryTokens(*(part.repeat_interleave(count, 0) for part in parts))


@dataclass(frozen=True, eq=False)
class Filters:
    """The models of N targets.

    Args:
        classification: (N, D), its product with a feature says how much the target's middle is there.
        box: (N, D), the same for the part of the network that finds the box.
        features: (N, D, h, w) the current features as each target sees them, or None: features as they are.
    """

    classification: Tensor
    box: Tensor
    features: Tensor | None = None

    def __len__(self) -> int:
        return len(self.classification)

    def __getitem__(self, chosen: Tensor | slice) -> Filters:
        """Those of some targets."""
        features = None if self.features is None else self.features[chosen]
        return Filters(self.classification[chosen], self.box[chosen], features)

    def repeated(self, count: int) -> Filters:
        """Each target ``count`` times, one after the other."""
        parts = (self.classification, self.box, self.features)
        return Filters(*(None if part is None else part.repeat_interleave(count, 0) for part in parts))


def sine_positions(height: int, width: int, dim: int, like: Tensor) -> Tensor:
    """Positions (height * width, dim): sines and cosines of y and x in cells from the middle, in geometric waves."""
    count = dim // 4
    waves = _WAVES[0] * (_WAVES[1] / _WAVES[0]) ** (torch.arange(count, device=like.device) / max(count - 1, 1))
    parts = []
    for length in (height, width):
        away = torch.arange(length, device=like.device) - (length - 1) / 2
        phase = away[:, None] * (2 * math.pi / waves)
        parts.append(torch.cat([phase.sin(), phase.cos()], 1))
    y, x = parts[0][:, None].expand(-1, width, -1), parts[1][None].expand(height, -1, -1)
    return torch.cat([y, x], -1).reshape(height * width, dim).to(like)


class AttentionLayer(nn.Module):
    """Attention and a perceptron, each behind a normalisation and added to its input.

    Args:
        dim: Of the tokens.
        heads: Of the attention.
        hidden: Of the perceptron.
    """

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_hidden = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.perceptron = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor, seen: Tensor | None = None, allowed: Tensor | None = None) -> Tensor:
        """Tokens (N, Q, D) after they have looked at themselves or at other tokens.

        Args:
            tokens: (N, Q, D).
            seen: (N, K, D) normalised tokens to look at; None: ``tokens``.
            allowed: (N, K) bool, which may be looked at; None: all.
        """
        own = self.norm(tokens)
        seen = own if seen is None else seen
        query = self._heads(self.query(own))
        key, value = (self._heads(part) for part in self.key_value(seen).chunk(2, -1))
        mask = None if allowed is None else allowed[:, None, None]
        found = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        tokens = tokens + self.out(found.transpose(1, 2).flatten(2))
        return tokens + self.perceptron(self.norm_hidden(tokens))

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ResidualMap(nn.Module):
    """JEPA's predictor: ``y = A w + b``, then ``y + B y`` (GOT-JEPA's two 1 x 1 convolutions); begins as nothing.

    Args:
        dim: D of the weights.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.first.weight)
        nn.init.zeros_(self.first.bias)
        nn.init.zeros_(self.second.weight)

    def forward(self, weights: Tensor) -> Tensor:
        """(..., D)."""
        found = self.first(weights)
        return found + self.second(found)


class FilterRefiner(nn.Module):
    """A `ResidualMap` for each filter, ``w <- P(w)``.

    Args:
        dim: D of the filters.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.classification, self.box = ResidualMap(dim), ResidualMap(dim)

    def forward(self, filters: Filters) -> Filters:
        """The filters of N targets."""
        return Filters(self.classification(filters.classification), self.box(filters.box), filters.features)


class TargetModelPredictor(nn.Module):
    r"""Predicts the filters of targets (ToMP, section 3).

    A remembered cell is the token :math:`f + y\,e_{fg} + \mathrm{MLP}(ltrb)`, a current one :math:`f + e_{test}`, each
    with its position.  An encoder mixes them; a decoder with the one query :math:`e_{fg}` reads the model from them.
    Each filter is a linear map of the model, added to the mean of remembered features weighted by their labels.

    Args:
        dim: D of the features, a multiple of 4 and of ``heads``.
        layers: Of the encoder.
        decoder_layers: Of the decoder.
        heads: Of the attention.
        hidden: Of the perceptrons.
        sees_current: Whether the current features are among the tokens, as in ToMP: a better model, but one to predict
            for each frame and each target.  Without, it changes with the memory only and reads any features.
        from_mean: Whether filters are corrections of the mean of remembered features; ToMP's are not.
    """

    def __init__(
        self,
        dim: int = 64,
        layers: int = 2,
        decoder_layers: int = 2,
        heads: int = 2,
        hidden: int = 192,
        sees_current: bool = False,
        from_mean: bool = True,
    ) -> None:
        super().__init__()
        if dim % 4 or dim % heads:
            raise UserError(f"target model: expected a dim that is a multiple of 4 and of {heads} heads, found {dim}")
        self.dim, self.sees_current = dim, sees_current
        self.foreground = nn.Parameter(torch.randn(dim))
        self.test = nn.Parameter(torch.randn(dim)) if sees_current else None
        inner = [4, 64, dim, dim]
        linear = [nn.Linear(a, b) for a, b in pairwise(inner)]
        self.box_encoding = nn.Sequential(linear[0], nn.ReLU(), linear[1], nn.ReLU(), linear[2])
        self.encoder = nn.ModuleList(AttentionLayer(dim, heads, hidden) for _ in range(layers))
        self.encoded = nn.LayerNorm(dim)
        self.decoder = nn.ModuleList(AttentionLayer(dim, heads, hidden) for _ in range(decoder_layers))
        self.decoded = nn.LayerNorm(dim)
        self.classification, self.box = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.mean_shares = nn.Parameter(torch.ones(2)) if from_mean else None
        if from_mean:
            for head in (self.classification, self.box):
                nn.init.normal_(head.weight, std=0.02)
                nn.init.zeros_(head.bias)

    def forward(self, memory: MemoryTokens, current: Tensor | None = None, allowed: Tensor | None = None) -> Filters:
        """The filters of N targets.

        Args:
            memory: What is remembered of them.
            current: (N, D, h, w) features that they are looked for in, or (D, h, w) for all of them; only where
                ``sees_current``.
            allowed: (N, n) bool, views that count; None: all valid ones.

        Raises:
            UserError: Current features are missing, or given to a predictor that does not see them.
        """
        if (current is not None) != self.sees_current:
            raise UserError(f"target model: expected {'' if self.sees_current else 'no '}current features")
        tokens, counted = self._remembered(memory), memory.valid if allowed is None else memory.valid & allowed
        known = tokens.shape[1]
        keys = counted.repeat_interleave(known // counted.shape[1], 1)
        if current is not None:
            current = current.expand(len(memory), -1, -1, -1) if current.ndim == 3 else current
            tokens = torch.cat([tokens, self._looked_at(current)], 1)
            keys = torch.cat([keys, keys.new_ones(len(tokens), tokens.shape[1] - known)], 1)
        keys = None if bool(keys.all()) else keys
        for layer in self.encoder:
            tokens = layer(tokens, allowed=keys)
        tokens = self.encoded(tokens)
        query = self.foreground.expand(len(tokens), 1, -1)
        for layer in self.decoder:
            query = layer(query, tokens, keys)
        model = self.decoded(query[:, 0])
        filters = torch.stack([self.classification(model), self.box(model)]) * self.dim**-0.5
        past, encoded = memory.features.movedim(2, -1).flatten(1, 3), None
        if current is not None:  # filters are for features as the encoder sees them, so that is what is averaged
            past, encoded = tokens[:, :known], tokens[:, known:].transpose(1, 2).unflatten(2, current.shape[-2:])
        if self.mean_shares is not None:
            weight = (memory.labels * counted[..., None, None]).flatten(1)
            mean = torch.einsum("nk,nkd->nd", weight / weight.sum(1, keepdim=True).clamp(min=1e-6), past)
            filters = filters + self.mean_shares[:, None, None] * mean / self.dim
        return Filters(filters[0], filters[1], encoded)

    def _remembered(self, memory: MemoryTokens) -> Tensor:
        """Tokens (N, n h w, D) of remembered views."""
        features, labels, ltrb = (part.flatten(-2) for part in (memory.features, memory.labels, memory.ltrb))
        boxes = self.box_encoding(ltrb.transpose(-1, -2).clamp(-1, 1))
        positions = sine_positions(*memory.features.shape[-2:], self.dim, memory.features)
        tokens = features.transpose(-1, -2) + labels[..., None] * self.foreground + boxes + positions
        return tokens.flatten(1, 2)

    def _looked_at(self, current: Tensor) -> Tensor:
        """Tokens (N, h w, D) of current features (N, D, h, w)."""
        positions = sine_positions(*current.shape[-2:], self.dim, current)
        return current.flatten(2).transpose(1, 2) + self.test + positions

"""Noise: once prompts have taught the association, background of other sequences teaches what to leave alone.

The second half of PNTrack's contextual association (CVPR 2026, arXiv 2605.06092), at training time only.  Everything in
this file is our reconstruction from a summary of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scenegraph_track.errors import UserError
from scenegraph_track.pretraining.prompts import cells_inside, taken
from scenegraph_track.target.heads import CentreHead, CentreMaps


@dataclass(frozen=True)
class NoiseSchedule:
    """From which epoch on noise takes the place of prompts.

    Args:
        first: Epochs up to this one train with prompts.
        last: From this one on all train with noise, and between the two the probability of noise rises evenly; None
            switches at once behind ``first``.

    Raises:
        UserError: ``last`` is not behind ``first``.
    """

    first: float
    last: float | None = None

    def __post_init__(self) -> None:
        if self.last is not None and not self.last > self.first:
            raise UserError(f"noise: expected its last epoch behind the first, found {self.first} to {self.last}")

    @classmethod
    def of(cls, epochs: float, share: float = 0.4) -> NoiseSchedule:
        """The switch behind a share of all epochs; the paper gives no number."""
        return cls(round(share * epochs))

    def probability(self, epoch: float) -> float:
        """Of noise in an epoch."""
        if self.last is None:
            return float(epoch > self.first)
        return min(max((epoch - self.first) / (self.last - self.first), 0.0), 1.0)

    def noisy(self, epoch: float, generator: torch.Generator | None = None) -> bool:
        """Whether a batch of an epoch is trained with noise."""
        return bool(torch.rand((), generator=generator) < self.probability(epoch))


def background_tokens(
    features: Tensor,
    score: Tensor,
    boxes: Tensor,
    count: int = 8,
    limit: float = 0.1,
    dilation: float = 1.5,
    kept: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Tokens of the background, drawn evenly from those outside of the box and of low score.

    Where there are too few of them, those of lowest score fill up, from outside of the box before any within.

    Args:
        features: (B, C, h, w) of the search view.
        score: (B, h, w) in (0, 1) of the head.
        boxes: (B, 4) xyxy of the target, the view from 0 to 1.
        count: k.
        limit: Scores of the background are below this.
        dilation: By which the sides of the boxes are multiplied first.
        kept: (B, h, w) which tokens there are.
        generator: On the CPU.

    Returns:
        (B, k, C) without gradient.

    Raises:
        UserError: There are fewer tokens.
    """
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * dilation
    outside = ~cells_inside(torch.cat([middle - half, middle + half], 1), score.shape[1:])
    drawn = torch.rand(score.shape, generator=generator).to(score)
    order = torch.where(outside & (score < limit), drawn + 1, -score.detach() - (~outside).to(score))
    if kept is not None:
        order = order.masked_fill(~kept, -torch.inf)
    there = int((order.flatten(1) > -torch.inf).sum(1).min())
    if not 1 <= count <= there:
        raise UserError(f"noise: expected from 1 to {there} tokens of a view, found {count}")
    return taken(features.detach().flatten(2).transpose(1, 2), order.flatten(1).topk(count, 1).indices)


def of_other_sequences(tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The tokens (B, k, C) moved on by 1 to B - 1 rows, so that none gets its own; rows are different sequences.

    Raises:
        UserError: There is only one sequence.
    """
    if len(tokens) < 2:
        raise UserError("noise: expected at least 2 sequences in a batch, found 1")
    return tokens.roll(int(torch.randint(1, len(tokens), (), generator=generator)), 0)


class NoiseDecoder(nn.Module):
    """Features that have attended to background of elsewhere, and a head of their own which must not care.

    One layer: cross-attention from the normalised features to the noise, then a perceptron, each beside a shortcut.
    Its loss is that of the main head, and is added to it.

    Args:
        width: Of the tokens.
        head: Takes features (B, C, h, w); a `CentreHead` where None.
        heads: Of the attention.
        ratio: Width of the perceptron, in widths.
    """

    def __init__(self, width: int, head: nn.Module | None = None, heads: int = 3, ratio: int = 4) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))
        self.head = CentreHead(width) if head is None else head

    def forward(self, features: Tensor, noise: Tensor) -> CentreMaps:
        """What the head gives.

        Args:
            features: (B, C, h, w) of the search view.
            noise: (B, k, C) of `of_other_sequences`.
        """
        tokens = features.flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(self.norm1(tokens), noise, noise, need_weights=False)[0]
        tokens = tokens + self.mlp(self.norm2(tokens))
        return self.head(tokens.transpose(1, 2).unflatten(2, features.shape[2:]))

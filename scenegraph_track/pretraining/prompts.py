"""Prompts: tokens of a frame that look most like the target go along as context of the next frames.

The contextual association of PNTrack (CVPR 2026, arXiv 2605.06092) exists at training time only.  Its paper was read as
a summary without formulas and there is no public code: everything in this file is our reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from scenegraph_track.errors import UserError

ScoreKind = Literal["product", "log_sum", "correlation", "classification", "attention", "random"]
"""How attention and classification make one score; see `token_scores`."""

SOFTENING = 0.1
"""Added to both cues of "log_sum", so that one of them alone forbids no token."""


def cells_inside(boxes: Tensor, grid: tuple[int, int]) -> Tensor:
    """The cells of a view whose middle is within a box, and always the one in which the box has its own.

    Args:
        boxes: (B, 4) xyxy, the view from 0 to 1.
        grid: Rows and columns (h, w).

    Returns:
        (B, h, w) bools; for a box whose middle is outside of the view the nearest cell counts as that of its middle.
    """
    height, width = grid
    x = (torch.arange(width, device=boxes.device) + 0.5) / width
    y = (torch.arange(height, device=boxes.device) + 0.5) / height
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    columns, rows = (x >= left) & (x <= right), (y >= top) & (y <= bottom)
    inside = rows[:, :, None] & columns[:, None, :]
    column = ((boxes[:, 0] + boxes[:, 2]) / 2 * width).long().clamp(0, width - 1)
    row = ((boxes[:, 1] + boxes[:, 3]) / 2 * height).long().clamp(0, height - 1)
    inside[torch.arange(len(boxes), device=boxes.device), row, column] = True
    return inside


def reference_attention(attention: Tensor, templates: Tensor, queries: int = 0) -> Tensor:
    """How much the target attends to each search token: the mean over heads and the tokens that stand for the target.

    Nothing trains what template tokens attend to in the last block, as only search and query tokens go to the head: in
    a short training from scratch the query alone (weights of 0 for the templates) was the better cue by far.

    Args:
        attention: (B, heads, P + M hz wz, h, w) of `OneStreamOutput`: context tokens, then template tokens.
        templates: (B, M, hz, wz) weights of the template tokens, such as `cells_inside` of the box.
        queries: How many of the P context tokens, from the first, count like a template token of weight 1.

    Returns:
        (B, h, w) in [0, 1].
    """
    own = templates.flatten(1).to(attention)
    weights = own.new_zeros(len(own), attention.shape[2] - own.shape[1])
    weights[:, :queries] = 1
    weights = torch.cat([weights, own], 1)
    return torch.einsum("bnrhw,br->bhw", attention, weights) / (attention.shape[1] * weights.sum(1)[:, None, None])


def token_scores(
    attention: Tensor,
    score: Tensor,
    kind: ScoreKind = "product",
    kept: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """How much each search token is the target's, by its attention a (from 0 to 1 in each view) and its class score C.

    "product" is a C and "log_sum" is log(a + e) + log(C + e).  "correlation" is the cross-correlation of C with a about
    the peak of a, sum over d of a(peak + d) C(u + d), with zeros outside, so that it stays in place.  "classification"
    and "attention" are one of them alone, and "random" is neither.

    Args:
        attention: (B, h, w) of `reference_attention`.
        score: (B, h, w) in (0, 1) of the head.
        kind: Which.
        kept: (B, h, w) which tokens there are; the others get minus infinity.
        generator: On the CPU, for "random".

    Returns:
        (B, h, w) without gradient.

    Raises:
        UserError: There is no such kind.
    """
    classes = score.detach()
    low, high = attention.detach().flatten(1).aminmax(dim=1, keepdim=True)
    a = (attention.detach() - low[..., None]) / (high - low).clamp(min=1e-12)[..., None]
    if kind == "product":
        scores = a * classes
    elif kind == "log_sum":
        scores = (a + SOFTENING).log() + (classes + SOFTENING).log()
    elif kind == "correlation":
        scores = _correlation(a, classes)
    elif kind == "classification":
        scores = classes
    elif kind == "attention":
        scores = a
    elif kind == "random":
        scores = torch.rand(classes.shape, generator=generator).to(classes)
    else:
        raise UserError(f"score {kind}: expected one of {', '.join(get_args(ScoreKind))}")
    return scores if kept is None else scores.masked_fill(~kept, -torch.inf)


def _correlation(a: Tensor, classes: Tensor) -> Tensor:
    """See "correlation" of `token_scores`."""
    batch, height, width = a.shape
    shifted = conv2d(classes[None], a[:, None], padding=(height - 1, width - 1), groups=batch)[0]
    peak = a.flatten(1).argmax(1)
    rows = torch.arange(height, device=a.device) + (height - 1 - peak // width)[:, None]
    columns = torch.arange(width, device=a.device) + (width - 1 - peak % width)[:, None]
    return shifted[torch.arange(batch, device=a.device)[:, None, None], rows[:, :, None], columns[:, None, :]]


@dataclass(frozen=True, eq=False)
class Prompts:
    """Tokens of a frame for the next frames.

    Args:
        tokens: (B, k, C) context tokens.
        index: (B, k) which search tokens they were, row by row, from the best; None where they come from no frame.
    """

    tokens: Tensor
    index: Tensor | None


def top_tokens(scores: Tensor, count: int) -> Tensor:
    """Indices (B, count) of the best search tokens by scores (B, h, w), from the best.

    Raises:
        UserError: There are fewer tokens.
    """
    there = int((scores.flatten(1) > -torch.inf).sum(1).min())
    if not 1 <= count <= there:
        raise UserError(f"prompts: expected from 1 to {there} tokens of a view, found {count}")
    return scores.flatten(1).topk(count, 1).indices


def share_inside(index: Tensor, boxes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Share (B,) of tokens (B, k) on a grid (h, w) that lie within boxes (B, 4), see `cells_inside`."""
    return cells_inside(boxes, grid).flatten(1).gather(1, index).float().mean(1)


class PromptTokens(nn.Module):
    """Makes context tokens of the best search tokens of a frame.

    Args:
        width: Of the tokens.
        count: k; 8 was best in the paper.
        kind: See `token_scores`.
        semantic: False puts as many learned tokens that know nothing of any frame in their place, the paper's
            "non-semantic query".
    """

    def __init__(self, width: int, count: int = 8, kind: ScoreKind = "product", semantic: bool = True) -> None:
        super().__init__()
        self.count, self.kind = count, kind
        self.type_token = nn.Parameter(torch.zeros(1, 1, width))
        self.learned = None if semantic else nn.Parameter(torch.empty(1, count, width))
        if not semantic:
            nn.init.trunc_normal_(self.learned, std=0.02)

    def forward(
        self,
        features: Tensor,
        attention: Tensor,
        score: Tensor,
        kept: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Prompts:
        """The prompts of a frame; no gradient flows back into it.

        Args:
            features: (B, C, h, w) of the search view.
            attention: (B, h, w) of `reference_attention`.
            score: (B, h, w) in (0, 1) of the head.
            kept: (B, h, w) which tokens there are.
            generator: On the CPU, for random scores.

        Raises:
            UserError: There are fewer tokens than prompts, or no such kind of score.
        """
        if self.learned is not None:
            return Prompts(self.learned.expand(len(features), -1, -1) + self.type_token, None)
        index = top_tokens(token_scores(attention, score, self.kind, kept, generator), self.count)
        tokens = features.detach().flatten(2).transpose(1, 2)
        return Prompts(taken(tokens, index) + self.type_token, index)


def taken(tokens: Tensor, index: Tensor) -> Tensor:
    """The tokens (B, k, C) at ``index`` (B, k) of (B, N, C)."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))

"""The semantic-aware module: words learn what is seen, and those that it concerns weigh more."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scenegraph_track.language.attention import CrossAttention


class SemanticAware(nn.Module):
    r"""Semantic awareness (SATracker-style: arXiv 2311.17085 names the module, its inside is our reconstruction).

    With words :math:`T`, enhanced tokens :math:`X'`, :math:`Z'` and the gate :math:`g` of `TargetEnhance`,

    .. math::
        r_i &= \mathrm{softmax}_i\big(\overline{g_p \langle T_i W, X'_p W' \rangle}^{\,p} / \sqrt{d}\big) \\
        T' &= \big(T + \mathrm{attention}(T, [Z'; g X'])\big)\,(1 + r_i)

    so that the next group of the text encoder reads the words in the light of the image.

    Args:
        text_dim: Of the words.
        dim: Of the visual tokens.
        heads: Of the attention.
    """

    def __init__(self, text_dim: int, dim: int, heads: int) -> None:
        super().__init__()
        self.word, self.token = nn.Linear(text_dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.to_seen = CrossAttention(text_dim, dim, heads)

    def forward(
        self,
        words: Tensor,
        spoken: Tensor,
        search: Tensor,
        template: Tensor,
        gate: Tensor,
        given: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The words as the image changes them.

        Args:
            words: (B, W, C_t).
            spoken: (B, W) bool, which words there are.
            search: (B, N, C) enhanced.
            template: (B, M, C) enhanced.
            gate: (B, N).
            given: (B,) bool, whether there is a template; None: there is.

        Returns:
            Words (B, W, C_t), and their relevance (B, W), which sums to 1.
        """
        seen = search * gate[..., None]
        mean = self.token(seen).mean(1)
        agreement = torch.einsum("bwd,bd->bw", self.word(words), mean) / mean.shape[1] ** 0.5
        relevance = agreement.masked_fill(~spoken, -torch.inf).softmax(1)
        shown = spoken.new_ones(template.shape[:2]) if given is None else given[:, None].expand(template.shape[:2])
        there = torch.cat([shown, spoken.new_ones(search.shape[:2])], 1)
        gathered = self.to_seen(words, torch.cat([template, seen], 1), there)
        return (words + gathered) * (1 + relevance[..., None]), relevance

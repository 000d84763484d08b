"""The target-enhance module: what the words and the template say comes into the search tokens through a gate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scenegraph_track.language.attention import CrossAttention


@dataclass(frozen=True, eq=False)
class Enhanced:
    """What `TargetEnhance` gives.

    Args:
        search: (B, N, C) tokens of the search image.
        template: (B, M, C) tokens of the template.
        gate: (B, N) in [0, 1], how much of the target is seen in each search token.
    """

    search: Tensor
    template: Tensor
    gate: Tensor


class TargetEnhance(nn.Module):
    r"""Target enhancement (SATracker-style: arXiv 2311.17085 names the module, its inside is our reconstruction).

    With search tokens :math:`X`, template tokens :math:`Z` and words :math:`T`,

    .. math::
        E &= \mathrm{attention}(X, [Z; T W_{tv}]), \quad g = \sigma(\mathrm{MLP}([X; E; X \odot E])) \\
        X' &= X + \tanh(W_2\,\mathrm{relu}(W_1 E)) \odot E\, g \\
        Z' &= Z + \tanh(W_2\,\mathrm{relu}(W_1 E_z)) \odot E_z

    where :math:`E_z` is the attention of the template to the words (the residual gate is that of LAVT, CVPR 2022).

    Args:
        dim: Of the visual tokens.
        text_dim: Of the words.
        heads: Of the attention.
    """

    def __init__(self, dim: int, text_dim: int, heads: int) -> None:
        super().__init__()
        self.words = nn.Linear(text_dim, dim)
        self.to_target = CrossAttention(dim, dim, heads)
        self.to_words = CrossAttention(dim, dim, heads)
        self.seen = nn.Sequential(nn.Linear(3 * dim, dim), nn.ReLU(), nn.Linear(dim, 1))
        self.residual = nn.Sequential(
            nn.Linear(dim, dim, bias=False), nn.ReLU(), nn.Linear(dim, dim, bias=False), nn.Tanh()
        )

    def forward(
        self, search: Tensor, template: Tensor, words: Tensor, spoken: Tensor, given: Tensor | None = None
    ) -> Enhanced:
        """Bring target evidence into the visual tokens.

        Args:
            search: (B, N, C).
            template: (B, M, C); M may be 0.
            words: (B, W, C_t).
            spoken: (B, W) bool, which words there are.
            given: (B,) bool, whether there is a template; None: there is.
        """
        said = self.words(words)
        shown = spoken.new_ones(template.shape[:2]) if given is None else given[:, None].expand(template.shape[:2])
        evidence = self.to_target(search, torch.cat([template, said], 1), torch.cat([shown, spoken], 1))
        gate = self.seen(torch.cat([search, evidence, search * evidence], -1)).sigmoid()
        enhanced = search + self.residual(evidence) * evidence * gate
        if template.shape[1]:
            told = self.to_words(template, said, spoken)
            template = template + self.residual(told) * told
        return Enhanced(enhanced, template, gate[..., 0])

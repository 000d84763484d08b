"""The dense matching loss: every search token is told whether the sentence speaks of it, at several stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize

from scenegraph_track.language.synchronous import Fused

_RARE = -3.0
"""Logit of a token that is spoken of, before training."""


class DenseMatching(nn.Module):
    r"""Cosines of tokens and sentence, :math:`s_p = \langle u_p, t \rangle / \tau` (CRIS, CVPR 2022, section 3.3).

    SATracker (arXiv 2311.17085) names the loss; that it is the sum of a cross entropy of every token and of an
    InfoNCE of sentences against the targets of a batch is our reconstruction.

    Args:
        dim: Of the visual tokens.
        text_dim: Of the words.
        stages: Number of stages.
        width: Of the space of comparison.
        temperature: :math:`\tau`.
    """

    def __init__(self, dim: int, text_dim: int, stages: int, width: int = 64, temperature: float = 0.07) -> None:
        super().__init__()
        self.temperature = temperature
        self.visual = nn.ModuleList(nn.Linear(dim, width) for _ in range(stages))
        self.textual = nn.ModuleList(nn.Linear(text_dim, width) for _ in range(stages))
        self.bias = nn.Parameter(torch.full((stages,), _RARE))

    def tokens(self, number: int, stage: Fused) -> Tensor:
        """(R, N, width) unit vectors of the search tokens behind a stage."""
        return normalize(self.visual[number](stage.search), dim=-1)

    def sentence(self, number: int, stage: Fused) -> Tensor:
        """(R, width) unit vectors of the sentences behind a stage."""
        return normalize(self.textual[number](stage.words.mean()), dim=-1)

    def similarity(self, number: int, stage: Fused) -> Tensor:
        """(R, N) cosines over the temperature."""
        return torch.einsum("rnd,rd->rn", self.tokens(number, stage), self.sentence(number, stage)) / self.temperature

    def loss(self, stages: Sequence[Fused], target: Tensor, same: Tensor, first: int = 0) -> dict[str, Tensor]:
        """Both parts, mean over stages.

        Args:
            stages: Of the backbone.
            target: (R, N) in [0, 1], how much of each token the sentence speaks of.
            same: (R, R) bool, whether the sentence of a row is true of the target of a column too; such pairs are
                no negatives.
            first: Stages before this one are left out.

        Returns:
            ``dm_bce`` and ``dm_nce``.
        """
        cross: list[Tensor] = []
        contrast: list[Tensor] = []
        weight = target.sum(1)
        kept = weight > 0
        apart = ~same[kept][:, kept]
        apart.fill_diagonal_(True)
        for number in range(first, len(stages)):
            tokens, sentence = self.tokens(number, stages[number]), self.sentence(number, stages[number])
            logits = torch.einsum("rnd,rd->rn", tokens, sentence) / self.temperature + self.bias[number]
            cross.append(binary_cross_entropy_with_logits(logits, target))
            if int(kept.sum()) > 1:
                pooled = torch.einsum("rnd,rn->rd", tokens[kept], target[kept] / weight[kept, None])
                scores = sentence[kept] @ normalize(pooled, dim=-1).T / self.temperature
                scores = scores.masked_fill(~apart, -torch.inf)
                own = torch.arange(len(scores), device=scores.device)
                contrast.append((cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2)
        none = target.new_zeros(())
        return {
            "dm_bce": torch.stack(cross).mean() if cross else none,
            "dm_nce": torch.stack(contrast).mean() if contrast else none,
        }

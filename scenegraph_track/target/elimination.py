"""Search tokens that the target hardly attends to leave the encoder on the way (OSTrack, Ye et al., ECCV 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from scenegraph_track.errors import UserError


@dataclass(frozen=True)
class Elimination:
    """Which share of the search tokens goes on behind some of the blocks.

    It serves networks whose template tokens attend to their like, as after pre-training by matching: a small network
    from scratch lost most of its target that way after a short training.

    Args:
        blocks: From 0; those behind which tokens are left out.
        keep: Share of the tokens still there that each of them keeps.
        start: Epoch up to which a training keeps all.
        length: Epochs in which the share then goes down to ``keep`` as a half wave of the cosine.

    Raises:
        UserError: The share is not within (0, 1].
    """

    blocks: tuple[int, ...] = (3, 6, 9)
    keep: float = 0.7
    start: float = 20.0
    length: float = 80.0

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise UserError(f"elimination: expected a share of tokens to keep within (0, 1], found {self.keep}")

    def ratio(self, epoch: float) -> float:
        """The share that is kept in an epoch of a training."""
        if epoch <= self.start:
            return 1.0
        if epoch >= self.start + self.length:
            return self.keep
        return self.keep + (1 - self.keep) * (1 + math.cos(math.pi * (epoch - self.start) / self.length)) / 2


def best_candidates(weights: Tensor, reference: Tensor, keep: float) -> Tensor:
    """The search tokens that the target attends to most.

    Args:
        weights: (B, heads, R, N) attention of the template tokens to the N search tokens that are there.
        reference: (B, R) weights of the template tokens.
        keep: Share that is kept.

    Returns:
        (B, ceil(keep N)) rising indices of the tokens whose mean over heads and template tokens is highest; the earlier
        token first where two are equal.
    """
    share = reference / reference.sum(1, keepdim=True).clamp(min=1e-6)
    scores = (weights.mean(1) * share[..., None]).sum(1)
    count = math.ceil(keep * scores.shape[1] - 1e-9)
    return scores.argsort(dim=1, descending=True, stable=True)[:, :count].sort(1).values

"""What each edge of the scene graph says: occludes, in front of, left of, above, contains, near."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from scenegraph_track.structures import RELATIONS


class RelationHeads(nn.Module):
    """Probabilities that the source of an edge stands in each of `RELATIONS` to its target.

    Args:
        edge_dim: Width of the edge embeddings.
    """

    def __init__(self, edge_dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(edge_dim, edge_dim), nn.ReLU(), nn.Linear(edge_dim, len(RELATIONS)))

    def forward(self, edges: Tensor) -> Tensor:
        """Logits (E, 6) of edge embeddings (E, edge_dim)."""
        return self.net(edges)


def relation_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross entropy with known relations.

    Args:
        logits: (E, 6).
        truth: (E, 6) in [0, 1], NaN where unknown.
    """
    known = torch.isfinite(truth)
    loss = binary_cross_entropy_with_logits(logits, truth.nan_to_num(0.0), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)

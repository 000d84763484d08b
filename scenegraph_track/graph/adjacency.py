"""Soft adjacency: how much each edge of the scene graph counts, differentiable, and sparse where that is wanted."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rank_in_group(values: Tensor, group: Tensor) -> Tensor:
    """The place of each value among those of its group, 0 for the largest.

    Args:
        values: (E,).
        group: (E,) int64, at least 0.

    Returns:
        (E,) int64.
    """
    order = torch.argsort(values, descending=True, stable=True)
    order = order[torch.argsort(group[order], stable=True)]
    sorted_group = group[order]
    begin = torch.searchsorted(sorted_group, sorted_group)
    place = torch.arange(values.shape[0], device=values.device) - begin
    return torch.zeros_like(place).scatter(0, order, place)


def straight_through_top_k(values: Tensor, group: Tensor, k: int) -> Tensor:
    """Keep the k largest values of each group and set the others to 0, with the gradient of keeping all.

    (The straight-through estimator: Bengio, Leonard, Courville, arXiv 1308.3432.)

    Args:
        values: (E,).
        group: (E,) int64.
        k: How many are kept.

    Returns:
        (E,).
    """
    kept = values * (rank_in_group(values.detach(), group) < k)
    return values + (kept - values).detach()


class SoftAdjacency(nn.Module):
    r"""The weight of each edge, :math:`A_{ij} = \sigma(w^T e_{ij} / \tau)`.

    Args:
        edge_dim: Width of the edge embeddings.
        temperature: :math:`\tau`; lower is harder.
        keep: Edges that are kept of those that lead to one node (`straight_through_top_k`); None: all.
    """

    def __init__(self, edge_dim: int, temperature: float = 0.5, keep: int | None = None) -> None:
        super().__init__()
        self.score = nn.Linear(edge_dim, 1)
        self.temperature, self.keep = temperature, keep

    def forward(self, edges: Tensor, edge_index: Tensor) -> Tensor:
        """(E,) in [0, 1] from edge embeddings (E, edge_dim) and their ends (2, E)."""
        weight = (self.score(edges)[:, 0] / self.temperature).sigmoid()
        return weight if self.keep is None else straight_through_top_k(weight, edge_index[1], self.keep)

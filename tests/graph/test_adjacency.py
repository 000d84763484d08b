"""Soft adjacency, and what is kept of it."""

from __future__ import annotations

import torch

from scenegraph_track.graph.adjacency import SoftAdjacency, rank_in_group, straight_through_top_k


def test_ranks_by_group() -> None:
    values, group = torch.tensor([0.1, 0.9, 0.5, 0.7, 0.7]), torch.tensor([2, 0, 2, 2, 0])
    assert rank_in_group(values, group).tolist() == [2, 0, 1, 0, 1]
    assert rank_in_group(values[:0], group[:0]).tolist() == []


def test_the_largest_are_kept_and_all_have_a_gradient() -> None:
    values = torch.tensor([0.1, 0.9, 0.5, 0.7, 0.6], requires_grad=True)
    kept = straight_through_top_k(values, torch.tensor([0, 0, 0, 1, 1]), 1)
    torch.testing.assert_close(kept.detach(), torch.tensor([0, 0.9, 0, 0.7, 0]))
    (kept * torch.arange(1.0, 6.0)).sum().backward()
    assert values.grad.tolist() == [1, 2, 3, 4, 5]


def test_adjacency_is_a_share_and_harder_when_colder() -> None:
    torch.manual_seed(0)
    edges, ends = torch.randn(30, 8), torch.stack([torch.arange(30) % 7, torch.arange(30) % 5])
    soft, hard = SoftAdjacency(8, 1.0), SoftAdjacency(8, 0.05, keep=2)
    hard.load_state_dict(soft.state_dict())
    a, b = soft(edges, ends), hard(edges, ends)
    assert ((a > 0) & (a < 1)).all()
    assert (torch.bincount(ends[1][b > 0], minlength=5) == 2).all()
    assert ((b[b > 0] - 0.5).abs() >= (a[b > 0] - 0.5).abs()).all()

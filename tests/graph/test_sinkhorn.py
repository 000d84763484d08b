"""The differentiable matching: sums, agreement with Hungarian, gradients."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch.autograd import gradcheck

from scenegraph_track.graph.sinkhorn import sparse_sinkhorn


def complete(n: int, m: int) -> torch.Tensor:
    return torch.stack([torch.arange(n).repeat_interleave(m), torch.arange(m).repeat(n)])


def test_each_row_and_column_shares_out_one() -> None:
    torch.manual_seed(0)
    logits, none, new = torch.randn(12), torch.randn(3), torch.randn(4)
    edge, alone, other = sparse_sinkhorn(logits, complete(3, 4), none, new, 50)
    torch.testing.assert_close(edge.view(3, 4).sum(1) + alone, torch.ones(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(edge.view(3, 4).sum(0) + other, torch.ones(4), atol=1e-5, rtol=0)


def test_sharp_logits_give_the_best_matching() -> None:
    # Greedy would take (0, 0) and lose (1, 0): the best total is (0, 1) and (1, 0); row 2 had better stay alone.
    gain = torch.tensor([[9.0, 8.0], [7.0, -9.0], [-3.0, -2.0]])
    edge, none, _ = sparse_sinkhorn(gain.flatten(), complete(3, 2), torch.zeros(3), torch.zeros(2), 100)
    rows, columns = linear_sum_assignment(-gain.clamp(min=0).numpy())
    best = [(i, j) for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if gain[i, j] > 0]
    assert best == [(0, 1), (1, 0)] == [tuple(pair) for pair in (edge.view(3, 2) > 0.5).nonzero().tolist()]
    assert none[2] > 0.8 and none[:2].max() < 0.2


def test_rivals_are_weighed_together() -> None:
    # Both rows like column 0; row 0 has nothing else and row 1 has: row 1 gives way.
    edge_index = torch.tensor([[0, 1, 1], [0, 0, 1]])
    edge, none, _ = sparse_sinkhorn(torch.tensor([3.0, 3.0, 2.5]), edge_index, torch.zeros(2), torch.zeros(2), 20)
    assert edge[0] > 0.6 > 0.4 > edge[1] and edge[2] > 0.6
    alone = sparse_sinkhorn(
        torch.tensor([3.0, 3.0]), torch.tensor([[0, 1], [0, 0]]), torch.zeros(2), torch.zeros(1), 20
    )
    assert torch.allclose(alone[0], torch.full((2,), alone[0][0].item())) and alone[1][0] > none[0]


def test_gradients_and_nothing_at_all() -> None:
    torch.manual_seed(2)
    values = [torch.randn(size, dtype=torch.double, requires_grad=True) for size in ((6, 2), (2, 2), (3, 2))]
    assert gradcheck(lambda a, b, c: sparse_sinkhorn(a, complete(2, 3), b, c, 4), values)
    edge, none, new = sparse_sinkhorn(
        torch.zeros(0), torch.zeros(2, 0, dtype=torch.long), torch.zeros(2), torch.zeros(0)
    )
    assert len(edge) == 0 and len(new) == 0 and torch.equal(none, torch.ones(2))


def test_a_pair_without_rivals_needs_one_scaling() -> None:
    # (1 - P)^2 / P = e^-l where neither option is better than the other
    for logit in (-3.0, 0.0, 6.0):
        edge, none, new = sparse_sinkhorn(
            torch.tensor([logit]), torch.zeros(2, 1, dtype=torch.long), torch.zeros(1), torch.zeros(1), 1
        )
        torch.testing.assert_close(none * new / edge, torch.tensor([-logit]).exp(), rtol=1e-3, atol=0)

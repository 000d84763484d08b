"""Instance contrast: the published formula by hand, and pooling within boxes."""

from __future__ import annotations

import math

import pytest
import torch

from scenegraph_track.pretraining.contrast import box_means, nt_xent


def test_nt_xent_is_the_published_sum() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    views = torch.cat([first, second])
    total = 0.0
    for i in range(6):
        cosines = [float(torch.cosine_similarity(views[i], views[k], dim=0)) / 0.4 for k in range(6)]
        others = sum(math.exp(value) for k, value in enumerate(cosines) if k != i)
        total -= math.log(math.exp(cosines[(i + 3) % 6]) / others)
    assert float(nt_xent(first, second, 0.4)) == pytest.approx(total / 6)


def test_alike_pairs_cost_less_and_gradients_are_right() -> None:
    torch.manual_seed(0)
    first, second = torch.eye(4, dtype=torch.float64), torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    assert nt_xent(first, first) < nt_xent(first, second.detach())
    assert torch.autograd.gradcheck(lambda other: nt_xent(first, other), second)


def test_one_pair_alone_costs_nothing() -> None:
    one = torch.randn(1, 4, requires_grad=True)
    loss = nt_xent(one, one)
    loss.backward()
    assert loss == 0 and torch.equal(one.grad, torch.zeros(1, 4))


def test_means_are_of_the_cells_within_the_box() -> None:
    """The box is xyxy: read as x, y, width, height or as a middle and sides it would take other cells."""
    features = torch.arange(2 * 4 * 6, dtype=torch.float32).view(1, 2, 4, 6)
    found = box_means(features, torch.tensor([[16.0, 8, 40, 24]]), 8)
    assert torch.equal(found, features[:, :, 1:3, 2:5].mean((2, 3)))
    tiny = box_means(features, torch.tensor([[41.0, 25, 42, 26]]), 8)
    assert torch.equal(tiny, features[:, :, 3, 5])

"""Elimination of search tokens by itself: schedule and choice."""

from __future__ import annotations

import math

import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.target.elimination import Elimination, best_candidates


def test_all_are_kept_until_the_start_and_the_share_falls_as_a_cosine() -> None:
    elimination = Elimination(keep=0.7, start=20, length=80)
    assert elimination.ratio(0) == elimination.ratio(20) == 1
    assert elimination.ratio(60) == pytest.approx(0.85)
    assert elimination.ratio(40) == pytest.approx(0.7 + 0.3 * (1 + math.sqrt(0.5)) / 2)
    assert elimination.ratio(100) == elimination.ratio(1000) == 0.7
    assert Elimination(start=3, length=0).ratio(3.5) == 0.7


@pytest.mark.parametrize("keep", [0, -0.1, 1.1])
def test_a_share_that_is_none_is_refused(keep: float) -> None:
    with pytest.raises(UserError, match="within"):
        Elimination(keep=keep)


@pytest.mark.parametrize(("count", "keep"), [(10, 0.7), (11, 0.7), (7, 0.3), (30, 0.1), (5, 1.0), (4, 0.01)])
def test_the_best_by_the_mean_over_heads_and_referenced_rows(count: int, keep: float) -> None:
    draw = torch.Generator().manual_seed(count)
    weights = torch.rand(3, 4, 6, count, generator=draw, dtype=torch.float64)
    reference = torch.rand(3, 6, generator=draw, dtype=torch.float64) * torch.tensor([1, 0, 1, 1, 0, 1])
    wanted = math.ceil(round(keep * count, 6))
    for sample, chosen in enumerate(best_candidates(weights, reference, keep).tolist()):
        scores = []
        for token in range(count):
            total = sum(
                reference[sample, row].item() * weights[sample, head, row, token].item()
                for head in range(4)
                for row in range(6)
            )
            scores.append(total / 4 / reference[sample].sum().item())
        assert chosen == sorted(sorted(range(count), key=lambda token: -scores[token])[:wanted])


def test_of_equal_tokens_the_earlier_is_kept() -> None:
    assert best_candidates(torch.full((1, 2, 1, 8), 0.1), torch.ones(1, 1), 0.5).tolist() == [[0, 1, 2, 3]]

"""Overlap and the best one-to-one matching, against formulas and brute force."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenegraph_track.tracking.matching import box_iou, expand, height_ratio, match, paired_iou, similarity


def scalar_iou(a: np.ndarray, b: np.ndarray) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / total if total > 0 else 0.0


def boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    corner, size = rng.uniform(0, 60, (n, 2)), rng.uniform(1, 50, (n, 2))
    return np.concatenate([corner, corner + size * (rng.random((n, 2)) < 0.9)], axis=1)


@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(0, 6))
@settings(max_examples=50, deadline=None)
def test_box_iou_is_the_formula(seed: int, n: int, m: int) -> None:
    # Zero-area boxes overlap with nothing, not even themselves, and give no NaN.
    rng = np.random.default_rng(seed)
    a, b = boxes(rng, n), boxes(rng, m)
    assert np.allclose(box_iou(a, b), np.array([[scalar_iou(x, y) for y in b] for x in a]).reshape(n, m))
    assert np.array_equal(paired_iou(a[: min(n, m)], b[: min(n, m)]), np.diagonal(box_iou(a, b)))


def test_box_iou_is_that_of_supervision() -> None:
    metrics = pytest.importorskip("supervision")
    rng = np.random.default_rng(1)
    a, b = boxes(rng, 30), boxes(rng, 40)
    assert np.allclose(box_iou(a, b), np.nan_to_num(metrics.box_iou_batch(a, b)), atol=1e-6)


def test_expand_grows_each_side_and_zero_keeps() -> None:
    grown = expand(np.array([[0.0, 0.0, 10.0, 20.0]]), 0.1)
    assert grown.tolist() == [[-1, -2, 11, 22]]
    assert np.array_equal(expand(grown, 0.0), grown)


def test_similarity_counts_height_and_reaches_over_a_small_gap() -> None:
    track = np.array([[0.0, 0.0, 20.0, 50.0]])
    same, beside, half_high = [0, 0, 20, 50], [21, 0, 41, 50], [0, 0, 20, 25]
    got = similarity(track, np.array([same, beside, half_high], dtype=float), 0.1)[0]
    assert got[0] == pytest.approx(1) and 0 < got[1] < 0.1
    assert box_iou(track, np.array([beside], dtype=float))[0, 0] == 0  # plain overlap would not reach
    assert height_ratio(track, np.array([half_high], dtype=float))[0, 0] == 0.5
    assert got[2] < 0.5 * 0.6


def brute_force(similar: np.ndarray, gate: float) -> float:
    gain = np.where(similar > gate, similar, 0.0)
    if gain.shape[0] > gain.shape[1]:
        gain = gain.T
    rows = range(gain.shape[0])
    return max(sum(gain[r, c] for r, c in zip(rows, p)) for p in permutations(range(gain.shape[1]), len(rows)))


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5), st.sampled_from([0.0, 0.3, 0.7]))
@settings(max_examples=60, deadline=None)
def test_match_is_optimal_and_respects_the_gate(seed: int, n: int, m: int, gate: float) -> None:
    similar = np.random.default_rng(seed).random((n, m))
    rows, columns = match(similar, gate)
    assert len(set(rows.tolist())) == len(rows) == len(set(columns.tolist()))
    assert (similar[rows, columns] > gate).all()
    assert similar[rows, columns].sum() == pytest.approx(brute_force(similar, gate))


def test_match_takes_two_fair_pairs_over_one_good() -> None:
    rows, columns = match(np.array([[0.9, 0.8], [0.85, 0.0]]), 0.1)
    assert list(zip(rows.tolist(), columns.tolist())) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_match_of_nothing(shape: tuple[int, int]) -> None:
    assert [len(part) for part in match(np.zeros(shape), 0.1)] == [0, 0]
    assert box_iou(np.zeros((shape[0], 4)), np.zeros((shape[1], 4))).shape == shape


def test_pairs_at_the_gate_are_not_matched() -> None:
    assert len(match(np.full((2, 2), 0.5), 0.5)[0]) == 0

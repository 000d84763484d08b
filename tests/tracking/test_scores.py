"""Scores of any scale become surenesses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenegraph_track.config import load_config
from scenegraph_track.tracking.scores import isotonic, remember, surenesses

SEEDS = st.integers(0, 2**32 - 1)


def past(rng: np.random.Generator, count: int, raw: bool) -> tuple[np.ndarray, np.ndarray]:
    """(K, 2) memory in which higher scores are found again more often, and the scores of a frame."""
    quality = rng.random(count + 20)
    scores = quality * 130 - 30 if raw else quality
    found = rng.random(count) < quality[:count]
    return np.stack([scores[:count], found], axis=1), scores[count:]


@given(SEEDS, st.sampled_from([0, 1, 20, 31, 32, 33, 200, 1024]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_surenesses_are_in_range_and_monotone(seed: int, count: int, raw: bool) -> None:
    rng = np.random.default_rng(seed)
    memory, scores = past(rng, count, raw)
    scores[:3] = scores[3]  # ties
    sure = surenesses(scores, memory)
    assert sure.shape == scores.shape and (sure >= 0).all() and (sure <= 1).all()
    order = np.argsort(scores, kind="stable")
    assert (np.diff(sure[order]) >= -1e-12).all()
    assert len(set(sure[:4].tolist())) == 1  # equal scores, equal surenesses


@given(SEEDS, st.sampled_from([0, 20, 64, 500]), st.floats(0.5, 100), st.floats(-1000, -200))
@settings(max_examples=60, deadline=None)
def test_raw_scores_may_have_any_unit_and_origin(seed: int, count: int, unit: float, origin: float) -> None:
    rng = np.random.default_rng(seed)
    memory, scores = past(rng, count, raw=True)
    moved = np.stack([memory[:, 0] * unit + origin, memory[:, 1]], axis=1)
    # rounding may move a score over a knot of the curve, never far
    assert np.allclose(surenesses(scores, memory), surenesses(scores * unit + origin, moved), atol=1e-6)


def test_scores_in_the_unit_interval_keep_order_and_meaning() -> None:
    # A detector that uses the whole scale: a score is its own sureness.
    scores = np.linspace(0, 1, 21)
    memory = np.stack([np.linspace(0, 1, 1000), np.ones(1000)], axis=1)
    for known in (np.zeros((0, 2)), memory):
        assert np.abs(surenesses(scores, known) - np.minimum(scores, 1)).max() < 0.03


def test_a_detector_that_never_uses_the_upper_scale_is_stretched() -> None:
    memory = np.stack([np.random.default_rng(0).uniform(0.05, 0.5, 1000), np.ones(1000)], axis=1)
    sure = surenesses(np.array([0.1, 0.3, 0.5]), memory)
    assert sure[2] > 0.9 and sure[0] < sure[1] < sure[2]


@pytest.mark.parametrize("raw", [False, True])
def test_stretching_has_an_end(raw: bool) -> None:
    # Scores near nothing do not become sure by being all there is.
    if not raw:
        memory = np.stack([np.full(1000, 0.01), np.zeros(1000)], axis=1)
        assert surenesses(np.array([0.01]), memory)[0] < 0.1
    else:
        memory = np.stack([np.linspace(-50, 50, 1000), np.zeros(1000)], axis=1)
        assert surenesses(np.array([-49.0, 0.0, 49.0]), memory).max() < 0.1  # nothing was ever found again


def test_raw_scores_separate_lasting_objects_from_clutter() -> None:
    # Five objects stand still with margins near 40, twenty false alarms a frame near 5 are somewhere else each time.
    rng = np.random.default_rng(0)
    memory, last, last_scores = np.zeros((0, 2)), np.zeros((0, 4)), np.zeros(0)
    objects = np.array([[x, 100, x + 40, 200.0] for x in range(0, 1000, 200)])
    for _ in range(60):
        corner = rng.uniform(0, 1800, (20, 2))
        boxes = np.concatenate([objects, np.concatenate([corner, corner + np.array([40, 100])], axis=1)])
        scores = np.concatenate([rng.normal(40, 5, 5), rng.normal(5, 5, 20)])
        memory = remember(memory, last, last_scores, boxes, 1024)
        sure = surenesses(scores, memory)
        last, last_scores = boxes, scores
    settings_ = load_config().tracker.scores
    assert sure[:5].min() > settings_.birth and np.median(sure[5:]) < settings_.low
    assert (sure[5:] < settings_.high).mean() > 0.9


@pytest.mark.parametrize("value", [-1.0, 1.0, 2.0, 100.0])
def test_constant_scores_say_that_every_detection_counts(value: float) -> None:
    # MOTChallenge files carry -1 or 1 in this column where there is no score.
    birth = load_config().tracker.scores.birth
    for count in (0, 1, 40, 1000):
        memory = np.stack([np.full(count, value), np.arange(count) % 10 > 0], axis=1)
        assert surenesses(np.full(4, value), memory).min() >= birth


def test_no_scores_no_surenesses() -> None:
    assert len(surenesses(np.zeros(0), np.zeros((0, 2)))) == 0
    assert len(surenesses(np.zeros(0), np.ones((50, 2)))) == 0


@given(SEEDS, st.integers(32, 300))
@settings(max_examples=40, deadline=None)
def test_isotonic_curve_rises_within_the_unit_interval(seed: int, count: int) -> None:
    memory, _ = past(np.random.default_rng(seed), count, raw=True)
    scores, values = isotonic(memory)
    assert (np.diff(scores) >= 0).all() and (np.diff(values) >= 0).all()
    assert values.min() >= 0


def test_remember_asks_for_mutual_best_overlap() -> None:
    # Two old boxes over one new one: only the nearer is found again; a box without successor is not.
    last = np.array([[0, 0, 10, 20], [2, 0, 12, 20], [100, 0, 110, 20.0]])
    memory = remember(np.zeros((0, 2)), last, np.array([5.0, 6.0, 7.0]), np.array([[0.5, 0, 10.5, 20]]), 10)
    assert memory.tolist() == [[5.0, 1.0], [6.0, 0.0], [7.0, 0.0]]
    assert remember(memory, last, np.array([1.0, 2.0, 3.0]), np.zeros((0, 4)), 4).tolist() == [
        [7.0, 0.0],
        [1.0, 0.0],
        [2.0, 0.0],
        [3.0, 0.0],
    ]  # the newest four
    assert remember(memory, np.zeros((0, 4)), np.zeros(0), last, 10) is memory

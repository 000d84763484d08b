"""Candidate edges: a few of each, the right one among them, the same for small and large frames."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.graph import candidates
from scenegraph_track.graph.candidates import candidate_edges


def boxes(rng: np.random.Generator, count: int, extent: float) -> np.ndarray:
    corner = rng.uniform(0, extent, (count, 2))
    return np.concatenate([corner, corner + np.array([20, 50])], axis=1)


def edges(expected: np.ndarray, found: np.ndarray, late=None, unsure=None) -> set[tuple[int, int]]:
    late = np.zeros(len(expected), bool) if late is None else late
    unsure = np.zeros(len(found), bool) if unsure is None else unsure
    pairs = candidate_edges(expected, expected, found, np.full(len(expected), 2.0), late, unsure)
    assert all(np.diff(pairs[0] * max(len(found), 1) + pairs[1]) > 0)  # sorted, each once
    return set(zip(*(p.tolist() for p in pairs), strict=True))


def test_the_true_partner_is_a_candidate_and_few_others_are() -> None:
    rng = np.random.default_rng(0)
    expected = boxes(rng, 60, 600)
    found = expected + rng.normal(0, 6, expected.shape)
    pairs = edges(expected, found)
    assert {(i, i) for i in range(60)} <= pairs and len(pairs) < 60 * 10


def test_many_objects_are_searched_by_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    expected = boxes(rng, 150, 1500)
    found = expected + rng.normal(0, 6, expected.shape)
    whole = candidates._first_of_each
    looked_at = []
    monkeypatch.setattr(candidates, "_first_of_each", lambda g, v, k: looked_at.append(len(g)) or whole(g, v, k))
    near = edges(expected, found)
    assert max(looked_at) < 150 * 30  # linear, not 150 * 150
    monkeypatch.setattr(candidates, "DENSE", 1 << 30)
    assert len(edges(expected, found) ^ near) < 0.02 * len(near)


def test_what_is_out_of_reach_or_not_allowed_is_none() -> None:
    expected = np.array([[0, 0, 20, 50], [300, 0, 320, 50.0]])
    found = np.array([[5, 0, 25, 50], [305, 0, 325, 50], [900, 0, 920, 50.0]])
    assert edges(expected, found) == {(0, 0), (1, 1)}
    late, unsure = np.array([True, False]), np.array([True, True, False])
    assert edges(expected, found, late, unsure) == {(1, 1)}
    assert edges(expected[:0], found) == set() and edges(expected, found[:0]) == set()

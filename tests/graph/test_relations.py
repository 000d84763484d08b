"""Relations from boxes: each rule on a case one can see, and the promises about the edges."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.graph import relations_from_boxes
from scenegraph_track.structures import RELATIONS


def relation(boxes: list[list[float]], name: str, source: int, target: int, **more: object) -> float:
    found = relations_from_boxes(np.array(boxes, dtype=float), **more)
    edge = np.flatnonzero((found["edge_index"] == [[source], [target]]).all(0))
    return float(found["relation"][edge[0], RELATIONS.index(name)])


NEAR_WALKER = [100, 50, 140, 150.0]  # stands lower in the image: nearer on the ground
FAR_WALKER = [110, 40, 150, 130.0]
ALONE = [400, 40, 440, 130.0]
BAG = [112, 90, 126, 120.0]  # carried by the near walker


@pytest.mark.parametrize("n", [0, 1])
def test_no_pairs_no_edges(n: int) -> None:
    found = relations_from_boxes(np.array([NEAR_WALKER] * n).reshape(-1, 4))
    assert found["edge_index"].shape == (2, 0) and found["relation"].shape == (0, 6)
    assert found["adjacency"].shape == (0,)


@pytest.mark.parametrize(
    ("name", "boxes"),
    [
        ("occludes", [NEAR_WALKER, FAR_WALKER]),
        ("in_front_of", [NEAR_WALKER, ALONE]),
        ("left_of", [NEAR_WALKER, ALONE]),
        ("above", [[100, 10, 140, 50], [100, 60, 140, 100]]),
        ("contains", [NEAR_WALKER, BAG]),
    ],
)
def test_holds_one_way_and_not_the_other(name: str, boxes: list[list[float]]) -> None:
    assert relation(boxes, name, 0, 1) > 0.9
    assert relation(boxes, name, 1, 0) < 0.1


def test_near_falls_with_distance_and_has_no_direction() -> None:
    chances = [relation([[0, 0, 20, 50], [d, 0, d + 20, 50]], "near", 0, 1) for d in (10, 45, 50, 55, 200)]
    assert chances == sorted(chances, reverse=True) and chances[0] > 0.9 and chances[2] == 0.5 and chances[-1] < 0.01
    assert relation([NEAR_WALKER, ALONE], "near", 0, 1) == relation([NEAR_WALKER, ALONE], "near", 1, 0)


def test_nothing_is_occluded_without_overlap() -> None:
    assert relation([NEAR_WALKER, ALONE], "occludes", 0, 1) == 0.0


def test_depth_overrules_the_ground_and_unknown_depth_does_not() -> None:
    boxes = [NEAR_WALKER, FAR_WALKER]
    assert relation(boxes, "in_front_of", 0, 1, depths=np.array([9.0, 3.0])) < 0.1
    assert relation(boxes, "occludes", 1, 0, depths=np.array([9.0, 3.0])) > 0.9
    assert relation(boxes, "in_front_of", 0, 1, depths=np.array([9.0, np.nan])) == relation(boxes, "in_front_of", 0, 1)


def test_opposites_are_complementary() -> None:
    # a left of b and b left of a share their chance; so do above and in front of.
    boxes = [NEAR_WALKER, FAR_WALKER]
    for name in ("left_of", "above", "in_front_of"):
        assert relation(boxes, name, 0, 1) + relation(boxes, name, 1, 0) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["spread", "same centre", "zero area"])
@pytest.mark.parametrize("n", [2, 9, 10, 40])
def test_edges_are_sorted_symmetric_and_in_range(kind: str, n: int) -> None:
    rng = np.random.default_rng(n)
    corner = rng.uniform(0, 500, (n, 2)) if kind != "same centre" else np.zeros((n, 2))
    size = rng.uniform(5, 60, (n, 2)) if kind == "spread" else np.zeros((n, 2)) if kind == "zero area" else 10.0
    found = relations_from_boxes(np.concatenate([corner, corner + size], axis=1))
    source, target = found["edge_index"]
    pairs = list(zip(source.tolist(), target.tolist()))
    assert pairs == sorted(set(pairs)) and all(a != b for a, b in pairs)
    assert {(b, a) for a, b in pairs} == set(pairs)
    assert set(source.tolist()) == set(range(n)) or kind == "same centre"
    for values in (found["relation"], found["adjacency"]):
        assert np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()
    both = dict(zip(pairs, found["adjacency"].tolist()))
    assert all(both[a, b] == both[b, a] for a, b in pairs)  # adjacency has no direction


def test_number_of_edges_is_linear_in_objects() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 5000, (500, 2))
    found = relations_from_boxes(np.concatenate([corner, corner + 20], axis=1))
    assert found["edge_index"].shape[1] <= 2 * 8 * 500
    few = relations_from_boxes(np.concatenate([corner, corner + 20], axis=1), neighbours=2)
    assert few["edge_index"].shape[1] <= 2 * 2 * 500


def test_units_do_not_matter() -> None:
    # Twice the pixels, the same relations.
    boxes = np.array([NEAR_WALKER, FAR_WALKER, ALONE, BAG])
    assert np.allclose(relations_from_boxes(boxes)["relation"], relations_from_boxes(2 * boxes)["relation"])

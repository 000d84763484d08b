"""Batches of courses: nodes and edges side by side, cues left out, and mirrored ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track.structures import RELATIONS
from scenegraph_track.training.scene_batches import collate, cues
from scenegraph_track.training.scene_courses import Course, CourseSettings, make_course
from tests.training.tiny_scene import HIDDEN, SIZE, tiny_world


@pytest.fixture(scope="module")
def course() -> Course:
    return make_course(np.random.default_rng(0), tiny_world(), SIZE, CourseSettings(gaps=0, missed=(0, 0), camera=1))


def told(course: Course, **given: bool) -> dict[str, np.ndarray]:
    return cues(np.random.default_rng(0), course, **{"depth": True, **given})


def test_nodes_and_edges_stand_one_after_the_other(course: Course) -> None:
    one, two = collate([told(course)]), collate([told(course), told(course, mirrored=True)])
    count, slots = len(one["node_boxes"]), one["rows"].shape[1]
    assert len(two["node_boxes"]) == 2 * count and two["rows"].shape == (16, 2 * slots)
    half = two["edge_index"].shape[1] // 2
    assert torch.equal(two["edge_index"][:, half:], two["edge_index"][:, :half] + count)
    born = two["born"]
    assert torch.equal(two["node_boxes"][two["rows"][born]], two["boxes"][born]) and (two["rows"][~born] == -1).all()


def test_truth_of_edges_hidden_and_left(course: Course) -> None:
    given = told(course)
    time, slot = np.nonzero(course.born)
    relation = {
        (time[i], slot[i], slot[j]): dict(zip(RELATIONS, row, strict=True))
        for i, j, row in zip(*given["edge_index"], given["relations"], strict=True)
    }
    assert relation[9, 1, 0]["occludes"] == 1 and relation[2, 1, 0]["occludes"] == 0
    assert relation[2, 0, 2]["left_of"] == 1 and relation[2, 2, 0]["left_of"] == 0
    gone = course.inside[:, 2] <= 0
    assert gone.any() and all(np.isnan(relation[t, 0, 2]["left_of"]) for t in np.flatnonzero(gone))
    assert given["hidden"][HIDDEN, 0].all() and given["hidden"].sum() == len(HIDDEN)
    assert (given["left"] & given["unseen"])[:, 2].any()


def test_mirrored_is_left_right_exchanged(course: Course) -> None:
    plain, turned = told(course), told(course, mirrored=True)
    assert np.allclose(turned["boxes"][..., 0], SIZE[0] - plain["boxes"][..., 2])
    assert np.allclose(turned["velocity"][..., 0], -plain["velocity"][..., 2])
    known = np.isfinite(plain["relations"]).all(1)
    ends = [tuple(pair) for pair in plain["edge_index"].T]
    back = [ends.index((j, i)) for i, j in ends]
    k = RELATIONS.index("left_of")
    assert plain["relations"][known, k].any()
    assert (turned["relations"][known, k] == plain["relations"][back][known, k]).all()
    assert (turned["relations"][known, 0] == plain["relations"][known, 0]).all()
    assert (turned["node_depth"][:, 0] == plain["node_depth"][:, 0])[np.isfinite(plain["node_depth"][:, 0])].all()


@pytest.mark.parametrize("depth", [False, True])
def test_cues_that_are_left_out(course: Course, depth: bool) -> None:
    given = told(course, depth=depth, positions=False, statistics=False)
    assert np.isfinite(given["node_depth"][:, 0]).any() == depth and np.isnan(given["node_depth"][:, 1:]).all()
    assert np.isnan(given["node_positions"]).all() and set(given["node_scores"]) == {0.0, 1.0}
    whole = told(course, depth=depth, statistics=True, scores=True)
    assert np.isfinite(whole["node_positions"]).any() == depth == np.isfinite(whole["node_depth"][:, 1]).any()
    assert len(set(whole["node_scores"])) > 5

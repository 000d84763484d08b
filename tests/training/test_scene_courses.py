"""Tracks of given identities: what is detected, what the filter expects, and what the tracker would forget."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.training.scene_courses import Course, CourseSettings, make_course
from tests.training.tiny_scene import HIDDEN, RATE, SIZE, tiny_world

CLEAN = CourseSettings(missed=(0.0, 0.0), gaps=0.0, jitter=(1e-6, 1e-6), whole=(1.0, 1.0), camera=0.0)


def course(settings: CourseSettings = CLEAN, **changes: np.ndarray) -> Course:
    return make_course(np.random.default_rng(0), tiny_world() | changes, SIZE, settings)


def test_an_object_is_followed_through_hiding_under_its_identity() -> None:
    found = course()
    assert found.born[:, :3].all() and not found.born[:, 3].any()
    assert (~found.seen[:, 0]).nonzero()[0].tolist() == list(HIDDEN) and found.seen[:, 1].all()
    np.testing.assert_allclose(found.away[HIDDEN, 0], [(k + 1) / RATE for k in range(len(HIDDEN))], atol=1e-6)
    np.testing.assert_allclose(
        found.boxes[found.seen], np.clip(found.truth, 0, [100, 80, 100, 80])[found.seen], atol=1e-3
    )
    np.testing.assert_allclose(found.boxes[HIDDEN, 0], found.truth[HIDDEN, 0], atol=2)  # it walks on
    np.testing.assert_allclose(found.velocity[HIDDEN, 0, 0], 30, atol=8)
    assert (np.diff(found.std[HIDDEN, 0, 0]) > 0).all()
    assert (found.covered[HIDDEN, 0] > 0.5).all() and not found.covered[:4, 0].any()
    assert {tuple(pair) for pair in found.edges[0].T} == {(i, j) for i in range(3) for j in range(3) if i != j}


def test_the_tracker_would_forget_what_is_outside_and_what_is_away_for_long() -> None:
    found = course()
    outside = found.born & ~found.seen & (found.boxes[..., 0] > 98)
    assert outside.any() and (found.gone[outside]).all() and not found.gone[:, :2].any()
    visible = tiny_world()["visible"]
    visible[3:, 0] = 0
    assert course(visible=visible).gone[:, 0].nonzero()[0].tolist() == [13, 14, 15]  # more than a second


def test_boxes_of_what_is_visible_of_the_whole_and_between() -> None:
    world = tiny_world()
    world["visible_boxes"][:, 1, 3] = 40
    bottoms = {
        part: course(CLEAN.model_copy(update={"whole": (part, part)}), **world).boxes[0, 1, 3]
        for part in (0.0, 0.5, 1.0)
    }
    assert bottoms == pytest.approx({0.0: 40, 0.5: 50, 1.0: 60}, abs=0.01)


def test_a_known_camera_moves_what_is_expected_and_gives_depth() -> None:
    poses = np.repeat(np.eye(4)[None], 16, 0)
    poses[:, 0, 3] = 0.06 * np.arange(16)
    world = tiny_world() | {"world_from_camera": poses}
    world["boxes"][:, 0, [0, 2]] -= (3 + 0.06 * 100 / 5) * np.arange(16)[:, None]  # it stands still, at 5 m
    known = course(CLEAN.model_copy(update={"camera": 1.0, "depth_noise": (1e-6, 1e-6)}), **world)
    np.testing.assert_allclose(known.boxes[HIDDEN, 0], known.truth[HIDDEN, 0], atol=1)
    np.testing.assert_allclose(known.velocity[HIDDEN, 0], 0, atol=1)
    np.testing.assert_allclose(known.depth[:, 0, 0], 5, rtol=1e-3)
    assert np.isfinite(known.depth[:8, 0, 1]).all() and np.isnan(known.depth[HIDDEN, 0, 1]).all()


def test_detections_are_missed_and_objects_are_lost_for_a_while() -> None:
    rare = course(CLEAN.model_copy(update={"missed": (0.5, 0.5)})).seen
    assert 0.2 < rare[:, 1].mean() < 0.8
    gap = course(CLEAN.model_copy(update={"gaps": 1.0, "gap_seconds": (0.5, 0.5)})).seen[:, 1]
    assert 1 <= (~gap).sum() <= 5

"""Pieces of streams as worlds: the truth by frames and slots, and courses of them."""

from __future__ import annotations

import numpy as np

from scenegraph_track.data.streams import simulate
from scenegraph_track.training.scene_batches import cues
from scenegraph_track.training.scene_courses import CourseSettings, make_course
from scenegraph_track.training.scene_streams import piece, stream_world


def test_a_piece_holds_the_truth_of_its_frames() -> None:
    stream = simulate("street", 3, frames=30)
    numbers = 3 * np.arange(10)
    world = piece(stream, numbers, 60)
    assert world["rate"] == stream.frame_rate / 3 and tuple(world["size"]) == stream.image_size
    for t, number in enumerate(numbers):
        ids, boxes, visible, depth = stream.truth(number)
        there = world["boxes"][t].any(1)
        assert there.sum() == len(ids)
        np.testing.assert_allclose(np.sort(world["boxes"][t, there, 0]), np.sort(boxes[:, 0]), rtol=1e-5)
        np.testing.assert_allclose(np.sort(world["depth"][t, there, 0]), np.sort(depth), rtol=1e-5)
        np.testing.assert_allclose(world["visible"][t].sum(), visible.sum(), rtol=1e-4)


def test_those_that_are_hidden_most_often_are_kept() -> None:
    stream = simulate("crowd", 1, frames=12)
    every, few = piece(stream, np.arange(12), 200), piece(stream, np.arange(12), 4)
    hidden = ((every["visible"] < 0.15) & every["boxes"].any(2)).sum(0) * (every["visible"] > 0.15).any(0)
    assert ((few["visible"] < 0.15) & few["boxes"].any(2)).sum() == np.sort(hidden)[-4:].sum() > 0


def test_courses_of_streams_have_no_relations_and_no_camera() -> None:
    rng = np.random.default_rng(0)
    world = stream_world(rng, "train", 8, 6)
    course = make_course(rng, world, (1, 1), CourseSettings(camera=1.0))
    given = cues(rng, course, depth=True)
    assert tuple(course.size) == tuple(world["size"]) and course.born.any()
    assert np.isnan(given["relations"]).all() and np.isnan(given["occluded"]).all() and given["edge_index"].shape[1] > 0
    assert np.isfinite(given["node_depth"][:, 0]).any()

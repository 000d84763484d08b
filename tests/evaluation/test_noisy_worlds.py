"""Worlds with detections: truth, noise and misses, the same for the same seed."""

from __future__ import annotations

import numpy as np

from scenegraph_track.evaluation.noisy_worlds import LEAST_VISIBLE, noisy_stream, noisy_world


def test_detections_are_near_what_can_be_seen_and_the_same_again() -> None:
    world, again = (noisy_world("standard", 3, 6, (64, 48)) for _ in range(2))
    assert world.rate > 0 and len(world.frames) == 6
    count = 0
    for one, other in zip(world.frames, again.frames):
        assert np.array_equal(one.found, other.found) and np.array_equal(one.scores, other.scores)
        assert one.image.shape == (3, 48, 64) and len(one.boxes) == len(one.whole) == len(one.visible) == len(one.ids)
        seen = one.boxes[one.visible > LEAST_VISIBLE]
        assert len(one.found) <= len(seen)
        for box in one.found:
            side = np.sqrt((seen[:, 2:] - seen[:, :2]).prod(1))
            assert (np.abs(seen - box).max(1) < 0.25 * side + 2).any()
        count += len(one.found)
    assert count > 0
    assert any(
        not np.array_equal(a.found, b.found)
        for a, b in zip(world.frames, noisy_world("standard", 4, 6, (64, 48)).frames)
    )


def test_streams_come_in_the_same_form_without_images() -> None:
    world = noisy_stream("crossing", 2, 12)
    assert len(world.frames) == 12 and world.rate > 0 and min(world.size) > 0
    assert all(one.image is None and len(one.ids) == len(one.boxes) == len(one.visible) for one in world.frames)
    assert sum(len(one.found) for one in world.frames) > 12
    assert all(len(one.found) == len(one.scores) for one in world.frames)

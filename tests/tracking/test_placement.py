"""Depth and position of objects from a depth map."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.data.worlds import WorldClip, render, sample_scene
from scenegraph_track.tracking.placement import SURE, object_depths, positions

SIZE = (160, 120)


@pytest.fixture(scope="module")
def clips() -> list[WorldClip]:
    return [
        render(sample_scene(preset, "val", seed, SIZE, 2)) for preset in ("static", "standard") for seed in range(3)
    ]


def plate(depth: float, rows: slice, columns: slice, background: float = 10.0) -> np.ndarray:
    """A plate before a wall, 40 x 60."""
    wall = np.full((40, 60), background)
    wall[rows, columns] = depth
    return wall


def test_depths_of_rendered_objects_from_their_boxes(clips: list[WorldClip]) -> None:
    # Against the median depth inside the true mask: nine in ten within 3 %; with the mask within 1 %.
    by_box, by_mask = [], []
    for clip in clips:
        frame = clip.frames[0]
        chosen = np.flatnonzero(frame.visible_fraction > 0.6)
        masks = np.stack([frame.instance == frame.ids[i] for i in chosen])
        large = masks.sum((1, 2)) > 40
        boxes, masks = frame.visible_boxes[chosen][large].astype(float), masks[large]
        truth = np.array([np.median(frame.depth[mask]) for mask in masks])
        by_box.append(object_depths(frame.depth, boxes, SIZE).depth / truth - 1)
        by_mask.append(object_depths(frame.depth, boxes, SIZE, masks=masks).depth / truth - 1)
    assert sum(map(len, by_box)) > 15
    assert np.quantile(np.abs(np.concatenate(by_box)), 0.9) < 0.03
    assert np.quantile(np.abs(np.concatenate(by_mask)), 0.9) < 0.01


def test_the_nearest_surface_is_the_object() -> None:
    # A thin object that fills 40 % of the core of its box is found before the wall; one of 15 % is not believed.
    box = np.array([[20.0, 0.0, 40.0, 40.0]])
    thin = object_depths(plate(3.0, slice(0, 40), slice(28, 33)), box, (60, 40))
    assert thin.depth[0] == pytest.approx(3.0) and 0.25 < thin.confidence[0] < 0.6
    thinner = object_depths(plate(3.0, slice(0, 40), slice(29, 31)), box, (60, 40))
    assert thinner.depth[0] == pytest.approx(10.0)


def test_a_few_wrong_pixels_in_front_do_not_count() -> None:
    depth = plate(4.0, slice(0, 40), slice(20, 40))
    depth[::5, ::5] = 0.4
    found = object_depths(depth, np.array([[20.0, 0.0, 40.0, 40.0]]), (60, 40))
    assert found.depth[0] == pytest.approx(4.0) and found.spread[0] < 0.1


def test_another_object_in_the_box_is_not_taken_for_it() -> None:
    # The nearer one covers half of the farther one's box, and its box says so.
    depth = plate(5.0, slice(0, 40), slice(10, 50))
    depth[:, 10:30] = 2.0
    boxes = np.array([[10.0, 0.0, 50.0, 40.0], [8.0, 0.0, 30.0, 40.0]])
    assert object_depths(depth, boxes, (60, 40)).depth == pytest.approx([5.0, 2.0])
    assert object_depths(depth, boxes[:1], (60, 40)).depth == pytest.approx([2.0])


def test_masks_tell_the_object_from_what_is_in_front() -> None:
    depth = plate(2.0, slice(0, 20), slice(0, 60))
    box = np.array([[10.0, 0.0, 50.0, 40.0]])
    mask = np.zeros((1, 20, 30))
    mask[:, 12:] = 1.0  # the lower part, at half the resolution
    assert object_depths(depth, box, (60, 40), masks=mask).depth == pytest.approx([10.0])
    assert object_depths(depth, box, (60, 40), masks=0 * mask).depth == pytest.approx([2.0])


def test_unknown_depth_is_no_depth() -> None:
    box = np.array([[10.0, 0.0, 50.0, 40.0], [70.0, 0.0, 90.0, 30.0]])  # the second is outside the image
    depth = plate(3.0, slice(0, 40), slice(10, 50))
    full = object_depths(depth, box, (60, 40))
    assert full.depth[0] == 3.0 and np.isnan(full.depth[1]) and full.confidence[1] == 0
    for unknown in (np.zeros((40, 60)), np.full((40, 60), np.nan), np.full((40, 60), np.inf)):
        assert np.isnan(object_depths(unknown, box, (60, 40)).depth).all()
    unsure = object_depths(depth, box, (60, 40), np.full((40, 60), SURE / 2))
    assert np.isnan(unsure.depth).all() and unsure.confidence[0] == pytest.approx(SURE / 2)
    assert len(object_depths(depth, np.zeros((0, 4)), (60, 40)).depth) == 0


def test_any_resolution_of_the_map() -> None:
    depth = plate(3.0, slice(0, 40), slice(20, 40))
    boxes = np.array([[80.0, 0.0, 160.0, 160.0]])  # in an image of four times the size
    assert object_depths(depth, boxes, (240, 160)).depth == pytest.approx([3.0])


def test_positions_in_camera_and_world() -> None:
    k = np.array([[100.0, 0.0, 50.0], [0.0, 100.0, 40.0], [0.0, 0.0, 1.0]])
    boxes = np.array([[40.0, 30.0, 60.0, 50.0], [140.0, 80.0, 160.0, 100.0]])
    depths = np.array([4.0, np.nan])
    assert positions(boxes, depths, k)[0] == pytest.approx([0, 0, 4])
    assert np.isnan(positions(boxes, depths, k)[1]).all()
    quarter = np.array([[0.0, 0, 1, 5], [0, 1, 0, 6], [-1, 0, 0, 7], [0, 0, 0, 1]])  # z of the camera is x of the world
    assert positions(boxes, np.array([4.0, 2.0]), k, quarter) == pytest.approx(np.array([[9, 6, 7], [7, 7, 5]]))


def test_positions_of_rendered_objects(clips: list[WorldClip]) -> None:
    # The surface seen at the middle of the box against the middle of the body: within a tenth of the distance.
    for clip in clips:
        frame = clip.frames[1]
        seen = frame.visible_fraction > 0.9
        boxes = frame.visible_boxes[seen].astype(float)
        found = positions(boxes, object_depths(frame.depth, boxes, SIZE).depth, frame.intrinsics)
        off = np.linalg.norm(found - frame.positions[seen], axis=1)
        assert (off < 0.1 * frame.positions[seen, 2] + 0.1).all()

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.data.streams.occlusion import CELLS, visible_cells, visible_extent, visible_share

IMAGE = (640, 480)


def look(boxes: list[list[float]], depth: list[float], image_size: tuple[int, int] = IMAGE) -> np.ndarray:
    boxes, depth = np.array(boxes)[None], np.array(depth)[None]
    present = np.ones(depth.shape, bool)
    return visible_cells(boxes, depth, present, boxes, depth, present, image_size)[0]


def test_the_nearer_of_two_agents_covers_the_farther() -> None:
    boxes = [[100.0, 100, 200, 300], [150.0, 100, 250, 300]]
    assert visible_share(look(boxes, [5, 9])).tolist() == [1.0, 0.5]
    assert visible_share(look(boxes, [9, 5])).tolist() == [0.5, 1.0]
    assert visible_extent(look(boxes, [5, 9]))[1].tolist() == [0.5, 0, 1, 1]
    assert visible_extent(look(boxes, [9, 5]))[0].tolist() == [0, 0, 0.5, 1]


def test_equal_depth_covers_nothing() -> None:
    assert visible_share(look([[0.0, 0, 50, 50], [0.0, 0, 50, 50]], [4, 4])).tolist() == [1, 1]


def test_covers_are_united_not_added() -> None:
    back, same = [100.0, 100, 200, 300], [100.0, 100, 150, 300]
    assert visible_share(look([back, same, same], [9, 5, 4]))[0] == 0.5
    assert visible_share(look([back, [0.0, 0, 640, 480]], [9, 5]))[0] == 0


def test_the_part_outside_the_image_is_not_visible() -> None:
    cells = look([[-50.0, 100, 50, 300], [600.0, 400, 680, 560]], [5, 5])
    assert visible_share(cells).tolist() == [0.5, 0.25]
    assert visible_extent(cells).tolist() == [[0.5, 0, 1, 1], [0, 0, 0.5, 0.5]]


def test_absent_covers_do_not_cover() -> None:
    boxes, depth = np.array([[[0.0, 0, 50, 50], [0.0, 0, 50, 50]]]), np.array([[9.0, 4.0]])
    cells = visible_cells(boxes, depth, np.array([[True, True]]), boxes, depth, np.array([[True, False]]), IMAGE)
    assert visible_share(cells)[0, 0] == 1


def test_share_agrees_with_sampling() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 400, (8, 2))
    boxes = np.hstack([low, low + rng.uniform(40, 200, (8, 2))])
    depth = rng.uniform(2, 20, 8)
    share = visible_share(look(boxes.tolist(), depth.tolist(), (500, 500)))
    for i, box in enumerate(boxes):
        points = rng.uniform(box[:2], box[2:], (4000, 2))
        free = (points < 500).all(-1)
        for j in np.flatnonzero(depth < depth[i]):
            free &= ~((points > boxes[j, :2]) & (points < boxes[j, 2:])).all(-1)
        assert share[i] == pytest.approx(free.mean(), abs=1.5 / CELLS)

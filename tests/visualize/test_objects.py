"""Pictures of objects that were found."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.errors import UserError
from scenegraph_track.visualize.colors import track_colors
from scenegraph_track.visualize.objects import draw_boxes, draw_masks, named_like, object_rows, object_sheet

IMAGE = np.full((40, 60, 3), (200, 100, 50), np.uint8)
TRUTH = np.zeros((2, 40, 60), np.int32)
TRUTH[:, 5:15, 5:15], TRUTH[:, 20:35, 30:50] = 1, 2


def test_masks() -> None:
    # Objects in the colour of their identity, the rest dark and grey; labels of half the size are enlarged.
    drawn = draw_masks(IMAGE, TRUTH[0]).astype(int)
    outside, first, second = drawn[0, 0], drawn[10, 10], drawn[25, 40]
    assert outside[0] == outside[1] == outside[2] < 60
    for pixel, identity in ((first, 1), (second, 2)):
        color = track_colors(np.array([identity]))[0].astype(int)
        assert pixel.argmax() == color.argmax() and np.abs(pixel - color).max() < 120
    assert np.abs(first - second).max() > 40
    half = draw_masks(IMAGE, TRUTH[0][::2, ::2])
    assert half.shape == IMAGE.shape and (np.abs(half.astype(int) - drawn).max(-1) > 0).mean() < 0.1


def test_boxes() -> None:
    drawn = draw_boxes(IMAGE, np.array([3]), np.array([[10.0, 10, 30, 30]]))
    assert (drawn[20, 20] == IMAGE[20, 20]).all() and (drawn[10, 20] != IMAGE[10, 20]).any()
    assert (IMAGE == (200, 100, 50)).all()  # drawn on a copy


def test_segments_are_named_like_what_they_show() -> None:
    # The best segment of an object has its identity in all frames; pieces that are left have others, nothing is 0.
    found = np.where(TRUTH == 2, 9, 0)
    found[:, 5:15, 5:12], found[:, 5:15, 12:15] = 4, 1
    named = named_like(found, TRUTH)
    np.testing.assert_array_equal(named == 2, TRUTH == 2)
    assert (named[:, 5:15, 5:12] == 1).all() and (named[:, 5:15, 12:15] > 2).all()
    np.testing.assert_array_equal(named == 0, TRUTH == 0)
    assert named_like(np.zeros((2, 10, 15), int), TRUTH).shape == (2, 10, 15)


def test_rows() -> None:
    # A row a frame; a perfect method looks like the truth; boxes are drawn over the image where there are no masks.
    images = np.stack([IMAGE, IMAGE])
    rows = object_rows({"image": images, "truth": TRUTH, "blocks": np.where(TRUTH > 0, TRUTH + 7, 0)})
    assert [list(row) for row in rows] == [["image", "truth", "blocks"]] * 2
    np.testing.assert_array_equal(rows[1]["truth"], rows[1]["blocks"])
    boxes = np.array([[1.0, 5, 10, 10, 30, 30]])
    rows = object_rows({"image": images, "boxes": boxes, "blocks": TRUTH})
    assert (rows[0]["truth"] == IMAGE).all() and (rows[1]["truth"] != IMAGE).any()


def test_sheet() -> None:
    maps = {"image": np.stack([IMAGE, IMAGE]), "truth": TRUTH, "kmeans_few": TRUTH}
    drawn = object_sheet([maps, maps])
    assert drawn.shape == (26 + 4 * (160 + 6), 3 * (240 + 6) - 6, 3)
    with pytest.raises(UserError, match="there is no clip to draw"):
        object_sheet([])

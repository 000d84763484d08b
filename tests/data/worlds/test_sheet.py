"""The contact sheet and its colours."""

from __future__ import annotations

import numpy as np

from scenegraph_track.data.worlds.sheet import colour_depth, colour_flow, contact_sheet, palette


def test_the_sheet_shows_every_row_and_is_reproducible(clips):
    sheet = contact_sheet(clips[0], columns=3, width=700)
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    assert sheet.shape[1] > 3 * clips[0].scene.size[0] and sheet.shape[0] > 5 * clips[0].scene.size[1]
    np.testing.assert_array_equal(sheet, contact_sheet(clips[0], columns=3, width=700))


def test_opposite_flow_has_opposite_hues_and_no_flow_is_white():
    flow = np.zeros((1, 3, 2), np.float32)
    flow[0, 0], flow[0, 1] = (5, 0), (-5, 0)
    right, left, still = colour_flow(flow, 5.0)[0].astype(int)
    np.testing.assert_array_equal(right, [255, 0, 0])
    np.testing.assert_array_equal(left, [0, 255, 255])
    np.testing.assert_array_equal(still, [255, 255, 255])


def test_near_is_brighter_than_far():
    near, far = colour_depth(np.array([[1.0, 20.0]], np.float32), 1.0, 20.0)[0].astype(int)
    assert near.sum() > far.sum() + 300


def test_the_first_twelve_objects_have_different_colours():
    colours = np.array([palette(i) for i in range(12)], int)
    gap = np.abs(colours[:, None] - colours[None]).sum(-1) + 999 * np.eye(12, dtype=int)
    assert gap.min() > 30

"""The picture of the scene graph."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.errors import UserError
from scenegraph_track.visualize.colors import RELATION_COLORS, track_colors
from scenegraph_track.visualize.draw import Drawable
from scenegraph_track.visualize.graph_panel import beside, graph_panel

BOXES = np.array([[40.0, 40, 80, 120], [120, 60, 160, 140], [220, 80, 260, 160]])


def holds(image: np.ndarray, color) -> int:
    """Number of pixels of about this colour."""
    return int((np.abs(image.astype(int) - np.asarray(color, int)).max(-1) <= 12).sum())


def test_visible_nodes_are_filled_and_hidden_ones_hollow():
    panel = graph_panel(Drawable([1, 2, 3], BOXES, [0, 0, 1]), (320, 240))
    colors = track_colors(np.array([1, 2, 3]))
    assert panel.shape == (480, 640, 3)
    assert holds(panel, colors[0]) > 300 and holds(panel, colors[1]) > 300
    assert 5 < holds(panel, colors[2]) < 300


def test_relations_have_their_colour():
    objects = Drawable([1, 2, 3], BOXES, arrows=[(0, 1, "occludes"), (1, 0, "near")])
    panel, without = graph_panel(objects, (320, 240)), graph_panel(Drawable([1, 2, 3], BOXES), (320, 240))
    for relation in ("occludes", "near"):
        assert holds(panel, RELATION_COLORS[relation]) > holds(without, RELATION_COLORS[relation]) + 40


def test_temporal_edges_join_the_two_frames():
    now, before = Drawable([1, 2, 3], BOXES), Drawable([1, 2], BOXES[:2] - 4)
    images = {"rgb": np.full((240, 320, 3), 200, np.uint8), "previous_rgb": np.full((240, 320, 3), 100, np.uint8)}
    matches = [(0, 0, 0.98), (1, 1, 0.4)]
    apart = graph_panel(now, (320, 240), previous=before, **images)
    joined = graph_panel(now, (320, 240), previous=before, matches=matches, **images)
    between = slice(230, 250)  # rows between the two planes
    assert (apart[between] != joined[between]).any(-1).sum() > 50
    with pytest.raises(UserError, match="between objects of the two frames"):
        graph_panel(now, (320, 240), previous=before, matches=[(2, 0, 0.5)])
    with pytest.raises(UserError, match="between objects of the two frames"):
        graph_panel(now, (320, 240), matches=[(0, 0, 0.5)])


def test_empty_graph_and_many_sizes():
    assert graph_panel(Drawable([], []), (320, 240), size=(200, 100)).shape == (100, 200, 3)
    crowd = np.random.default_rng(0).uniform(0, 200, (80, 2))
    assert graph_panel(Drawable(np.arange(80), np.c_[crowd, crowd + 20]), (320, 240)).shape == (480, 640, 3)


def test_panel_stands_beside_a_frame_of_any_height():
    assert beside(np.zeros((240, 320, 3), np.uint8), np.zeros((480, 640, 3), np.uint8)).shape == (240, 640, 3)

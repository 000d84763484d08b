"""Points drawn on frames."""

from __future__ import annotations

import numpy as np

from scenegraph_track.visualize.colors import track_colors
from scenegraph_track.visualize.points import draw_points

GROUND = np.full((60, 80, 3), 40, np.uint8)


def test_seen_points_are_filled_and_hidden_ones_hollow() -> None:
    places = np.array([[20.5, 30.5], [60.5, 30.5]])
    drawn = draw_points(GROUND, [places], np.array([True, False]), scale=4)
    assert drawn.shape == (240, 320, 3) and (GROUND == 40).all()
    seen, hidden = drawn[122, 82].astype(int), drawn[122, 242].astype(int)
    assert np.abs(seen - track_colors(np.array([1]))[0]).max() < 30 and (hidden == 40).all()
    assert (drawn[110:134, 230:254] != 40).any() and (drawn[:, 120:200] == 40).all()


def test_tails_are_where_points_were() -> None:
    # Only between frames in which a point is somewhere; a point that came later has no tail.
    path = [np.array([[10.0, 10.0]]), np.array([[30.0, 10.0]]), np.array([[30.0, 40.0], [60.0, 50.0]])]
    drawn = draw_points(GROUND, path, np.array([True, True]), scale=1)
    changed = (drawn != 40).any(-1)
    assert changed[9:11, 12:28].any(0).all() and changed[12:36, 29:31].any(1).all() and not changed[:45, 50:].any()
    path[1] = np.array([[np.nan, np.nan]])
    assert not (draw_points(GROUND, path, np.array([True, True]), scale=1)[:20] != 40).any()


def test_points_far_outside_and_nowhere_are_not_drawn() -> None:
    far = np.array([[1e9, 5.0], [np.nan, np.nan], [-400.0, 20.0]])
    assert (draw_points(GROUND, [far, far], np.ones(3, bool), scale=1) == GROUND).all()
    assert (draw_points(GROUND, [np.zeros((0, 2))], np.zeros(0, bool), scale=1) == GROUND).all()

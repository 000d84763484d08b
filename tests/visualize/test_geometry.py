"""Pictures of depth, flow and trajectories."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from scenegraph_track.errors import UserError
from scenegraph_track.visualize.geometry import (
    INK,
    PAPER,
    UNKNOWN,
    depth_colors,
    depth_row,
    flow_colors,
    flow_row,
    sheet,
    tiles,
    trajectory_panel,
    write_picture,
)


def test_depth_colors() -> None:
    # Near is red, far is blue, unknown is grey; what lies beyond the ends has the colour of the end.
    colors = depth_colors(np.array([[1.0, 10.0, 0.0, np.nan, 0.5, 99.0]]), 1.1, 9.0)[0].astype(int)
    assert colors[0, 0] > colors[0, 2] and colors[1, 2] > colors[1, 0]
    assert (colors[2:4] == UNKNOWN).all()
    np.testing.assert_array_equal(colors[[4, 5]], colors[[0, 1]])


def test_flow_colors() -> None:
    # The wheel of Baker et al.: right is red, down yellow to green, left cyan, none white; longer than the end darker.
    right, left, none, longer = flow_colors(np.array([[[2.0, 0], [-2, 0], [0, 0], [4, 0]]]), 2.0)[0].astype(int)
    assert right.tolist() == [255, 0, 0] and none.tolist() == [255, 255, 255]
    assert left[0] < 60 and left[2] == 255 and left[1] > 150
    assert longer.tolist() == [191, 0, 0]
    down = flow_colors(np.array([[[0.0, 2.0]]]), 2.0)[0, 0]
    assert down[0] > 200 and down[1] > 150 and down[2] == 0


def test_rows_share_their_scale() -> None:
    # The same depth in another unit has the same picture; half the flow is paler.
    truth = np.linspace(1, 9, 64).reshape(8, 8)
    image = np.zeros((8, 8, 3), np.uint8)
    row = depth_row({"image": image, "truth": truth, "video": 3 * truth, "nothing": 0 * truth})
    np.testing.assert_array_equal(row["video"], row["truth"])
    assert (row["nothing"] == UNKNOWN).all() and row["image"] is image
    flow = np.full((8, 8, 2), 3.0)
    drawn = flow_row({"image": image, "truth": flow, "learned": flow / 2})
    assert drawn["learned"].sum() > drawn["truth"].sum()


def test_sheet() -> None:
    # One column a name of which any row has a picture, one row each, small pictures enlarged; gaps are left empty.
    red, blue = np.full((40, 50, 3), (255, 0, 0), np.uint8), np.full((40, 50, 3), (0, 0, 255), np.uint8)
    drawn = sheet([{"a": red, "b": blue}, {"a": red}], {"a": "first", "unused": "x", "b": "second"})
    height, width = drawn.shape[:2]
    assert width == 2 * 200 + 6 and height == 26 + 2 * (160 + 6)
    assert (drawn[100, 100] == (255, 0, 0)).all() and (drawn[100, 300] == (0, 0, 255)).all()
    assert (drawn[300, 300] == PAPER).all() and (drawn[:26] == INK).all(-1).any()
    with pytest.raises(UserError, match="at least one row"):
        sheet([], {"a": "first"})


def test_trajectories_from_above() -> None:
    # Ahead is up, and a path that stays in one place can be drawn too.
    truth = np.array([[0.0, 0, 0], [0, 5, 10]])
    panel = trajectory_panel(truth, truth + np.array([2, 0, 0]), "a", (300, 300))
    dark = np.argwhere((panel[40:230] < 90).all(-1))
    orange = np.argwhere((panel[40:230].astype(int) @ [1, 0, -1]) > 100)
    assert np.ptp(dark[:, 0]) > 150 and np.ptp(dark[:, 1]) < 20  # a straight line up
    assert orange[:, 1].mean() > dark[:, 1].mean() + 10  # to the right of it
    assert trajectory_panel(0 * truth, 0 * truth, "b", (300, 300)).shape == (300, 300, 3)
    assert tiles([panel] * 4).shape == (600, 900, 3)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_file(name: str, tmp_path: Path) -> None:
    write_picture(np.full((20, 20, 3), (200, 100, 0), np.uint8), tmp_path / name)
    np.testing.assert_allclose(cv2.imread(str(tmp_path / name))[10, 10], (0, 100, 200), atol=4)
    assert [path.name for path in tmp_path.iterdir()] == [name]

"""Whose track it is."""

from __future__ import annotations

import numpy as np

from scenegraph_track.training.graph_data import FALSE
from scenegraph_track.training.graph_targets import owners


def test_whose_track_it_is() -> None:
    had = np.array([[0, 5, 1], [0, 3, 0], [2, 0, 1], [0, 0, 4.0]])
    assert owners(had).tolist() == [1, -1, FALSE, 2]
    assert owners(had[:0]).tolist() == []

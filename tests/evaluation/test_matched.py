"""Results matched to ground truth, and how much of its objects is visible."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.matched import match_truth, visibility_from_boxes
from scenegraph_track.evaluation.occlusion import Outcome, occlusion_episodes
from scenegraph_track.evaluation.sources import TruthSource


def test_rows_and_identities() -> None:
    # By object, then frame; what is not considered is left out; a box that overlaps too little is nobody's; one to one.
    rows = np.array(
        [
            [2, 1, 0, 0, 10, 20, 1, 1, 0.3],
            [1, 2, 50, 0, 10, 20, 1, 1, 1],
            [1, 1, 0, 0, 10, 20, 1, 1, 0.8],
            [1, 3, 90, 0, 10, 20, 0, 1, 1],
        ],
        float,
    )
    result = np.array([[1, 7, 1, 0, 10, 20], [1, 8, 0, 1, 10, 20], [1, 4, 58, 0, 10, 20], [2, 8, 0, 0, 10, 20]], float)
    matched = match_truth(TruthSource(rows, frames=2), result, fps=10)
    assert matched.objects.tolist() == [1, 1, 2] and matched.frames.tolist() == [1, 2, 1]
    assert matched.visible.tolist() == [0.8, 0.3, 1.0]
    assert matched.identities.tolist() == [2, 2, -1]


def test_rows_beyond_the_sequence_are_refused() -> None:
    truth = TruthSource(np.array([[1, 1, 0, 0, 10, 20]], float), frames=1)
    with pytest.raises(UserError, match="expected a frame from 1 to 1, found frame 2"):
        match_truth(truth, np.array([[2, 1, 0, 0, 10, 20]], float), fps=10)


def test_visibility_from_boxes() -> None:
    # Frame 1: box 2 stands lowest and covers the left half of box 1; box 3 ends above both and is covered by box 2
    # (8 x 14) and box 1 (16 x 4, half of it covered already): 144 of 256 pixels.  Frame 2: nothing in front.
    rows = np.array(
        [
            [2, 1, 0, 0, 16, 16],
            [1, 1, 0, 0, 16, 16],
            [1, 2, 0, -10, 8, 40],
            [1, 3, 0, -12, 16, 16],
            [1, 4, 100, 0, 16, 60],
        ],
        float,
    )
    assert visibility_from_boxes(rows, 2).tolist() == [1.0, 0.5, 1.0, 112 / 256, 1.0]
    rows[3, 3:6] = [-30, 16, 70]  # now in front of both, over all of them
    assert visibility_from_boxes(rows, 2).tolist() == [1.0, 0.0, 0.0, 1.0, 1.0]


def test_visibility_without_a_column() -> None:
    # The layout of 2015: a walker passes behind one who stands nearer and is covered for some frames.
    frames = np.arange(1, 22)
    walker = np.c_[frames, np.full(21, 1), 10.0 * frames, np.zeros(21), np.full(21, 20), np.full(21, 40)]
    nearer = np.c_[frames, np.full(21, 2), np.full(21, 100.0), np.zeros(21), np.full(21, 40), np.full(21, 50)]
    truth = TruthSource(np.r_[walker, nearer], frames=21)
    episodes = occlusion_episodes(match_truth(truth, np.r_[walker, nearer], fps=10))
    # left edges 90 and 130 are covered to a half and count as visible, 100, 110 and 120 are hidden
    assert (episodes.objects.tolist(), episodes.frames.tolist()) == ([1], [10])
    assert episodes.seconds.tolist() == pytest.approx([0.3])
    assert episodes.outcomes.tolist() == [Outcome.KEPT]

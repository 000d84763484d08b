"""Identity through occlusion, on scenes made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.evaluation.occlusion import (
    Episodes,
    Outcome,
    occlusion_episodes,
    occlusion_figures,
    visibility_from_boxes,
)
from scenegraph_track.evaluation.sources import TruthSource


def scene(visibility: list[float | None]) -> TruthSource:
    """An object that stands still with a visible fraction a frame (None: no row), ten frames a second."""
    rows = [[f, 1, 0, 0, 10, 20, 1, 1, share] for f, share in enumerate(visibility, 1) if share is not None]
    return TruthSource(np.array(rows, float), frames=len(visibility))


def found(identities: list[int | None]) -> np.ndarray:
    """A result identity a frame on that object, None: no box."""
    rows = [[f, i, 0, 0, 10, 20] for f, i in enumerate(identities, 1) if i is not None]
    return np.array(rows, float).reshape(-1, 6)


HIDDEN = [1.0] * 4 + [0.4, 0.1, 0.3] + [1.0] * 4


@pytest.mark.parametrize(
    ("identities", "outcome", "recovery"),
    [
        # the same identity after as before
        ([5] * 4 + [None] * 3 + [5] * 4, Outcome.KEPT, 0.0),
        # what is shown while the object is hidden does not matter
        ([5] * 4 + [8] * 3 + [5] * 4, Outcome.KEPT, 0.0),
        # kept, but found two frames late
        ([5] * 4 + [None] * 5 + [5] * 2, Outcome.KEPT, 0.2),
        # a new identity
        ([5] * 4 + [None] * 3 + [6] * 4, Outcome.SWITCHED, 0.0),
        # switched first and repaired later is switched
        ([5] * 4 + [None] * 3 + [6] * 2 + [5] * 2, Outcome.SWITCHED, 0.0),
        # the box of the last visible frame missed: the one before it counts
        ([5] * 3 + [None] * 4 + [5] * 4, Outcome.KEPT, 0.0),
        # never found again
        ([5] * 4 + [None] * 7, Outcome.LOST, np.nan),
        # not tracked before
        ([None] * 7 + [5] * 4, Outcome.UNTRACKED, np.nan),
        ([None] * 11, Outcome.UNTRACKED, np.nan),
    ],
)
def test_outcome(identities: list[int | None], outcome: Outcome, recovery: float) -> None:
    episodes = occlusion_episodes(scene(HIDDEN), found(identities), fps=10)
    assert len(episodes) == 1
    assert episodes.outcomes[0] == outcome
    np.testing.assert_allclose(episodes.recovery[0], recovery)
    assert (episodes.objects[0], episodes.frames[0]) == (1, 5)
    assert episodes.seconds[0] == pytest.approx(0.3)
    assert episodes.fractions[0] == pytest.approx(0.9)


def test_missing_rows_are_hidden_entirely() -> None:
    # Six frames without a row, and one at 0.4 beside them: one episode of seven frames.
    truth = scene([1.0, 1.0, 0.4, *[None] * 6, 1.0, 0.9])
    episodes = occlusion_episodes(truth, found([3] * 11), fps=10)
    assert episodes.seconds.tolist() == pytest.approx([0.7])
    assert episodes.fractions.tolist() == [1.0]


def test_episodes_do_not_look_past_each_other() -> None:
    # Between two episodes the object is seen but not tracked: lost after the first, untracked before the second.
    truth = scene([1.0, 1.0, 0.1, 1.0, 1.0, 0.1, 1.0, 1.0])
    episodes = occlusion_episodes(truth, found([3, 3, None, None, None, None, 3, 3]), fps=10)
    assert episodes.frames.tolist() == [3, 6]
    assert episodes.outcomes.tolist() == [Outcome.LOST, Outcome.UNTRACKED]


def test_reach_is_in_seconds() -> None:
    # Found again five frames late: within a second at 10 frames/s, not at 2 frames/s.
    truth = scene([1.0, 1.0, 0.0] + [1.0] * 8)
    result = found([3, 3, None] + [None] * 5 + [3] * 3)
    assert occlusion_episodes(truth, result, fps=10).outcomes.tolist() == [Outcome.KEPT]
    assert occlusion_episodes(truth, result, fps=2).outcomes.tolist() == [Outcome.LOST]


def test_hidden_at_either_end_is_no_episode() -> None:
    # Nothing to keep before the first visible frame, nothing to judge after the last.
    assert len(occlusion_episodes(scene([0.1, 1.0, 1.0, 0.2]), found([3] * 4), fps=10)) == 0


@pytest.mark.parametrize("visibility", [[0.1, 0.1], [1.0, 0.9]], ids=["never visible", "always visible"])
def test_no_episodes(visibility: list[float]) -> None:
    episodes = occlusion_episodes(scene(visibility), found([3, 3]), fps=10)
    assert occlusion_figures(episodes) == {"episodes": 0, "untracked": 0}


def test_empty_truth() -> None:
    assert len(occlusion_episodes(TruthSource(np.zeros((0, 9)), frames=5), found([3, 3]), fps=10)) == 0


def test_figures_by_bin() -> None:
    # Four hidden for a while; the untracked one does not count in any percentage.
    episodes = Episodes(
        objects=np.arange(5),
        frames=np.ones(5, int),
        seconds=np.array([0.4, 0.5, 3.0, 7.0, 0.1]),
        fractions=np.array([0.6, 0.6, 0.8, 1.0, 0.6]),
        outcomes=np.array([Outcome.KEPT, Outcome.SWITCHED, Outcome.KEPT, Outcome.LOST, Outcome.UNTRACKED]),
        recovery=np.array([0.0, 0.1, 0.2, np.nan, np.nan]),
    )
    figures = occlusion_figures(Episodes.join([episodes, episodes]))
    assert (figures["episodes"], figures["untracked"]) == (10, 2)
    assert (figures["kept"], figures["switched"], figures["lost"]) == (50, 25, 25)
    assert figures["recovery"] == pytest.approx(0.1)
    assert (figures["0-0.5s/kept"], figures["0.5-1s/kept"], figures["2-5s/kept"], figures["from 5s/kept"]) == (
        100,
        0,
        100,
        0,
    )
    assert "1-2s/kept" not in figures
    assert (figures["0.5-0.7 hidden/episodes"], figures["0.5-0.7 hidden/kept"]) == (4, 50)
    assert figures["from 1 hidden/kept"] == 0


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
    episodes = occlusion_episodes(truth, np.r_[walker, nearer], fps=10)
    # left edges 90 and 130 are covered to a half and count as visible, 100, 110 and 120 are hidden
    assert (episodes.objects.tolist(), episodes.frames.tolist()) == ([1], [10])
    assert episodes.seconds.tolist() == pytest.approx([0.3])
    assert episodes.outcomes.tolist() == [Outcome.KEPT]

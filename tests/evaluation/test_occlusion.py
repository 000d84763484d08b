"""Identity through occlusion, on scenes made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.evaluation.matched import MatchedTruth, match_truth
from scenegraph_track.evaluation.occlusion import (
    FRACTIONS,
    SECONDS,
    Outcome,
    identity_gaps,
    occlusion_episodes,
    occlusion_figures,
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
    episodes = occlusion_episodes(match_truth(scene(HIDDEN), found(identities), fps=10))
    assert len(episodes) == 1
    assert episodes.outcomes[0] == outcome
    np.testing.assert_allclose(episodes.recovery[0], recovery)
    assert (episodes.objects[0], episodes.frames[0]) == (1, 5)
    assert episodes.seconds[0] == pytest.approx(0.3)
    assert episodes.fractions[0] == pytest.approx(0.9)


def test_missing_rows_are_hidden_entirely() -> None:
    # Six frames without a row, and one at 0.4 beside them: one episode of seven frames.
    truth = scene([1.0, 1.0, 0.4, *[None] * 6, 1.0, 0.9])
    episodes = occlusion_episodes(match_truth(truth, found([3] * 11), fps=10))
    assert episodes.seconds.tolist() == pytest.approx([0.7])
    assert episodes.fractions.tolist() == [1.0]


def test_episodes_do_not_look_past_each_other() -> None:
    # Between two episodes the object is seen but not tracked: lost after the first, untracked before the second.
    truth = scene([1.0, 1.0, 0.1, 1.0, 1.0, 0.1, 1.0, 1.0])
    episodes = occlusion_episodes(match_truth(truth, found([3, 3, None, None, None, None, 3, 3]), fps=10))
    assert episodes.frames.tolist() == [3, 6]
    assert episodes.outcomes.tolist() == [Outcome.LOST, Outcome.UNTRACKED]


def test_reach_is_in_seconds() -> None:
    # Found again five frames late: within a second at 10 frames/s, not at 2 frames/s.
    truth = scene([1.0, 1.0, 0.0] + [1.0] * 8)
    result = found([3, 3, None] + [None] * 5 + [3] * 3)
    assert occlusion_episodes(match_truth(truth, result, fps=10)).outcomes.tolist() == [Outcome.KEPT]
    assert occlusion_episodes(match_truth(truth, result, fps=2)).outcomes.tolist() == [Outcome.LOST]


def test_hidden_at_either_end_is_no_episode() -> None:
    # Nothing to keep before the first visible frame, nothing to judge after the last.
    assert len(occlusion_episodes(match_truth(scene([0.1, 1.0, 1.0, 0.2]), found([3] * 4), fps=10))) == 0


@pytest.mark.parametrize("visibility", [[0.1, 0.1], [1.0, 0.9]], ids=["never visible", "always visible"])
def test_no_episodes(visibility: list[float]) -> None:
    figures = occlusion_figures([match_truth(scene(visibility), found([3, 3]), fps=10)])
    assert (figures["episodes"], figures["untracked"], figures["gaps"], figures["false_reidentifications"]) == (0,) * 4
    assert all(np.isnan(figures[name]) for name in ("kept", "switched", "lost", "recovery", "false_per_100_gaps"))


def test_empty_truth() -> None:
    matched = match_truth(TruthSource(np.zeros((0, 9)), frames=5), found([3, 3]), fps=10)
    assert len(matched) == len(occlusion_episodes(matched)) == len(identity_gaps(matched)) == 0


def on(identities: dict[int, str], visible: dict[int, str] | None = None) -> MatchedTruth:
    """Objects at ten frames a second; a digit a frame is the result identity on it, "." none; hidden where "h"."""
    rows = [
        (k, one, 0.1 if (visible or {}).get(one, "")[k - 1 : k] == "h" else 1.0, -1 if mark == "." else int(mark))
        for one, marks in sorted(identities.items())
        for k, mark in enumerate(marks, 1)
    ]
    frames, objects, share, who = (np.array(column) for column in zip(*rows, strict=True))
    return MatchedTruth(10, frames, objects, share, who)


@pytest.mark.parametrize(
    ("identities", "visible", "gaps"),
    [
        # identity 5 comes back on its object after three frames, and on the other one
        ({1: "55...5", 2: "......"}, None, [(3, 0.3, 1, 1)]),
        ({1: "55....", 2: ".....5"}, None, [(3, 0.3, 1, 2)]),
        # it goes over to another object without a gap: a switch, no re-identification
        ({1: "55....", 2: "..5555"}, None, []),
        # a predicted box on the hidden object does not end the gap
        ({1: "555555"}, {1: "..hhh."}, [(3, 0.3, 1, 1)]),
        ({1: "5555..", 2: "....55"}, {1: "..hh.."}, [(3, 0.2, 1, 2)]),
        # from one to the other and back: two gaps, both false
        ({1: "5...5", 2: "..5.."}, None, [(2, 0.1, 1, 2), (4, 0.1, 2, 1)]),
        # two identities that change places while they are gone
        ({1: "55..66", 2: "66..55"}, None, [(3, 0.2, 1, 2), (3, 0.2, 2, 1)]),
        # nothing before, nothing after
        ({1: "..55.."}, None, []),
    ],
)
def test_gaps(identities: dict[int, str], visible: dict[int, str] | None, gaps: list[tuple]) -> None:
    there = identity_gaps(on(identities, visible))
    rows = zip(there.frames.tolist(), there.seconds.tolist(), there.before.tolist(), there.after.tolist(), strict=True)
    assert list(rows) == gaps
    assert there.false.tolist() == [before != after for _, _, before, after in gaps]


def test_figures_by_duration() -> None:
    # Object 1 is kept over 0.4 s and comes back after 1.2 s under another name; object 2 is lost after 0.5 s, and its
    # identity comes back on object 1, which is false; object 3 was not tracked before it was hidden.
    matched = on(
        {
            1: "55" + "." * 4 + "55" + "." * 12 + "66",
            2: "66" + "." * 5 + "." * 15,
            3: "." * 22,
        },
        {1: "..hhhh..hhhhhhhhhhhh..", 2: "..hhhhh", 3: "..hhhhh"},
    )
    figures = occlusion_figures([matched, matched])
    assert (figures["episodes"], figures["untracked"]) == (8, 2)
    assert (figures["kept"], figures["switched"], figures["lost"]) == pytest.approx((100 / 3,) * 3)
    assert figures["recovery"] == 0
    assert (figures["gaps"], figures["false_reidentifications"], figures["false_per_100_gaps"]) == (4, 2, 50)
    seconds = figures["seconds"]
    assert list(seconds) == list(SECONDS)
    assert [row["episodes"] for row in seconds.values()] == [2, 4, 2, 0, 0]
    assert [row["untracked"] for row in seconds.values()] == [0, 2, 0, 0, 0]
    assert (seconds["0-0.5 s"]["kept"], seconds["0.5-1 s"]["lost"], seconds["1-2 s"]["switched"]) == (100, 100, 100)
    assert (seconds["0-0.5 s"]["false_per_100_gaps"], seconds["1-2 s"]["false_per_100_gaps"]) == (0, 100)
    assert np.isnan(seconds["2-5 s"]["kept"]) and np.isnan(seconds["2-5 s"]["false_per_100_gaps"])


@pytest.mark.parametrize(
    ("least", "part"),
    [(0.88, "0-25 %"), (0.7, "25-50 %"), (0.4, "50-75 %"), (0.25, "75-100 %"), (0.01, "75-100 %"), (0.0, "entirely")],
)
def test_figures_by_hidden_part(least: float, part: str) -> None:
    # How much is hidden at most decides; above a half the episode is one of those by duration too.
    figures = occlusion_figures([match_truth(scene([1.0, 0.95, least, 1.0]), found([3, 3, None, 4]), fps=10)])
    assert list(figures["hidden"]) == list(FRACTIONS)
    assert {name for name, row in figures["hidden"].items() if row["episodes"]} == {part}
    assert figures["hidden"][part]["switched"] == 100
    assert figures["episodes"] == (least < 0.5)

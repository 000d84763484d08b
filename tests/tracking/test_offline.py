"""Linking tracklets over gaps and filling the gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scenegraph_track.config import load_config
from scenegraph_track.structures import Tracks
from scenegraph_track.tracking.emission import INTERPOLATED, LINK
from scenegraph_track.tracking.interpolation import interpolate
from scenegraph_track.tracking.linking import Ends, common_motion, link, link_candidates
from scenegraph_track.tracking.offline import Names
from scenegraph_track.tracking.offline import refine as refine_and_name

SETTINGS = load_config().tracker
RATE = 25.0
SIZE = (1920, 1080)


def refine(tracks: Tracks, rate: float, size: tuple[int, int] | None, settings, horizon: float = math.inf) -> Tracks:  # type: ignore[no-untyped-def]
    return refine_and_name(tracks, rate, size, settings, horizon)[0]


def walk(identity: int, frames: range, x: float, y: float = 500.0, step: float = 3.0) -> list[tuple]:
    """A walker of 60 x 150 pixels: rows of frame, id and box."""
    return [(t, identity, x + step * t - 30, y - 150, x + step * t + 30, y) for t in frames]


def tracks_from(*rows: list[tuple], **more: object) -> Tracks:
    table = np.array([row for part in rows for row in part], dtype=float).reshape(-1, 6)
    return Tracks.from_arrays(table[:, 0], table[:, 1], table[:, 2:], np.full(len(table), 0.9), **more)


def cut(gap: int, step: float = 3.0) -> Tracks:
    """One walker whose identity changes over a gap, and another who is there all the time."""
    return tracks_from(
        walk(1, range(50), 300, step=step),
        walk(4, range(50 + gap, 100 + gap), 300, step=step),
        walk(2, range(100 + gap), 900, 900, -step),
    )


@pytest.mark.parametrize("gap", [1, 10, 25])
def test_links_a_tracklet_that_was_cut(gap: int) -> None:
    tracks = cut(gap)
    ids = link(tracks, tracks.ids.numpy(), RATE, SIZE, SETTINGS)
    assert set(ids[tracks.ids.numpy() == 4].tolist()) == {1}  # the first name stays
    assert set(ids[tracks.ids.numpy() == 2].tolist()) == {2}


def test_links_chains() -> None:
    parts = [walk(k + 1, range(40 * k, 40 * k + 30), 200) for k in (3, 0, 2, 1)]
    tracks = tracks_from(*parts)
    assert set(link(tracks, tracks.ids.numpy(), RATE, SIZE, SETTINGS).tolist()) == {1}


def test_never_links_what_overlaps_in_time_or_is_too_far_apart() -> None:
    together = tracks_from(walk(1, range(50), 300), walk(4, range(49, 100), 300))
    assert set(link(together, together.ids.numpy(), RATE, SIZE, SETTINGS).tolist()) == {1, 4}
    late = cut(int(RATE * SETTINGS.offline.gap_seconds) + 2)
    assert set(link(late, late.ids.numpy(), RATE, SIZE, SETTINGS).tolist()) == {1, 2, 4}
    away = tracks_from(walk(1, range(50), 300), walk(4, range(60, 100), 1500))
    assert set(link(away, away.ids.numpy(), RATE, SIZE, SETTINGS).tolist()) == {1, 4}


def random_tracks(seed: int) -> Tracks:
    """Tracklets of all lengths in a small place, many of which could follow each other."""
    rng = np.random.default_rng(seed)
    rows = []
    for identity in range(1, int(rng.integers(2, 16))):
        start, length = int(rng.integers(0, 120)), int(rng.integers(1, 60))
        x, y, step = rng.uniform([0, 200, -3], [500, 500, 3])
        here = walk(identity, range(start, start + length), x, y, step)
        rows.append([row for row in here if rng.random() < 0.85] or here)
    return tracks_from(*rows)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_whatever_comes_in_no_identity_is_twice_in_a_frame_and_no_box_is_lost(seed: int) -> None:
    tracks = random_tracks(seed)
    eager = load_config("reference", ["tracker.offline.link=0.02", "tracker.show.interpolated=0"]).tracker
    for how in (SETTINGS, eager):
        ids = link(tracks, tracks.ids.numpy(), RATE, SIZE, how)
        assert len(set(zip(tracks.frames.tolist(), ids.tolist()))) == len(tracks)
        assert set(ids.tolist()) <= set(tracks.ids.tolist())
        refined = refine(tracks, RATE, SIZE, how)  # Tracks refuses an identity twice in a frame
        seen = refined[refined.observed]
        assert torch.equal(seen.frames, tracks.frames) and len(seen) == len(tracks)
        assert sorted(seen.boxes.tolist()) == sorted(tracks.boxes.tolist())
        for identity in set(refined.ids.tolist()):  # nothing before the first or after the last observed box
            own = refined.ids == identity
            observed = refined.frames[own & refined.observed]
            assert observed.min() == refined.frames[own].min() and observed.max() == refined.frames[own].max()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_candidates_are_all_pairs_in_reach_of_time(seed: int) -> None:
    # The same pairs as by looking at every pair.
    tracks = random_tracks(seed)
    ends = Ends.of(tracks, tracks.ids.numpy(), RATE, SIZE)
    first, second, features = link_candidates(ends, 1.0)
    expected = [
        (i, j)
        for i in range(len(ends.ids))
        for j in range(len(ends.ids))
        if 0.5 / RATE < ends.start[j] - ends.end[i] <= 1.0 + 0.5 / RATE
    ]
    got = list(zip(first.tolist(), second.tolist()))
    assert set(got) <= set(expected) and got == sorted(got)
    assert features.shape == (len(got), len(LINK)) and np.isfinite(features).all()
    near = [p for p in expected if np.hypot(*(ends.first[p[1], :2] - ends.last[p[0], :2])) < 400]
    assert set(near) <= set(got)


def test_interpolates_straight_lines() -> None:
    rows = [(0, 1, 0, 0, 10, 20), (4, 1, 40, 8, 58, 36), (5, 1, 41, 8, 59, 36)]
    filled, features = interpolate(tracks_from(rows), RATE, SIZE, 3.0)
    assert filled.frames.tolist() == [1, 2, 3] and filled.ids.tolist() == [1, 1, 1]
    assert np.allclose(filled.boxes, [[10, 2, 22, 24], [20, 4, 34, 28], [30, 6, 46, 32]])
    assert not filled.observed.any() and filled.scores.tolist() == pytest.approx([0.9] * 3)
    assert features.shape == (3, len(INTERPOLATED)) and np.isfinite(features).all()
    along, gap = features[:, INTERPOLATED.index("along")], features[:, INTERPOLATED.index("gap")]
    assert along == pytest.approx([0.5, 1.0, 0.5]) and gap == pytest.approx([3 / RATE] * 3)


def test_fills_short_gaps_only_and_only_gaps() -> None:
    seconds = 1.0
    rows = tracks_from(
        walk(1, [*range(10), *range(35, 45)], 300),  # 25 missing: exactly a second
        walk(2, [*range(10), *range(36, 45)], 900),  # 26 missing
        walk(3, range(20, 30), 1300),
    )
    filled, _ = interpolate(rows, RATE, SIZE, seconds)
    assert filled.frames.tolist() == list(range(10, 35)) and set(filled.ids.tolist()) == {1}
    nothing, features = interpolate(tracks_from(walk(3, range(20, 30), 1300)), RATE, SIZE, seconds)
    assert len(nothing) == 0 and features.shape == (0, len(INTERPOLATED))


def test_show_decides_how_much_is_filled() -> None:
    tracks = cut(10)

    def count(level: float) -> int:
        how = load_config("reference", [f"tracker.show.interpolated={level}"]).tracker
        refined = refine(tracks, RATE, SIZE, how)
        return int((~refined.observed).sum())

    assert count(0.0) == 10 and count(1.0) == 0
    assert count(0.0) >= count(SETTINGS.show.interpolated) >= count(0.99)


def test_fills_a_walkers_gap_where_he_was() -> None:
    refined = refine(cut(10), RATE, SIZE, SETTINGS)
    filled = refined[~refined.observed]
    assert set(filled.ids.tolist()) == {1} and len(filled) >= 5
    assert np.allclose((filled.boxes[:, 0] + filled.boxes[:, 2]) / 2, 300 + 3 * filled.frames, atol=0.5)


def test_predicted_boxes_are_decided_anew() -> None:
    tracks = cut(10)
    guess = tracks_from(walk(1, range(50, 55), 1700), observed=np.zeros(5, dtype=bool))
    both = Tracks(
        **{
            name: torch.cat([getattr(tracks, name), getattr(guess, name)])
            for name in ("frames", "ids", "boxes", "scores", "classes", "visibility", "observed")
        }
    )
    assert refine(both, RATE, SIZE, SETTINGS) == refine(tracks, RATE, SIZE, SETTINGS)
    assert len(refine(guess, RATE, SIZE, SETTINGS)) == 0  # never seen, so nothing to report


def test_deterministic_idempotent_and_leaves_its_input_alone() -> None:
    tracks = cut(10)
    kept = tracks.replace()
    once = refine(tracks, RATE, SIZE, SETTINGS)
    assert once == refine(tracks, RATE, SIZE, SETTINGS) and tracks == kept
    assert refine(once, RATE, SIZE, SETTINGS) == once


def test_keeps_classes_and_visibility() -> None:
    tracks = cut(10)
    rich = tracks.replace(
        classes=torch.where(tracks.ids == 2, 7, 3), visibility=torch.linspace(0, 1, len(tracks), dtype=torch.float64)
    )
    refined = refine(rich, RATE, SIZE, SETTINGS)
    assert torch.equal(refined.classes, torch.where(refined.ids == 2, 7, 3))
    known = {(f, *b): v for f, b, v in zip(rich.frames.tolist(), rich.boxes.tolist(), rich.visibility.tolist())}
    seen = refined[refined.observed]
    assert seen.visibility.tolist() == [known[f, *b] for f, b in zip(seen.frames.tolist(), seen.boxes.tolist())]
    assert refined.visibility[~refined.observed].isnan().all()


@pytest.mark.parametrize("rows", [[], walk(1, range(1), 300), walk(1, range(3), 300)])
def test_empty_and_tiny_input(rows: list[tuple]) -> None:
    tracks = tracks_from(rows)
    assert refine(tracks, RATE, SIZE, SETTINGS) == tracks == refine(tracks, RATE, None, SETTINGS)


def test_the_frame_rate_sets_the_length_of_a_gap() -> None:
    # 40 missing frames are 1.6 s at 25 frames/s, too long at 10.
    tracks = cut(40, step=1.0)
    assert set(link(tracks, tracks.ids.numpy(), 25.0, SIZE, SETTINGS).tolist()) == {1, 2}
    assert set(link(tracks, tracks.ids.numpy(), 10.0, SIZE, SETTINGS).tolist()) == {1, 2, 4}


def test_common_motion_is_the_cameras_and_not_that_of_one() -> None:
    # Four stand, one walks; in frame 5 the camera jumps by 50 pixels.
    rows = []
    for k in range(4):
        rows += [(t, k + 1, 200.0 * k + 50 * (t >= 5), 0, 200.0 * k + 40 + 50 * (t >= 5), 100) for t in range(10)]
    rows += walk(9, range(10), 300)
    tracks = tracks_from(rows)
    centre = ((tracks.boxes[:, :2] + tracks.boxes[:, 2:]) / 2).numpy()
    shift = common_motion(tracks.frames.numpy(), tracks.ids.numpy(), centre)
    assert shift.shape == (10, 2) and np.allclose(shift[:5], 0) and np.allclose(shift[5:, 0], 50 * 5 / 7)
    alone = common_motion(np.arange(5), np.ones(5, int), np.arange(10.0).reshape(5, 2))
    assert not alone.any()  # one object says nothing about the camera


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.4, 1.0, 2.5]))
@settings(max_examples=25, deadline=None)
def test_no_frame_depends_on_what_comes_after_its_horizon(seed: int, horizon: float) -> None:
    tracks = random_tracks(seed)
    whole = refine(tracks, RATE, SIZE, SETTINGS, horizon)
    last = 70
    known = tracks[tracks.frames <= last + int(horizon * RATE)]
    part = refine(known, RATE, SIZE, SETTINGS, horizon)
    assert part[part.frames <= last] == whole[whole.frames <= last]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_a_long_horizon_is_the_whole_video(seed: int) -> None:
    tracks = random_tracks(seed)
    assert refine(tracks, RATE, SIZE, SETTINGS, 1000.0) == refine(tracks, RATE, SIZE, SETTINGS)


def test_a_gap_is_bridged_when_the_horizon_reaches_over_it() -> None:
    tracks = cut(10)
    linked = refine(tracks, RATE, SIZE, SETTINGS, 4.0)
    assert set(linked.ids.tolist()) == {1, 2}
    short = refine(tracks, RATE, SIZE, SETTINGS, 0.2)
    assert set(short.ids.tolist()) == {1, 2}  # the link looks back; only the boxes in the gap came too late
    assert len(linked) == len(tracks) + 10 > len(short) >= len(tracks)


def test_predicted_boxes_stay_where_nothing_better_is_known() -> None:
    seen = tracks_from(walk(1, range(40), 300), walk(2, range(100), 900, 900))
    guess = tracks_from(walk(1, range(40, 50), 300))
    guess = guess.replace(observed=torch.zeros(len(guess), dtype=torch.bool))
    names = ("frames", "ids", "boxes", "scores", "observed")
    both = Tracks.from_arrays(**{name: torch.cat([getattr(seen, name), getattr(guess, name)]) for name in names})
    assert refine(both, RATE, SIZE, SETTINGS, 0.4) == both
    assert len(refine(both, RATE, SIZE, SETTINGS)) == len(seen)


def test_names_are_those_of_the_last_detection() -> None:
    tracks = tracks_from(walk(1, range(5), 0), walk(2, range(10, 15), 0))
    names = Names.of(tracks, np.where(tracks.ids.numpy() == 1, np.where(tracks.frames.numpy() < 3, 1, 9), 2))
    asked = [names.at(frame, np.array([1, 2, 5])).tolist() for frame in (0, 2, 3, 30)]
    assert asked == [[1, 2, 5], [1, 2, 5], [9, 2, 5], [9, 2, 5]]

"""The reference tracker: identities through crossings, gaps, low scores, camera jumps, frame rates."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from scenegraph_track.config import TrackerSettings, load_config
from scenegraph_track.structures import TrackerState
from scenegraph_track.tracking.reference import Association, associate, start_state
from scenegraph_track.tracking.situation import prepare

SETTINGS = load_config().tracker
SIZE = (1920, 1080)
Step = tuple[TrackerState, Association]


def box(x: float, y: float = 500.0, width: float = 60.0, height: float = 150.0) -> list[float]:
    return [x - width / 2, y - height, x + width / 2, y]


def run(
    frames: list[list[list[float]]],
    rate: float = 10.0,
    scores: list[list[float]] | None = None,
    times: np.ndarray | None = None,
    settings: TrackerSettings = SETTINGS,
    size: tuple[int, int] | None = SIZE,
) -> list[Step]:
    state, steps = start_state(), []
    for t, boxes in enumerate(frames):
        found = np.array(boxes, dtype=float).reshape(-1, 4)
        sure = np.full(len(found), 0.9) if scores is None else np.array(scores[t], dtype=float)
        when = t / rate if times is None else float(times[t])
        state, decided = associate(prepare(state, settings, when, found, sure, image_size=size))
        steps.append((state, decided))
    return steps


def names(steps: list[Step]) -> list[dict[int, int]]:
    """Per frame: detection row -> identity."""
    out = []
    for _, d in steps:
        seen = d.detection >= 0
        out.append(dict(zip(d.detection[seen].tolist(), d.tracks.ids[seen].tolist())))
    return out


def test_first_frame_confirms_at_once_and_later_births_need_a_second_look() -> None:
    steps = run([[box(100)], [box(100), box(900)], [box(100), box(900)]])
    assert names(steps) == [{0: 1}, {0: 1}, {0: 1, 1: 2}]


def test_nothing_in_the_first_frames_is_no_trouble() -> None:
    assert names(run([[], [], [box(100)], [box(102)], []])) == [{}, {}, {}, {0: 1}, {}]


def test_identities_through_a_crossing() -> None:
    # Two walkers cross; while they overlap most, one of them is not detected.
    left, right = [box(300 + 12 * t) for t in range(40)], [box(780 - 12 * t, 520) for t in range(40)]
    frames = [[a, b] if abs(a[0] - b[0]) > 30 else [b] for a, b in zip(left, right)]
    got = names(run(frames))
    assert got[0] == got[-1] == {0: 1, 1: 2}
    assert {i for frame in got for i in frame.values()} == {1, 2}


@pytest.mark.parametrize("gap", [1, 3, 8])
def test_identity_through_a_gap_at_walking_speed(gap: int) -> None:
    frames = [[box(300 + 15 * t)] if not 15 <= t < 15 + gap else [] for t in range(35)]
    steps = run(frames)
    assert names(steps)[-1] == {0: 1}
    hidden = steps[14 + gap][1]
    assert hidden.tracks.ids.tolist() == [1] and hidden.detection.tolist() == [-1]
    assert abs(hidden.boxes[0, 0] - (box(300 + 15 * (14 + gap)))[0]) < 15  # the prediction walks on


@pytest.mark.parametrize("rate", [5.0, 30.0])
@pytest.mark.parametrize("horizon", [0.5, 2.0])
def test_hidden_horizon_is_in_seconds(rate: float, horizon: float) -> None:
    settings = load_config("reference", [f"tracker.life.hidden_seconds={horizon}"]).tracker
    long = round(4 * rate)
    steps = run([[box(500)]] * 5 + [[]] * long, rate, settings=settings)
    last = [t for t, (_, d) in enumerate(steps) if len(d.tracks) and not d.left[0]][-1]
    assert (last - 4) / rate == pytest.approx(horizon, abs=1 / rate)
    assert steps[last + 1][1].left.tolist() == [True]  # it is told once that it left
    assert len(steps[last + 2][1].tracks) == 0 and len(steps[-1][0].tracks) == 0


def test_an_object_that_walks_out_has_left_at_once() -> None:
    # One leaves through the right border, the other is hidden in the middle at the same moment.
    frames = [[box(1650 + 20 * t), box(600, 700)] if t < 14 else [] for t in range(20)]
    steps = run(frames)
    gone = [t for t, (_, d) in enumerate(steps) if d.left[d.tracks.ids == 1].any()]
    assert len(gone) == 1 and gone[0] <= 16
    assert 2 in steps[-1][0].tracks.ids and 1 not in steps[-1][0].tracks.ids
    unknown = run(frames, size=None)  # without the size of the image both are hidden
    assert set(unknown[-1][0].tracks.ids.tolist()) == {1, 2}


def test_ids_are_never_used_again() -> None:
    frames = [[box(200 + 400 * (t // 30 % 4), 400 + 200 * (t // 120))] if t % 30 < 8 else [] for t in range(240)]
    steps = run(frames)
    seen: list[int] = []
    for frame in names(steps):
        seen += [i for i in frame.values() if not seen or i != seen[-1]]
    assert seen == sorted(set(seen)) == list(range(1, 9))


def test_low_scores_keep_a_track_and_start_none() -> None:
    # An object fades to 0.3 while it is half covered; elsewhere lasting detections of 0.3 are nobody.
    rng = np.random.default_rng(0)
    fading = [0.9] * 12 + [0.3] * 10 + [0.9] * 5
    others = [[box(200, 900), box(500, 900)]] * 27
    frames = [[box(300 + 10 * t + rng.normal(), 500), *o, box(1500, 300)] for t, o in enumerate(others)]
    steps = run(frames, scores=[[s, 0.9, 0.9, 0.3] for s in fading])
    got = names(steps)
    assert all(frame[0] == 1 for frame in got)
    assert all(3 not in frame for frame in got)


def test_detections_below_low_are_ignored() -> None:
    steps = run([[box(300)]] * 6, scores=[[0.9]] * 3 + [[0.05]] * 3)
    assert names(steps)[3:] == [{}, {}, {}]


def test_the_same_scene_at_ten_and_thirty_frames_a_second() -> None:
    # Walkers crossing and one hidden for 0.6 s; times carry the rate, so identities are the same at common moments.
    def scene(t: float) -> list[list[float]]:
        boxes = [box(200 + 120 * t, 400), box(900 - 100 * t, 410), box(500, 900)]
        return boxes[:2] if 2.0 < t < 2.6 else boxes

    slow = names(run([scene(t / 10) for t in range(60)], 10))
    fast = names(run([scene(t / 30) for t in range(180)], 30))
    assert slow[1:] == fast[3::3] and set(slow[-1].values()) == {1, 2, 3}


def test_uneven_time_steps() -> None:
    # Frames are dropped at random; one walker keeps his identity because prediction uses the real times.
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.choice([0.04, 0.08, 0.12, 0.3], 60))
    got = names(run([[box(100 + 130 * t), box(1200 - 60 * t, 900)] for t in times], times=times))
    assert all(frame == {0: 1, 1: 2} for frame in got)


def test_a_jump_of_the_camera_is_voted_for() -> None:
    # The view jumps by more than a box width; everyone keeps his name, by the vote alone.
    xs, ys = np.meshgrid(np.arange(150, 1800, 200), [300, 600, 900])
    base = [box(x, y) for x, y in zip(xs.ravel(), ys.ravel())]
    jumps = [0] * 10 + [70] * 10
    frames = [[list(np.array(b) + np.array([j, 0, j, 0])) for b in base] for j in jumps]
    assert names(run(frames))[-1] == {i: i + 1 for i in range(len(base))}
    without = load_config("reference", ["tracker.motion.vote=false"]).tracker
    assert names(run(frames, settings=without))[-1] != {i: i + 1 for i in range(len(base))}


def test_a_known_camera_motion_moves_hidden_tracks_too() -> None:
    state = start_state()
    found = np.array([box(400), box(900)])
    for t in range(6):
        state, _ = associate(prepare(state, SETTINGS, t / 10, found, np.full(2, 0.9)))
    shift = np.array([[1.0, 0, -200], [0, 1, 30]])
    there = found[:1] + np.array([-200, 30, -200, 30])
    _, decided = associate(prepare(state, SETTINGS, 0.6, there, np.ones(1), None, shift, SIZE))
    assert decided.detection.tolist() == [0, -1]
    assert np.allclose(decided.boxes[1], found[1] + [-200, 30, -200, 30], atol=1)
    zoom = np.array([[2.0, 0, 0], [0, 2, 0]])
    _, decided = associate(prepare(state, SETTINGS, 0.6, found * 2, np.ones(2), None, zoom))
    assert decided.detection.tolist() == [0, 1] and np.allclose(decided.predicted, found * 2, atol=2)


def test_state_stays_finite_through_long_empty_stretches_and_large_pauses() -> None:
    times = np.concatenate([np.arange(30) / 10, 3 + np.arange(500) / 10, [1e4, 1e4 + 0.1, 1e7]])
    frames = [[box(300 + 5 * t), box(1000)] for t in range(30)] + [[]] * 500 + [[box(300)], [box(300)], [box(300)]]
    for state, decided in run(frames, times=times):
        for f in fields(state.tracks):
            values = getattr(state.tracks, f.name)
            assert f.name in ("mark_time", "depth") or np.isfinite(values).all(), f.name
        assert np.isfinite(decided.boxes).all() and np.isfinite(state.filter_errors).all()
        assert (decided.boxes[:, 2:] >= decided.boxes[:, :2]).all()
        assert len(state.score_memory) <= SETTINGS.scores.memory
    state.tracks.check()


def test_a_thousand_detections_of_one_score() -> None:
    xs, ys = np.meshgrid(np.arange(50) * 80.0, np.arange(20) * 160.0)
    frames = [[box(x + 2 * t, y) for x, y in zip(xs.ravel(), ys.ravel())] for t in range(3)]
    got = names(run(frames, scores=[[0.8] * 1000] * 3, size=None))
    assert got[0] == got[1] == got[2] and len(set(got[0].values())) == 1000


def test_boxes_without_area_do_no_harm() -> None:
    steps = run([[[5, 5, 5, 5], box(300)], [[5, 5, 5, 5], box(303)], [[5, 5, 9, 5], box(306)]])
    assert [frame.get(1) for frame in names(steps)] == [2, 2, 2]


@pytest.mark.parametrize("score", [-1.0, 1.0, 57.0])
def test_constant_scores_track_from_the_first_frame(score: float) -> None:
    got = names(run([[box(300), box(900)]] * 40, scores=[[score] * 2] * 40))
    assert all(frame == {0: 1, 1: 2} for frame in got)


def test_a_step_leaves_its_arguments_alone_and_keeps_no_hold_on_them() -> None:
    found, sure, classes = np.array([box(300), box(900)]), np.array([0.9, 0.8]), np.array([1, 2])
    state, _ = associate(prepare(start_state(), SETTINGS, 0.0, found, sure, classes))
    arrays = [found.copy(), sure.copy(), classes.copy()]
    before = {f.name: getattr(state.tracks, f.name).copy() for f in fields(state.tracks)}
    after, _ = associate(prepare(state, SETTINGS, 0.1, found, sure, classes))
    assert all(np.array_equal(a, b) for a, b in zip(arrays, (found, sure, classes)))
    assert all(np.array_equal(v, getattr(state.tracks, k), equal_nan=v.dtype.kind == "f") for k, v in before.items())
    kept = after.last_boxes.copy(), after.last_scores.copy(), after.tracks.last_box.copy()
    found += 500
    sure[:] = 0
    assert np.array_equal(after.last_boxes, kept[0]) and np.array_equal(after.last_scores, kept[1])
    assert np.array_equal(after.tracks.last_box, kept[2])


def test_classes_never_mix() -> None:
    # A detection of another class at the same place starts a track of its own; without classes everything may match.
    state = start_state()
    for t, label in enumerate([1, 3, 3, 1]):
        classes = np.array([label], dtype=np.uint8)
        state, decided = associate(prepare(state, SETTINGS, t / 10, np.array([box(300)]), np.ones(1), classes))
    assert dict(zip(decided.tracks.classes.tolist(), decided.tracks.ids.tolist(), strict=True)) == {1: 1, 3: 2}
    assert decided.detection[decided.tracks.classes == 1].tolist() == [0]


def test_an_object_that_swings_keeps_its_identity() -> None:
    # At each turn the prediction overshoots; where the object was in the last frame still overlaps it.
    state, seen = start_state(), set()
    for k in range(100):
        x = 300 + 60 * np.sin(5 * k / 25)
        state, decided = associate(prepare(state, SETTINGS, k / 25, np.array([[x, 100, x + 40, 200]]), np.ones(1)))
        seen |= set(decided.tracks.ids[decided.detection >= 0].tolist())
    assert len(seen) <= 2


def test_candidates_hold_every_pair_that_was_weighed() -> None:
    # Two close walkers: each track weighs both detections, the chosen ones among them.
    steps = run([[box(300), box(340)]] * 3)
    _, decided = steps[-1]
    pairs = {(int(a), int(b)) for a, b, _ in decided.candidates.T}
    assert pairs == {(0, 0), (0, 1), (1, 0), (1, 1)}
    chosen = {(k, int(d)) for k, d in enumerate(decided.detection)}
    assert chosen <= pairs and (decided.candidates[2] <= 1 + 1e-9).all()
    assert decided.last_seen.tolist() == pytest.approx([0.1, 0.1])

"""Figures of points that are followed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track.evaluation.point_clips import PointClip
from scenegraph_track.evaluation.points import clip_figures, point_figures

FRAMES = 5


def clip(seen: np.ndarray, size: tuple[int, int] = (256, 256), on_object: np.ndarray | None = None) -> PointClip:
    """Points that do not move, asked for in the first frame."""
    count = len(seen)
    tracks = np.tile(np.arange(20.0, 20 + count)[:, None, None], (1, FRAMES, 2)).astype(np.float32)
    queries = np.column_stack([np.zeros(count), tracks[:, 0]]).astype(np.float32)
    counted = np.tile(np.arange(FRAMES) > 0, (count, 1))
    images = [torch.zeros(3, size[1], size[0], dtype=torch.uint8)] * FRAMES
    on_object = np.zeros(count, bool) if on_object is None else on_object
    return PointClip("a", images, queries, tracks, seen, counted, on_object)


SEEN = np.array([[1, 1, 1, 0, 1], [1, 1, 0, 0, 1], [1, 1, 1, 1, 1]], bool)


def test_perfect() -> None:
    one = clip(SEEN)
    found = clip_figures(one, one.tracks, SEEN)
    assert found == {"occlusion_accuracy": 100, "delta_avg": 100, "average_jaccard": 100, "hidden_error": 0}


def test_all_told_hidden() -> None:
    one = clip(SEEN)
    found = clip_figures(one, one.tracks, np.zeros_like(SEEN))
    assert found["occlusion_accuracy"] == pytest.approx(100 * 3 / 12)
    assert (found["delta_avg"], found["average_jaccard"]) == (100, 0)


def test_off_by_three_pixels() -> None:
    # Near enough at 4, 8 and 16 pixels of five thresholds; scaled to 256 x 256, in half the size it is six: two.
    one, half = clip(SEEN), clip(SEEN, (128, 128))
    found = clip_figures(one, one.tracks + np.array([3, 0]), SEEN)
    assert found["delta_avg"] == found["average_jaccard"] == 60 and found["hidden_error"] == 3
    found = clip_figures(half, half.tracks + np.array([0, 3]), SEEN)
    assert found["delta_avg"] == found["average_jaccard"] == 40 and found["hidden_error"] == 6
    wide = clip(SEEN, (256, 128))
    assert [clip_figures(wide, wide.tracks + off, SEEN)["delta_avg"] for off in np.array([[3, 0], [0, 3]])] == [60, 40]


def test_nothing_found_is_not_near() -> None:
    one = clip(SEEN)
    found = clip_figures(one, np.full_like(one.tracks, np.nan), SEEN)
    assert (found["occlusion_accuracy"], found["delta_avg"], found["average_jaccard"]) == (100, 0, 0)
    assert np.isnan(found["hidden_error"])


def test_points_on_objects_stand_apart() -> None:
    one = clip(SEEN, on_object=np.array([True, False, False]))
    found = clip_figures(one, one.tracks + np.array([3.0, 0, 0])[:, None, None], SEEN)
    assert (
        found["delta_avg_objects"] == 40 and found["delta_avg"] == 80
    )  # off by 3 in both axes: 4.2, of three, six, three that are seen


def average_jaccard(queries, occluded, tracks, told_occluded, told) -> float:
    """TAP-Vid (Doersch et al., 2022), point by point and frame by frame."""
    jaccards = []
    for threshold in (1, 2, 4, 8, 16):
        true = false = missed = 0
        for n in range(len(tracks)):
            for t in range(int(queries[n, 0]) + 1, tracks.shape[1]):
                near = np.hypot(*(told[n, t] - tracks[n, t])) < threshold
                if not occluded[n, t] and not told_occluded[n, t] and near:
                    true += 1
                    continue
                false += not told_occluded[n, t]
                missed += not occluded[n, t]
        jaccards.append(true / (true + false + missed))
    return 100 * float(np.mean(jaccards))


def test_average_jaccard_agrees_with_counting() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        one = clip(rng.random((9, FRAMES)) < 0.6)
        first = rng.integers(0, 3, 9)
        one.queries[:, 0] = first
        one.counted[:] = np.arange(FRAMES) > first[:, None]
        told, positions = rng.random((9, FRAMES)) < 0.6, one.tracks + rng.normal(0, 4, one.tracks.shape)
        expected = average_jaccard(one.queries, ~one.seen, one.tracks, ~told, positions)
        assert clip_figures(one, positions, told)["average_jaccard"] == pytest.approx(expected, abs=1e-6)


def test_clips_count_alike_and_those_without_a_figure_do_not() -> None:
    one, two = clip(SEEN), clip(np.ones((1, FRAMES), bool))
    found = point_figures([(one, one.tracks, SEEN), (two, two.tracks + np.array([3, 0]), np.ones((1, FRAMES), bool))])
    assert found["delta_avg"] == 80 and found["hidden_error"] == 0
    nothing = clip(np.eye(1, FRAMES, dtype=bool))
    assert np.isnan(clip_figures(nothing, nothing.tracks, nothing.seen)["average_jaccard"])
    assert point_figures([]) == {}

"""Accuracy, robustness and expected average overlap of runs from anchors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from scenegraph_track.evaluation.vot import (
    INTERVAL,
    AnchorRun,
    AnchorRuns,
    choose_interval,
    frames_of,
    overlap_curve,
    place_anchors,
    region_overlaps,
    vot_figures,
)


def run(*overlaps: float, absent: tuple[int, ...] = ()) -> AnchorRun:
    present = np.ones(len(overlaps), bool)
    present[list(absent)] = False
    return AnchorRun(np.array(overlaps), present)


def test_failure_is_ten_bad_frames_in_a_row() -> None:
    # Nine are none; an overlap of .1 is bad; a frame without the target breaks the row; a failure is for ever.
    assert run(1, 0.8, *[0.1] * 10, 0.9).progress == 2
    assert run(1, 0.8, *[0.1] * 9, 0.9).progress == 12
    assert run(1, 0.8, *[0.0] * 12, absent=(8,)).progress == 14
    assert run(1, 0.8, *[0.0] * 20, absent=(8,)).progress == 9
    failed = run(1, 0.5, 0.4, *[0.0] * 10, *[0.9] * 5)
    assert failed.progress == 3 and failed.kept.tolist() == [0, 0.5, 0.4] + [0] * 15
    # The first frame, in which the box is told, has no overlap; it counts in a row.
    assert run(1, *[0.0] * 9).progress == 0 and run(1, *[0.0] * 8).progress == 9


def test_figures_of_a_small_example() -> None:
    # Worked by hand: a run of 4 frames that does not fail, one of 14 that fails at frame 3, one of 4 in another video.
    good, bad, other = run(1, 0.6, 0.4, 0.2), run(1, 0.5, 0.4, *[0.0] * 11), run(1, 0.9, 0.9, 0.9)
    figures = vot_figures([AnchorRuns(14, (good, bad)), AnchorRuns(4, (other,))], (1, 3))
    assert figures["accuracy"] == pytest.approx((1.2 + 0.9 + 2.7) / (4 + 3 + 4))
    assert figures["robustness"] == pytest.approx((14 * (4 + 3) / 18 + 4 * 1) / 18)
    curve = [(0.6 + 0.5 + 0.9) / 3, (0.5 + 0.45 + 0.9) / 3, (0.4 + 0.3 + 0.9) / 3]
    assert figures["eao"] == pytest.approx(np.mean(curve))
    assert vot_figures([AnchorRuns(10, (run(1, *[0.0] * 9),))], (1, 5)) == {"accuracy": 0, "robustness": 0, "eao": 0}


def brute_curve(runs: list[AnchorRun], longest: int) -> list[float]:
    """As the definition reads, frame by frame."""
    curve = [0.0]
    for j in range(1, longest + 1):
        means = []
        for one in runs:
            inside = [one.overlaps[k] if k < one.progress else 0.0 for k in range(1, len(one))]
            if j < len(one):
                means.append(sum(inside[:j]) / j)
            elif one.progress < len(one):
                means.append(sum(inside) / (j - 1))
        curve.append(float(np.mean(means)) if means else 0.0)
    return curve


def test_curve_by_brute_force() -> None:
    # A run that has failed goes on as zeros behind its end, one that has not is left out there.
    rng = np.random.default_rng(0)
    runs = [
        run(*rng.uniform(0.2, 1, rng.integers(5, 20)), *([0.0] * 12 if failing else []))
        for failing in (False, True, False, True, True)
    ]
    assert sum(one.progress < len(one) for one in runs) == 3
    np.testing.assert_allclose(overlap_curve(runs, 60), brute_curve(runs, 60))
    assert (overlap_curve([run(1, 0.5, 0.5)], 5)[3:] == 0).all()


def test_interval() -> None:
    # That of VOT where runs are long enough for it, else all lengths.
    def of(length: int) -> list[AnchorRuns]:
        return [AnchorRuns(length, (run(*[0.5] * length),))]

    assert choose_interval(of(60)) == (1, 59) and choose_interval(of(116)) == INTERVAL == (115, 755)
    assert vot_figures(of(60))["eao"] == pytest.approx(0.5)


def test_anchors() -> None:
    # Every 50 frames and the last one; in the direction in which more frames lie; where the target can be seen.
    assert place_anchors(np.ones(121, bool)) == [(0, 1), (50, 1), (100, -1), (120, -1)]
    assert place_anchors(np.zeros(20, bool)) == []
    visible = np.ones(121, bool)
    visible[48:60] = visible[115:] = False
    assert place_anchors(visible) == [(0, 1), (47, 1), (100, -1), (114, -1)]
    assert list(frames_of((3, 1), 6)) == [3, 4, 5] and list(frames_of((3, -1), 6)) == [3, 2, 1, 0]


def rastered(box: NDArray, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of a box, from the rounded first to the rounded last one."""
    mask = np.zeros(size[::-1], bool)
    left, top, right, bottom = round(box[0]), round(box[1]), round(box[2] - 1), round(box[3] - 1)
    mask[max(top, 0) : max(bottom + 1, 0), max(left, 0) : max(right + 1, 0)] = True
    return mask


def test_regions_are_whole_pixels_in_the_image() -> None:
    rng = np.random.default_rng(2)
    corner, size = rng.uniform(-8, 30, (100, 2)), (36, 28)
    truth = np.concatenate([corner, corner + rng.uniform(4, 20, (100, 2))], 1)
    found = truth + rng.normal(0, 3, truth.shape)
    overlaps = region_overlaps(truth, found, size)
    masks = [(rastered(a, size), rastered(b, size)) for a, b in zip(truth, found)]
    wanted = [(a & b).sum() / max((a | b).sum(), 1) for a, b in masks]
    np.testing.assert_allclose(overlaps, wanted, atol=1e-12)
    continuous = region_overlaps(truth, found, size, "continuous")
    assert 0 < np.abs(overlaps - continuous).max() < 0.3
    found[3], truth[4] = np.nan, np.nan
    assert (region_overlaps(truth, found, size)[3:5] == 0).all()

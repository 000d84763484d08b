"""Figures of a box a frame: by brute force, by the got10k toolkit, and where the target is absent."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.single import (
    Judged,
    box_overlaps,
    centre_offsets,
    held_boxes,
    into_image,
    judge_boxes,
    mean_curves,
    single_figures,
)

SIZE = (64, 48)
NONE = np.full(4, np.nan)


def random_boxes(rng: np.random.Generator, count: int, whole: bool = False) -> NDArray[np.float64]:
    """Boxes of which some reach over the border of the image."""
    corner, sides = rng.uniform(-6, 50, (count, 2)), rng.uniform(3, 25, (count, 2))
    boxes = np.concatenate([corner, corner + sides], 1)
    return np.round(boxes) if whole else boxes


def near(rng: np.random.Generator, boxes: NDArray) -> NDArray[np.float64]:
    """The same boxes a little aside, as a tracker finds them."""
    return boxes + np.repeat(rng.normal(0, 4, (len(boxes), 2)), 2, 1).reshape(-1, 2, 2).swapaxes(1, 2).reshape(-1, 4)


def sequence(seed: int, count: int = 40) -> tuple[NDArray, NDArray, NDArray[np.bool_]]:
    """Truth, with absent frames, and what a tracker found."""
    rng = np.random.default_rng(seed)
    truth = random_boxes(rng, count)
    found = near(rng, truth)
    absent = rng.random(count) < 0.2
    absent[0] = False
    return np.where(absent[:, None], np.nan, truth), found, absent


def overlap_of(a: Any, b: Any) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union else 0.0


def test_overlaps_count_pixels() -> None:
    # Boxes of whole pixels: the pixels that both have over the pixels that either has.
    rng = np.random.default_rng(0)
    truth, found = random_boxes(rng, 60, whole=True), random_boxes(rng, 60, whole=True)
    for pixels in ("continuous", "inclusive"):
        for row, (a, b) in enumerate(zip(truth.astype(int), found.astype(int))):
            sets = [{(x, y) for x in range(one[0], one[2]) for y in range(one[1], one[3])} for one in (a, b)]
            wanted = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
            assert box_overlaps(truth, found, pixels)[row] == pytest.approx(wanted)


def test_both_conventions_of_pixels_agree() -> None:
    # Of boxes given as corner, width and height; that is why the choice changes no figure but by rounding.
    rng = np.random.default_rng(1)
    truth = random_boxes(rng, 200)
    found = near(rng, truth)
    assert (box_overlaps(truth, found) > 0.1).mean() > 0.5
    for measure in (box_overlaps, centre_offsets):
        np.testing.assert_allclose(measure(truth, found, "inclusive"), measure(truth, found), atol=1e-12)


def test_boxes_without_area_overlap_nothing() -> None:
    box, line = np.array([[0.0, 0, 4, 4]]), np.array([[2.0, 2, 2, 4]])
    assert box_overlaps(box, line)[0] == box_overlaps(line, line)[0] == 0


def test_boxes_are_held() -> None:
    boxes = np.array([[0.0, 0, 1, 1], NONE, NONE, [2, 2, 3, 3], NONE])
    assert held_boxes(boxes)[:, 0].tolist() == [0, 0, 0, 2, 2]
    with pytest.raises(UserError, match="first box"):
        held_boxes(boxes[1:])


def test_figures_by_brute_force() -> None:
    # Three sequences with absent frames: counted as failures but by GOT-10k, which pools what is left.
    parts = [sequence(seed, 30 + 10 * seed) for seed in range(3)]
    found = single_figures([judge_boxes(truth, boxes, absent, SIZE) for truth, boxes, absent in parts])
    aucs, near20, normed, areas, op50, pooled = [], [], [], [], [], []
    for truth, boxes, absent in parts:
        overlaps, errors, shares = [], [], []
        for frame in range(len(truth)):
            box = truth[0] if frame == 0 else boxes[frame]
            if absent[frame]:
                overlaps.append(-1.0)
                errors.append(np.inf)
                shares.append(np.inf)
                continue
            true = truth[frame]
            dx, dy = ((box[k] + box[k + 2]) / 2 - (true[k] + true[k + 2]) / 2 for k in (0, 1))
            overlaps.append(overlap_of(true, box))
            errors.append(np.hypot(dx, dy))
            shares.append(np.hypot(dx / (true[2] - true[0]), dy / (true[3] - true[1])))
            if frame:
                pooled.append(overlap_of(*into_image(np.array([true, box]), SIZE)))
        aucs.append(np.mean([np.mean([one > k / 20 for one in overlaps]) for k in range(21)]))
        near20.append(np.mean([one <= 20 for one in errors]))
        normed.append(np.mean([one <= 0.2 for one in shares]))
        areas.append(np.mean([np.mean([one <= k / 100 for one in shares]) for k in range(51)]))
        op50.append(np.mean([one > 0.5 for one in overlaps]))
    wanted = {"auc": aucs, "precision20": near20, "pnorm": normed, "pnorm_area": areas, "op50": op50, "ao": pooled}
    for name, values in wanted.items():
        assert found[name] == pytest.approx(np.mean(values)), name
    assert found["sr50"] == np.mean(np.array(pooled) > 0.5) and found["sr75"] == np.mean(np.array(pooled) > 0.75)
    assert 0 < found["auc"] < found["ao"]


def test_a_perfect_tracker() -> None:
    # All figures are 1 but the area under the success curve: no overlap is above 1. Its first box is not asked for.
    truth, _, _ = sequence(5)
    truth = np.where(np.isnan(truth), truth[0], truth)
    found = truth.copy()
    found[0] = NONE
    figures = single_figures([judge_boxes(truth, found, np.zeros(len(truth), bool), None)])
    assert figures.pop("auc") == pytest.approx(20 / 21)
    assert figures.keys() >= {"ao", "sr50", "sr75", "precision20", "pnorm", "pnorm_area", "op50", "op75"}
    assert set(figures.values()) == {1.0}


def test_absent_frames_fail_or_are_left_out() -> None:
    # A box without area is no truth either; GOT-10k never counts such frames; said absence counts as the last box.
    box = np.array([10.0, 10, 20, 20])
    truth = np.stack([box, box, NONE, np.array([5.0, 5, 5, 9]), box])
    said = np.stack([box, box, NONE, NONE, NONE])
    absent = np.array([False, True, False, False, False])
    failing = judge_boxes(truth, said, absent, SIZE)
    assert failing.overlap.tolist() == [1, -1, -1, -1, 1] and np.isinf(failing.error[1:4]).all()
    assert failing.inside.tolist() == [1.0] and failing.success[0] == 0.4 and failing.precision[20] == 0.4
    kept = judge_boxes(truth, said, absent, SIZE, without_absent=True)
    assert kept.overlap.tolist() == [1, 1] and kept.success[0] == kept.normalised_precision[0] == 1


def test_thresholds_are_strict_for_overlap_only() -> None:
    # An overlap of exactly .5 is no success at .5; an error of exactly 20 pixels counts.
    truth = np.array([[0.0, 0, 10, 10]] * 3)
    found = np.array([[0.0, 0, 10, 10], [0, 0, 10, 5], [20, 0, 30, 10]])
    judged = judge_boxes(truth, found, np.zeros(3, bool), None)
    assert judged.overlap.tolist() == [1, 0.5, 0] and single_figures([judged])["op50"] == pytest.approx(1 / 3)
    assert judged.error.tolist() == [0, 2.5, 20] and single_figures([judged])["precision20"] == 1


def test_into_the_image_as_the_toolkit_does() -> None:
    # At the left and upper border a box is moved, at the right and lower one it is cut.
    boxes = np.array([[-10.0, -4, 5, 6], [60, 40, 80, 60], [70, 50, 80, 60]])
    assert into_image(boxes, SIZE).tolist() == [[0, 0, 15, 10], [60, 40, 64, 48], [64, 48, 64, 48]]


def test_curves_fall_and_rise() -> None:
    judged = [judge_boxes(*sequence(seed), SIZE) for seed in range(2)]
    success, precision, normalised = mean_curves(judged)
    assert (success.shape, precision.shape, normalised.shape) == ((21,), (51,), (51,))
    assert all(a >= b for a, b in pairwise(success)) and success[0] > success[-1]
    assert all(a <= b for a, b in pairwise(precision)) and all(a <= b for a, b in pairwise(normalised))
    assert success[5] == pytest.approx(np.mean([one.success[5] for one in judged]))


def test_errors_are_one_sentence() -> None:
    truth, found, absent = sequence(0)
    with pytest.raises(UserError, match="expected 40 boxes, one a frame, found 39"):
        judge_boxes(truth, found[1:], absent, SIZE)
    with pytest.raises(UserError, match="first frame has no true box"):
        judge_boxes(np.roll(truth, 1, 0) * np.nan, found, absent, SIZE)


def wh(boxes: NDArray) -> NDArray[np.float64]:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


def test_otb_figures_are_those_of_the_toolkit() -> None:
    metrics = pytest.importorskip("got10k.utils.metrics")
    rng = np.random.default_rng(3)
    truth = random_boxes(rng, 300)
    found = near(rng, truth)
    found[0] = truth[0]
    judged = judge_boxes(truth, found, np.zeros(300, bool), None)
    np.testing.assert_allclose(judged.overlap, metrics.rect_iou(wh(found), wh(truth)), atol=1e-9)
    np.testing.assert_allclose(judged.error, metrics.center_error(wh(found), wh(truth)), atol=1e-9)
    otb = pytest.importorskip("got10k.experiments").ExperimentOTB
    experiment: Any = otb.__new__(otb)
    experiment.nbins_iou, experiment.nbins_ce = 21, 51
    success, precision = experiment._calc_curves(*experiment._calc_metrics(wh(found), wh(truth)))
    np.testing.assert_allclose(judged.success, success)
    np.testing.assert_allclose(judged.precision, precision)


def test_got10k_figures_are_those_of_the_toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its whole report on two sequences on disk: frames without the target, boxes over the border, pooled frames.
    experiments = pytest.importorskip("got10k.experiments")
    judged: list[Judged] = []
    for seed, name in ((7, "a"), (8, "b")):
        truth, found, absent = sequence(seed, 20 + seed)
        folder, results = tmp_path / "val" / name, tmp_path / "results" / "GOT-10k" / "ours" / name
        for path in (folder, results):
            path.mkdir(parents=True)
        truth = np.where(absent[:, None], truth[0], truth)
        for frame in range(len(truth)):
            (folder / f"{frame:08d}.jpg").touch()
        np.savetxt(folder / "groundtruth.txt", wh(truth), delimiter=",", fmt="%.17g")
        np.savetxt(folder / "cover.label", np.where(absent, 0, 8), fmt="%d")
        for label in ("absence", "cut_by_image"):
            np.savetxt(folder / f"{label}.label", absent, fmt="%d")
        (folder / "meta_info.ini").write_text(f"[METAINFO]\nresolution: {SIZE}\n")
        np.savetxt(results / f"{name}_001.txt", wh(found), delimiter=",", fmt="%.17g")
        np.savetxt(results / f"{name}_time.txt", np.ones(len(truth)))
        judged.append(judge_boxes(truth, found, absent, SIZE))
    (tmp_path / "val" / "list.txt").write_text("a\nb")
    monkeypatch.setattr(experiments.ExperimentGOT10k, "plot_curves", lambda *_: None)
    toolkit = experiments.ExperimentGOT10k(
        str(tmp_path), "val", str(tmp_path / "results"), str(tmp_path / "reports")
    ).report(["ours"])["ours"]
    figures = single_figures(judged)
    assert figures["ao"] == pytest.approx(toolkit["overall"]["ao"], abs=1e-9)
    assert figures["sr50"] == pytest.approx(toolkit["overall"]["sr"], abs=1e-12)
    for name, one in zip("ab", judged):
        assert single_figures([one])["ao"] == pytest.approx(toolkit["seq_wise"][name]["ao"], abs=1e-9)

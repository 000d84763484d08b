"""Figures of the scene graph by hand."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.training.scene_figures import box_figures, hider_figures, left_figures, precision_figures


def test_precision_by_hand() -> None:
    scores, truth = np.array([0.9, 0.8, 0.4, 0.4, 0.1]), np.array([1, 0, 1, 0, 0], bool)
    found = precision_figures(scores, truth)
    assert found == pytest.approx({"ap": 50 + 25, "f1": 50, "best_f1": 200 / 3})  # ties count at once
    assert np.isnan(precision_figures(scores, truth & False)["ap"])


def test_left_and_hider_by_hand() -> None:
    rows = {
        "away": np.array([0.5, 0.5, 2.0, 2.0]),
        "truth": np.array([True, False, True, False]),
        "tracker": np.array([False, False, True, True]),
        "outside": np.array([True, False, False, False]),
        "learned": np.array([True, False, True, False]),
    }
    found = left_figures(rows)["all"]
    assert [found[name]["mean"] for name in ("tracker", "outside", "learned")] == [50, 75, 100]
    assert found["tracker"] == {"hidden": 50, "left": 50, "mean": 50} and found["hidden"] == 2
    truth = np.array([2, 2, -1, 0])
    by = {"truth": truth, "covered": truth, "much covered": np.array([2, 1, 1, -1]), "learned": np.full(4, -1)}
    found = hider_figures(by)
    assert found["covered"]["f1"] == pytest.approx(100) and found["learned"]["f1"] == 0
    assert found["much covered"]["precision"] == found["much covered"]["recall"] == pytest.approx(100 / 3)


def test_calibration_by_hand() -> None:
    z = np.array([[0.5, 0.5, 1.5, 3]])
    rows = {"away": np.array([0.3]), "iou filter": np.array([0.4]), "z filter": z, "log filter": np.zeros((1, 4))}
    found = box_figures(rows)
    expected = {"iou": 40, "within1": 50, "within2": 75, "nll": (0.5 + 2.25 + 9) / 8}
    assert found["0.25 s"]["filter"] == pytest.approx(expected) and found["2 s"] == {"boxes": 0}

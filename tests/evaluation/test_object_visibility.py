"""How well visible parts are told: figures by hand and by scikit-learn, and what the held-out worlds hold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from scenegraph_track.evaluation.object_visibility import (
    ALWAYS,
    POINTS,
    SOLVER,
    SURFACE,
    VisibilityClip,
    VisibilityWorlds,
    average_precision,
    visibility_figures,
    visibility_methods,
)
from tests.occlusion.tiny_points import tiny_net, tiny_solver
from tests.occlusion.tiny_surface import tiny_surface


def clip(fraction: np.ndarray, counted: np.ndarray | None = None) -> VisibilityClip:
    objects = len(fraction)
    there = np.ones(fraction.shape, bool) if counted is None else counted
    return VisibilityClip("c", (), np.zeros((objects, 4)), np.zeros(objects, int), fraction, there)


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, told = rng.random((6, 20)), np.round(rng.random((6, 20)), 1)
    figures = visibility_figures([(clip(truth[:3]), told[:3]), (clip(truth[3:]), told[3:])])
    hidden = (truth < 0.5).ravel()
    assert figures["mae"] == pytest.approx(np.abs(truth - told).mean())
    assert figures["ap_hidden"] == pytest.approx(average_precision_score(hidden, -told.ravel()))
    assert figures["auc_hidden"] == pytest.approx(roc_auc_score(hidden, -told.ravel()))
    assert figures["share_hidden"] == pytest.approx(hidden.mean())


def test_frames_that_do_not_count_do_not_count() -> None:
    truth, counted = np.array([[1.0, 0.0, 0.2]]), np.array([[True, False, True]])
    assert visibility_figures([(clip(truth, counted), np.array([[1.0, 1.0, 0.7]]))])["mae"] == pytest.approx(0.25)


def test_nothing_hidden_has_no_precision() -> None:
    assert np.isnan(average_precision(np.zeros(3, bool), np.arange(3.0)))


def test_worlds_hold_objects_that_were_seen_and_things_in_front_of_some() -> None:
    """The worlds with something put in front show no more of an object than they did without."""
    worlds = VisibilityWorlds("standard", "val", 3, (64, 64), 8)
    clips = [worlds.clip(number) for number in range(3)]
    for made in clips:
        if made is None:
            continue
        rows = np.arange(len(made.boxes))
        assert (made.fraction[rows, made.first] >= 0.5).all()
        assert ((made.fraction >= 0) & (made.fraction <= 1)).all()
        assert not made.counted[rows, made.first].any() and made.counted.any()
        again = VisibilityWorlds("standard", "val", 3, (64, 64), 8).clip(clips.index(made))
        assert np.array_equal(again.fraction, made.fraction)
    assert any(made is not None for made in clips)


def test_methods_tell_a_part_of_every_object_and_frame() -> None:
    worlds = VisibilityWorlds("standard", "val", 1, (64, 64), 8)
    made = worlds.clip(0) or worlds.clip(1)
    methods = visibility_methods(tiny_net(), tiny_solver(), tiny_surface())
    assert list(methods) == [SURFACE, SOLVER, POINTS, ALWAYS]
    for method in methods.values():
        told = method(made)
        assert told.shape == made.fraction.shape
        assert ((told >= 0) & (told <= 1)).all()

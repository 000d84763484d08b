"""Worlds of the stage `scene`: the truth of what was drawn, the same for the same number."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.training.scene_data import (
    NOBODY,
    STATIC,
    SceneWorldSettings,
    _hiders,
    _largest,
    make_scene_world,
    unpacked,
)

TINY = SceneWorldSettings(size=(64, 48), frames=4, objects=5, presets={"standard": 1.0})


def test_a_world_holds_the_truth_of_its_frames() -> None:
    world = make_scene_world(1, TINY)
    rng = np.random.default_rng((0, 1, 11))
    rng.choice(1, p=[1.0])
    clip = render(sample_scene("standard", "train", int(rng.integers(2**62)), (64, 48), 4))
    kept = _largest(np.stack([frame.visible_boxes for frame in clip.frames]), 5)
    assert world["rate"] == clip.scene.frame_rate and len(kept) >= 2
    for t, frame in enumerate(clip.frames):
        rows = slice(0, len(kept))
        assert (world["boxes"][t, rows] == frame.amodal_boxes[kept]).all()
        assert (world["visible"][t, rows] == frame.visible_fraction[kept]).all()
        assert (unpacked(world["relations"][t])[rows, rows] == frame.relations[kept][:, kept]).all()
        for row, number in enumerate(kept):
            pixels = frame.depth[frame.instance == number + 1]
            told = world["depth"][t, row]
            expected = (pixels.mean(), pixels.std(), np.ptp(pixels)) if len(pixels) else (np.nan,) * 3
            np.testing.assert_allclose(told, expected, rtol=1e-5)
        assert not world["boxes"][t, len(kept) :].any()


def test_what_hides_an_object_is_what_covers_most_of_it_and_has_a_name() -> None:
    by = np.array([[[0, 0.3, 0.1], [0.6, 0, 0.2], [0.1, 0.2, 0]]])
    assert _hiders(by, np.zeros((1, 3)), np.arange(3)).tolist() == [[1, 0, NOBODY]]
    assert _hiders(by, np.array([[0.4, 0.4, 0.3]]), np.arange(3)).tolist() == [[STATIC, 0, STATIC]]
    assert _hiders(by[:, 1:], np.zeros((1, 2)), np.array([1, 2])).tolist() == [[STATIC, NOBODY]]


def test_the_largest_objects_are_kept_in_their_order() -> None:
    boxes = np.zeros((2, 3, 4))
    boxes[:, :, 2:] = np.array([5.0, 1.0, 9.0])[None, :, None]
    assert _largest(boxes, 2).tolist() == [0, 2] and _largest(boxes, 5).tolist() == [0, 1, 2]


def test_unknown_presets_are_named() -> None:
    with pytest.raises(ValidationError, match="found nowhere"):
        SceneWorldSettings(presets={"nowhere": 1.0})

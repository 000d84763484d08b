"""The simulated detector of worlds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from scenegraph_track.data.worlds.detect import detect


@dataclass
class Seen:
    """What the detector looks at of a frame: an object in the open, a hidden one, a half hidden one, one outside."""

    index: int = 0
    image = np.zeros((120, 200, 3), np.uint8)
    visible_fraction = np.float32([1.0, 0.1, 0.8, 0.4])
    amodal_boxes = np.float32([[0, 0, 40, 80], [50, 0, 90, 80], [100, 0, 140, 80], [180, 20, 260, 90]])


def test_misses_what_is_hidden_and_a_few_others() -> None:
    found = [detect(Seen(index), (7,)) for index in range(200)]
    assert np.mean([len(boxes) for boxes, _ in found]) == pytest.approx(3 * 0.98, abs=0.06)


def test_boxes_are_whole_a_little_off_and_inside_the_image() -> None:
    full = [boxes for boxes, _ in (detect(Seen(index), (7,)) for index in range(200)) if len(boxes) == 3]
    boxes = np.stack(full)
    expected = np.float64([[0, 0, 40, 80], [100, 0, 140, 80], [180, 20, 200, 90]])
    assert np.abs(boxes.mean(0) - expected).max() < 1.0
    assert 0.1 < boxes.std(0).mean() < 2.0
    assert boxes.min() >= 0 and boxes[..., [0, 2]].max() <= 200 and boxes[..., [1, 3]].max() <= 120


def test_scores_fall_with_occlusion_and_the_seed_decides() -> None:
    scores = np.stack([s for _, s in (detect(Seen(index), (7,)) for index in range(200)) if len(s) == 3])
    assert scores[:, 0].mean() > scores[:, 1].mean() > scores[:, 2].mean()
    assert all(np.array_equal(a, b) for a, b in zip(detect(Seen(3), (7,)), detect(Seen(3), (7,)), strict=True))
    assert not np.array_equal(detect(Seen(3), (7,))[1], detect(Seen(3), (8,))[1])

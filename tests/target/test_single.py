"""One target: its box, then nothing for as long as it is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scenegraph_track.target import embedded
from scenegraph_track.target.followed import FollowSettings
from scenegraph_track.target.memory import MemoryRules
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.target.single import SingleTracker
from scenegraph_track.training.weights import save_weights

SETTINGS = FollowSettings(factor=4, everywhere=2, longest=256, patience=3, memory=MemoryRules(confident=0.8))
BOX = np.array([10.0, 40, 22, 52])


@pytest.fixture
def picture(scene: Callable[..., torch.Tensor]) -> Callable[..., np.ndarray]:
    """Images (96, 128, 3) uint8."""

    def made(*place: Any, **more: Any) -> np.ndarray:
        return (scene(*place, **more)[0].permute(1, 2, 0) * 255).round().byte().numpy()

    return made


def test_a_target_that_goes_and_comes_back(colours: Any, picture: Callable[..., np.ndarray]) -> None:
    """Its last box is told for some frames, then it is absent, and then it is found at the other end of the image."""
    tracker = SingleTracker(colours, SETTINGS)
    state = tracker.start(picture(10), BOX)
    for k in range(1, 5):
        state, box, score = tracker.step(state, picture(10 + 4 * k))
        assert np.abs(box - BOX - [4 * k, 0, 4 * k, 0]).max() < 4 and score > 0.5
        assert box.dtype == np.float64 and isinstance(score, float)
    last, told = box, []
    for _ in range(5):
        state, box, score = tracker.step(state, picture(0, red=False))
        told.append(box)
        assert score < 0.25
    assert all(np.array_equal(box, last) for box in told[:3]) and told[3:] == [None, None]
    for _ in range(2):
        state, box, score = tracker.step(state, picture(100, y=10))
    assert np.abs(box - [100, 10, 112, 22]).max() < 4 and score > 0.5


def test_a_step_changes_neither_the_state_nor_the_image(colours: Any, picture: Callable[..., np.ndarray]) -> None:
    tracker, image = SingleTracker(colours, SETTINGS), picture(14)
    state, before = tracker.start(picture(10), BOX), image.copy()
    first, again = tracker.step(state, image), tracker.step(state, image)
    assert np.array_equal(first[1], again[1]) and first[2] == again[2]
    assert np.array_equal(image, before) and np.allclose(state.boxes[0], BOX)
    mirrored = tracker.step(state, image[::-1, ::-1][::-1, ::-1])
    assert np.array_equal(first[1], mirrored[1])


def test_weights_are_loaded_with_their_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Callable[..., np.ndarray]
) -> None:
    tiny = {"channels": [4, 6, 8], "blocks": [0, 1], "dim": 8, "layers": 1, "decoder_layers": 1, "view": 32}
    torch.manual_seed(0)
    values = {f"target.{name}": value for name, value in TargetNetwork(TargetNetSettings(**tiny)).state_dict().items()}
    path = tmp_path / "target.safetensors"
    save_weights(path, values, {"recipe": {"target_net": tiny, "following": {"patience": 7}}})
    monkeypatch.setattr(embedded, "SHIPPED", path)
    for tracker in (SingleTracker.load(path), SingleTracker.load()):
        assert tracker.settings.patience == 7
        state, box, _ = tracker.step(tracker.start(picture(10), BOX), picture(12))
        assert box.shape == (4,) and np.isfinite(box).all() and len(state) == 1

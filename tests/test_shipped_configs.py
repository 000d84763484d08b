"""Every configuration that ships: it names every setting, and a tracker of it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from scenegraph_track.config import Config, load_config, named_configs
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.structures import Detections, Frame
from scenegraph_track.tracking.tracker import Tracker
from tests.tiny_slots import BACKBONES, tiny_backbone, tiny_detector

NAMES = sorted(named_configs())
SMALL = ("geometry.working_size=64", "detector.working_size=64")


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    clip = render(sample_scene("standard", "val", seed=4, size=(96, 64), frames=3))
    images = [torch.from_numpy(np.ascontiguousarray(f.image.transpose(2, 0, 1))).float() / 255 for f in clip.frames]
    return [Frame(index=k, timestamp=k / 10, image=image) for k, image in enumerate(images)]


def keys(values: dict[str, Any], before: str = "") -> list[str]:
    """All settings, in their order."""
    found: list[str] = []
    for name, value in values.items():
        found += keys(value, f"{before}{name}.") if isinstance(value, dict) else [before + name]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_it_names_every_setting_and_explains_it(name: str) -> None:
    text = named_configs()[name].read_text(encoding="utf-8")
    assert keys(yaml.safe_load(text)) == keys(Config().model_dump())
    body = text[text.index("tracker:\n") :].splitlines()
    bare = [line for line in body if "#" not in line and line not in ("tracker:", "  kind: reference")]
    assert not bare, "each line says what it sets"


@pytest.mark.parametrize("name", NAMES)
def test_a_tracker_of_it_runs(name: str, frames: list[Frame], tmp_path: Path) -> None:
    more = list(SMALL)
    if name in BACKBONES:
        weights, folder = tmp_path / "detector.safetensors", tiny_backbone(tmp_path / "backbone", BACKBONES[name])
        tiny_detector(weights, BACKBONES[name], folder)
        more += [f"detector.weights={weights}", f"detector.backbone={folder}", "detector.threshold=0"]
        more += ["tracker.scores.low=0", "tracker.scores.high=0", "tracker.scores.birth=0"]
    config = load_config(name, more)
    tracker, found = Tracker(config).loaded(), 0
    state = tracker.start()
    if config.target.weights != "none":
        state, _ = tracker.add_target(state, frames[0], [20, 15, 60, 50])
    given = None
    if config.detector.kind == "none" and not config.target.alone:
        given = Detections.from_arrays([[10, 10, 30, 40]], [0.9])
    for frame in frames:
        state, scene = tracker.step(state, frame, given)
        assert scene.data["object"].box.isfinite().all()
        found += len(scene.track_ids)
    assert found > 0 or name == "embedded", "the detector that ships may well see nothing in images this small"

"""A tracker that finds the objects itself: with slots, with a detector of transformers, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from detectors.proposals import Proposals
from detectors.slot_detector import SlotDetector
from scenegraph_track.config import load_config
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.errors import UserError
from scenegraph_track.structures import Detections, Frame, TrackerState
from scenegraph_track.tracking.proposing import proposer
from scenegraph_track.tracking.tracker import Tracker
from scenegraph_track.training.weights import save_weights

FAST = ("geometry.flow=dis_fast", "geometry.depth=none", "geometry.working_size=64")


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    clip = render(sample_scene("standard", "val", seed=4, size=(96, 64), frames=5))
    images = [torch.from_numpy(np.ascontiguousarray(f.image.transpose(2, 0, 1))).float() / 255 for f in clip.frames]
    return [Frame(index=k, timestamp=k / 10, image=image) for k, image in enumerate(images)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector with fresh weights that sees objects in many places."""
    torch.manual_seed(3)
    options = {"channels": [8, 8, 8, 8], "dim": 8, "embedding": 2}
    net = SlotDetector(**options)
    torch.nn.init.normal_(net.head.weight, 0, 0.3)
    path = tmp_path_factory.mktemp("weights") / "detector.safetensors"
    values = {f"detector.{name}": value for name, value in net.state_dict().items()}
    save_weights(path, values, {"recipe": {"detector_net": options}})
    return path


def tracker(weights: Path, *more: str) -> Tracker:
    return Tracker.from_config("embedded", (f"detector.weights={weights}", "detector.threshold=0", *FAST, *more))


def test_objects_are_found_without_detections(frames: list[Frame], weights: Path) -> None:
    sure = ("tracker.scores.low=0", "tracker.scores.high=0", "tracker.scores.birth=0")
    one = tracker(weights, *sure)
    state, found = one.start(), 0
    for frame in frames:
        state, scene = one.step(state, frame)
        found += len(scene.track_ids)
        boxes = scene.data["object"].box
        assert boxes.isfinite().all()
    assert found > 0


def test_given_detections_are_used_in_place_of_the_detector(frames: list[Frame], weights: Path) -> None:
    one = tracker(weights)
    given = Detections.from_arrays([[10, 10, 30, 40]], [0.9])
    _, scene = one.step(one.start(), frames[0], given)
    assert scene.data["object"].box.tolist() == [[10, 10, 30, 40]]


def test_a_saved_state_goes_on_to_the_same(frames: list[Frame], weights: Path, tmp_path: Path) -> None:
    one = tracker(weights)
    state = one.start()
    for frame in frames[:3]:
        state, _ = one.step(state, frame)
    state.save(tmp_path / "state.safetensors")
    loaded = TrackerState.load(tmp_path / "state.safetensors")
    assert loaded == state
    for frame in frames[3:]:
        (state, mine), (loaded, theirs) = one.step(state, frame), one.step(loaded, frame)
        assert torch.equal(mine.data["object"].box, theirs.data["object"].box)
    assert loaded == state


def test_a_frame_without_image_has_no_objects(frames: list[Frame], weights: Path) -> None:
    find = proposer(load_config("embedded", (f"detector.weights={weights}",)).detector)
    assert find is not None
    assert len(find(Frame(index=0, timestamp=0.0, size=(96, 64)), None)) == 0


def test_boxes_are_in_pixels_of_the_image(frames: list[Frame], weights: Path) -> None:
    settings = load_config("embedded", (f"detector.weights={weights}", "detector.working_size=48")).detector
    find = proposer(settings.model_copy(update={"threshold": 0.0}))
    assert find is not None
    detections = find(frames[0], None)
    assert len(detections) and detections.boxes[:, 2].max() > 48 >= detections.masks.shape[2]
    assert (
        (detections.boxes >= 0).all() and (detections.boxes[:, 2] <= 96).all() and (detections.boxes[:, 3] <= 64).all()
    )


def test_a_detector_of_transformers(frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    class Fake:
        def __call__(self, image: torch.Tensor) -> Proposals:
            assert image.shape == (3, 64, 96) and image.max() <= 1
            return Proposals(torch.tensor([[1.0, 2, 30, 40]]), torch.tensor([0.8]), classes=torch.tensor([3]))

    def load(source: str, **options: object) -> Fake:
        asked.update(options, source=source)
        return Fake()

    monkeypatch.setattr("detectors.pretrained.TransformersDetector.load", load)
    text = "detector.text=[a car, a bus]"
    sets = ("detector.kind=transformers", "detector.weights=some/model", "detector.classes=[car]", text, *FAST)
    one = Tracker.from_config("embedded", sets)
    _, scene = one.step(one.start(), frames[0])
    assert scene.data["object"].box.tolist() == [[1, 2, 30, 40]] and scene.data["object"].class_id.tolist() == [3]
    assert asked == {"source": "some/model", "threshold": 0.3, "classes": ["car"], "text": ["a car", "a bus"]}


def test_what_is_missing_is_said(frames: list[Frame], tmp_path: Path) -> None:
    one = Tracker.from_config("reference")
    with pytest.raises(UserError, match=r"detector\.kind"):
        one.step(one.start(), frames[0])
    with pytest.raises(UserError, match="expected weights, a hub id or a folder"):
        load_config("embedded", ("detector.kind=transformers",))
    missing = Tracker.from_config("embedded", (f"detector.weights={tmp_path / 'none.safetensors'}",))
    with pytest.raises(UserError, match=r"none\.safetensors"):
        missing.step(missing.start(), frames[0])

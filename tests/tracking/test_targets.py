"""Targets that a user gives: in the state, in the graph, and beside detections."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, pad

from scenegraph_track import Detections, Frame, SceneGraph, Tracker, TrackerState
from scenegraph_track.errors import UserError
from scenegraph_track.graph import to_json_line
from scenegraph_track.structures import CUES, ObjectState
from scenegraph_track.target.followed import FollowSettings
from scenegraph_track.target.heads import Response
from scenegraph_track.target.memory import MemoryRules
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.target.predictor import Filters, MemoryTokens
from scenegraph_track.tracking.targets import TargetFollower
from scenegraph_track.training.weights import save_weights

HOW = FollowSettings(factor=4, interval=2, widening=1, everywhere=2, longest=256, memory=MemoryRules(confident=0.5))
RED, BLUE = [10.0, 40, 22, 52], [90.0, 60, 106, 76]
TINY = {"channels": [4, 6, 8], "blocks": [0, 1], "dim": 8, "layers": 1, "decoder_layers": 1, "view": 32}


class Colours:
    """Stands in for a network: a target is the colour in the middle of its first view, its size that of its box."""

    stride, unit = 4, 64.0
    settings = SimpleNamespace(view=64, sigma=0.9, sees_current=False, dim=4)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return pad(avg_pool2d(images, 4), (0, 0, 0, 0, 0, 1))  # as many numbers as a box has

    def filters(self, memory: MemoryTokens, current: torch.Tensor | None = None) -> Filters:
        cell = memory.labels[:, 0].flatten(1).argmax(1)[:, None, None]
        first, ltrb = memory.features[:, 0].flatten(2), memory.ltrb[:, 0].flatten(2)
        middle = [values.gather(2, cell.expand(-1, values.shape[1], 1))[..., 0] for values in (first, ltrb)]
        return Filters(middle[0], middle[1])

    def respond(self, filters: Filters, features: torch.Tensor, prior: torch.Tensor | None) -> Response:
        away = (features - filters.classification[:, :, None, None]).square().sum(1)
        score = avg_pool2d((-8 * away).exp(), 3, 1, 1)
        return Response(score, (score if prior is None else score * prior).flatten(1).argmax(1), filters.box)


def tracker(*overrides: str) -> Tracker:
    made = Tracker.from_config("single", overrides)
    made.__dict__["_targets"] = TargetFollower(Colours(), HOW)
    return made


def frame(index: int, x: float | None = None, rate: float = 10.0) -> Frame:
    """A red square at x, where there is one, and a blue one that stands still, on grey; 96 x 128."""
    image = torch.full((3, 96, 128), 0.5)
    if x is not None:
        image[:, 40:52, round(x) : round(x) + 12] = torch.tensor([1.0, 0, 0])[:, None, None]
    image[:, 60:76, 90:106] = torch.tensor([0.0, 0, 1])[:, None, None]
    return Frame(index, index / rate, image=image)


def one(scene: SceneGraph, identity: int) -> dict[str, object]:
    row = scene.track_ids.tolist().index(identity)
    return {name: scene.data["object"][name][row].tolist() for name in SceneGraph.NODE_FIELDS}


def test_targets_are_nodes_with_relations_and_reasons() -> None:
    follows = tracker()
    state, red = follows.add_target(follows.start(), frame(0, 10), RED)
    state, blue = follows.add_target(state, frame(0, 10), BLUE)
    assert (red, blue, state.next_id) == (1, 2, 3)
    for k in range(8):
        state, scene = follows.step(state, frame(k, 10 + 4 * k))
        assert scene.track_ids.tolist() == [1, 2] and scene.states.tolist() == [ObjectState.VISIBLE] * 2
        assert np.abs(one(scene, 1)["box"] - np.array([10 + 4 * k, 40, 22 + 4 * k, 52])).max() < 4
        assert scene.shown.all() and len(scene.relations) == 2
        if k == 0:
            assert one(scene, 1)["box"] == RED and scene.becomes_index.numel() == 0
        else:
            assert scene.becomes_index.tolist() == [[0, 1], [0, 1]]
            assert (scene.cues[:, CUES.index("appearance")] == 1).all()
            assert torch.allclose(scene.data["object", "becomes", "object"].gap, torch.tensor(0.1))


def test_a_target_that_is_gone_is_hidden_then_has_left_and_comes_back() -> None:
    """It stands under one identity in all of this, and never for another."""
    follows = tracker("target.hidden_seconds=0.25")
    state, red = follows.add_target(follows.start(), frame(0, 10), RED)
    told, box = [], None
    for k, x in enumerate([10, 14, None, None, None, None, 100, 100]):
        state, scene = follows.step(state, frame(k, x))
        told.append([(s, h, shown) for s, h, shown in zip(scene.states, scene.data["object"].hidden_for, scene.shown)])
        assert scene.track_ids.tolist() in ([red], [])
        if k in (2, 3):
            assert one(scene, red)["box"] == box and one(scene, red)["visibility"] == 0
        box = one(scene, red)["box"] if len(scene) else None
    states = [[int(state) for state, *_ in some] for some in told]
    visible, hidden, left = [int(ObjectState.VISIBLE)], [int(ObjectState.HIDDEN)], [int(ObjectState.LEFT)]
    assert states == [visible, visible, hidden, hidden, left, [], [], visible]
    assert [float(hidden_for) for some in told for _, hidden_for, _ in some] == pytest.approx([0, 0, 0.1, 0.2, 0.3, 0])
    assert [bool(shown) for some in told for *_, shown in some] == [True] * 4 + [False, True]
    assert abs(box[0] - 100) < 4
    assert scene.data["object", "becomes", "object"].gap.tolist() == pytest.approx([0.6])


def detections(*boxes: list[float]) -> Detections:
    return Detections.from_arrays(np.array(boxes), np.full(len(boxes), 0.9), depths=np.arange(1.0, len(boxes) + 1))


def test_a_target_takes_its_detection() -> None:
    """No other track has it; the others' detections are named by their rows among all that were given."""
    follows = tracker()
    state, red = follows.add_target(follows.start(), frame(0, 10), RED)
    for k in range(3):
        near = [RED[0] + 4 * k + 1, 41, RED[2] + 4 * k + 1, 53]
        state, scene = follows.step(state, frame(k, 10 + 4 * k), detections(near, BLUE))
        assert sorted(scene.track_ids.tolist()) == [1, 2]
        assert one(scene, red)["detection"] == 0 and one(scene, 2)["detection"] == 1
        assert one(scene, 2)["box"] == BLUE
    for k in (3, 4):
        state, scene = follows.step(state, frame(k), detections(near, BLUE))
    assert one(scene, red)["state"] == ObjectState.HIDDEN and one(scene, red)["detection"] == -1
    assert {one(scene, other)["detection"] for other in scene.track_ids.tolist() if other != red} == {0, 1}


def test_a_track_becomes_the_target_that_is_given_at_its_place() -> None:
    follows = tracker()
    state, scene = follows.step(follows.start(), frame(0, 10), detections(BLUE, RED))
    before = scene.track_ids[scene.data["object"].detection == 1].item()
    state, red = follows.add_target(state, frame(1, 12), [12.0, 40, 24, 52])
    assert red == before and state.next_id == 3 and red not in state.tracks.ids
    state, scene = follows.step(state, frame(1, 12), detections(BLUE, [12.0, 40, 24, 52]))
    assert sorted(scene.track_ids.tolist()) == [1, 2] and scene.states.tolist() == [ObjectState.VISIBLE] * 2
    assert follows.add_target(state, frame(1, 12), [60.0, 10, 70, 20])[1] == 3


def test_a_target_may_be_given_after_the_step_of_its_frame() -> None:
    follows = tracker()
    state, scene = follows.step(follows.start(), frame(0, 10))
    assert len(scene) == 0
    state, red = follows.add_target(state, frame(0, 10), RED)
    state, scene = follows.step(state, frame(1, 14))
    assert scene.track_ids.tolist() == [red] and abs(one(scene, red)["box"][0] - 14) < 4


def test_a_frame_without_image_shows_the_last_box() -> None:
    follows = tracker()
    state, red = follows.add_target(follows.start(), frame(0, 10), RED)
    state, _ = follows.step(state, frame(0, 10))
    state, scene = follows.step(state, Frame(1, 0.1, size=(128, 96)))
    assert one(scene, red)["state"] == ObjectState.HIDDEN and one(scene, red)["box"] == RED
    state, scene = follows.step(state, frame(2, 14))
    assert one(scene, red)["state"] == ObjectState.VISIBLE


def run(follows: Tracker, state: TrackerState, frames: range) -> tuple[TrackerState, list[str]]:
    lines = []
    for k in frames:
        for box in {1: [RED], 4: [[30.0, 30, 50, 60], BLUE]}.get(k, []):
            state, _ = follows.add_target(state, frame(k, 10), box)
        state, scene = follows.step(state, frame(k, 10 + 4 * (k % 3)), detections(BLUE) if k > 6 else None)
        lines.append(to_json_line(scene))
    return state, lines


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with fresh weights, which finds something everywhere and is sure of it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "target.safetensors"
    network = TargetNetwork(TargetNetSettings(**TINY))
    network.bias.data.fill_(1.0)
    values = {f"target.{name}": value for name, value in network.state_dict().items()}
    follow = {"interval": 1, "everywhere": 2, "memory": {"confident": 0.5, "distractor": 2.0, "views": 3}}
    save_weights(path, values, {"recipe": {"target_net": TINY, "following": follow}})
    return path


@pytest.mark.parametrize("cut", [1, 2, 5, 8])
def test_saved_and_loaded_in_the_middle_goes_on_byte_for_byte(weights: Path, tmp_path: Path, cut: int) -> None:
    follows = Tracker.from_config("single", [f"target.weights={weights}"])
    end, whole = run(follows, follows.start(), range(10))
    middle, first = run(follows, follows.start(), range(cut))
    before = copy.deepcopy(middle)
    middle.save(tmp_path / "state.safetensors")
    loaded = TrackerState.load(tmp_path / "state.safetensors")
    assert loaded == middle and (middle.targets is None) == (cut == 1)
    resumed, rest = run(follows, loaded, range(cut, 10))
    assert first + rest == whole and resumed == end
    assert run(follows, middle, range(cut, 10))[1] == rest and middle == before
    assert len(end.targets) == 3 and end.targets.features.shape[1] == 3


def test_what_cannot_be_followed(weights: Path) -> None:
    follows = tracker()
    state, _ = follows.step(follows.start(), frame(3, 10))
    for box, wrong in (
        ([200.0, 10, 210, 20], "expected a box inside the image of 128 x 96 pixels"),
        ([10.0, 10, 10, 20], "x1 < x2 and y1 < y2"),
        ([float("nan")] * 4, "expected a box of four numbers"),
        ([1.0, 2.0], "expected a box of four numbers"),
    ):
        with pytest.raises(UserError, match=wrong):
            follows.add_target(state, frame(3, 10), box)
    with pytest.raises(UserError, match="frame 4: there is no image"):
        follows.add_target(state, Frame(4, 0.4, size=(128, 96)), RED)
    with pytest.raises(UserError, match=r"frame 1: its time 0\.1 s is before 0\.3 s"):
        follows.add_target(state, frame(1, 10), RED)
    reference = Tracker.from_config("reference")
    with pytest.raises(UserError, match=r"follows no targets: set target\.weights"):
        reference.add_target(reference.start(), frame(0, 10), RED)
    with pytest.raises(UserError, match=r"target: none\.safetensors: no such file"):
        Tracker.from_config("single", ["target.weights=none.safetensors"]).add_target(state, frame(3, 10), RED)
    state, _ = follows.add_target(state, frame(3, 10), RED)
    with pytest.raises(UserError, match="with weights of another network"):
        Tracker.from_config("single", [f"target.weights={weights}"]).step(state, frame(4, 10))


def test_boxes_are_cut_at_the_image() -> None:
    follows = tracker()
    state, red = follows.add_target(follows.start(), frame(0, 0), [-6.0, 40, 12, 52])
    _, scene = follows.step(state, frame(0, 0))
    assert one(scene, red)["box"] == [0, 40, 12, 52]

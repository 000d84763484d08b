"""The graph tracker behind the reference tracker: neutral while untrained, in effect where it says something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from scenegraph_track.config import load_config
from scenegraph_track.data.streams import simulate
from scenegraph_track.errors import UserError
from scenegraph_track.graph.graph_tracker import GraphTracker
from scenegraph_track.structures import CUES, Detections, Frame, TrackerState
from scenegraph_track.tracking.correction import GraphCost, learned_cost, situation_features
from scenegraph_track.tracking.learned import Correction
from scenegraph_track.tracking.reference import associate, matched, start_state
from scenegraph_track.tracking.situation import prepare
from scenegraph_track.tracking.tracker import Tracker
from scenegraph_track.training.graph import judged

SETTINGS = load_config().tracker


def network(scale: float = 0.0) -> GraphTracker:
    torch.manual_seed(0)
    net = GraphTracker().eval()
    if scale:
        for head in (*net.edge_heads, *net.track_heads, *net.detection_heads):
            torch.nn.init.normal_(head.weight, std=scale)
    return net


def tracked(preset: str, learned: GraphCost | None, frames: int = 40, embeddings: bool = False) -> list[tuple]:
    stream, state, out = simulate(preset, 3, "val", frames), start_state(), []
    for frame in range(stream.frames):
        boxes, scores, ids = stream.detections(frame)
        looks = np.eye(64)[ids % 64] if embeddings else None
        time = frame / stream.frame_rate
        more = {"image_size": stream.image_size, "embeddings": looks}
        state, decided = associate(prepare(state, SETTINGS, time, boxes, scores, **more), learned)
        out.append((decided.tracks.ids, decided.boxes, decided.detection, decided.candidates[:3], state))
    return out


@pytest.mark.parametrize("preset", ["dance", "crowd"])
def test_an_untrained_network_leaves_every_bit_as_it_is(preset: str) -> None:
    plain, learned = tracked(preset, None), tracked(preset, GraphCost(network()))
    for a, b in zip(plain, learned, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))
    last, other = plain[-1][4].tracks, learned[-1][4].tracks
    assert last == replace(other, memory=last.memory) and other.memory.shape == (len(other), 48)


def test_a_network_that_says_something_changes_matches() -> None:
    plain, learned = tracked("dance", None), tracked("dance", GraphCost(network(0.3)))
    assert any(not np.array_equal(a[2], b[2]) for a, b in zip(plain, learned, strict=True))
    again = tracked("dance", GraphCost(network(0.3)))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(learned, again, strict=True))


def crossing() -> tuple:
    """Two tracks whose detections have changed places, nearly."""
    state = start_state()
    boxes = np.array([[0, 0, 40, 80], [30, 0, 70, 80.0]])
    for k in range(4):
        state, _ = associate(prepare(state, SETTINGS, 0.1 * k, boxes, np.ones(2)))
    return prepare(state, SETTINGS, 0.4, boxes, np.ones(2))


def test_a_correction_is_added_before_matching_and_gates() -> None:
    situation = crossing()
    assert matched(situation)[0].tolist() == [0, 1]
    edges = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])

    def corrected(*change: float) -> list[int]:
        return matched(situation, Correction(*edges, np.array(change), np.zeros(4), np.zeros((4, 5))))[0].tolist()

    assert corrected(0, 0, 0, 0) == [0, 1]
    assert corrected(-0.5, 0.5, 0.5, -0.5) == [1, 0]
    assert corrected(-2, -2, 0, 0) == [-1, 1]


def test_features_do_not_depend_on_resolution() -> None:
    stream = simulate("street", 1, frames=6)
    features = []
    for scale in (1.0, 3.0):
        state, settings = start_state(), SETTINGS
        for frame in range(5):
            boxes, scores, _ = stream.detections(frame)
            size = tuple(int(scale * s) for s in stream.image_size)
            time = frame / stream.frame_rate
            state, _ = associate(prepare(state, settings, time, scale * boxes, scores, image_size=size))
        boxes, scores, _ = stream.detections(5)
        situation = prepare(state, settings, 5 / stream.frame_rate, scale * boxes, scores, image_size=size)
        features.append(situation_features(situation))
    small, large = features
    assert np.array_equal(small.edge_index, large.edge_index) and small.edge_index.shape[1] > 0
    for name in ("tracks", "detections", "edges", "offset", "base"):
        np.testing.assert_allclose(getattr(small, name), getattr(large, name), atol=2e-3)
        assert np.abs(getattr(small, name)).max() < 8


def test_the_base_is_what_the_reference_tracker_would_match() -> None:
    situation = crossing()
    features = situation_features(situation)
    best = {(int(i), int(j)) for i, j in features.edge_index[:, features.base > 0.5].T}
    assert best == {(0, 0), (1, 1)} and (features.base < 1).all()


def test_depth_and_appearance_are_told_where_known() -> None:
    situation = crossing()
    assert situation_features(situation).available[0].tolist() == [True, True, False, False, True]
    deep = replace(
        situation, depths=np.array([3.0, np.nan]), tracks=replace(situation.tracks, depth=np.array([3.1, 5.0]))
    )
    features = situation_features(deep)
    assert features.available[:, CUES.index("depth")].tolist() == (features.edge_index[1] == 0).tolist()
    end = tracked("dance", GraphCost(network()), 10, embeddings=True)[-1][4]
    assert end.tracks.memory.shape[1] == 48 and end.tracks.appearance.shape[1] == 64
    norm = np.linalg.norm(end.tracks.appearance, axis=1)
    np.testing.assert_allclose(norm, 1, atol=1e-6)


def test_a_state_with_memory_goes_on_from_a_file(tmp_path: Path) -> None:
    cost, stream = GraphCost(network(0.1)), simulate("sports", 2, "val", 12)

    def run(state: TrackerState, frames: range) -> TrackerState:
        for frame in frames:
            boxes, scores, _ = stream.detections(frame)
            state, _ = associate(prepare(state, SETTINGS, frame / stream.frame_rate, boxes, scores), cost)
        return state

    half = run(start_state(), range(6))
    half.save(tmp_path / "state")
    assert run(TrackerState.load(tmp_path / "state"), range(6, 12)) == run(half, range(6, 12))


def test_strength_is_a_factor_of_the_correction() -> None:
    whole, half = (GraphCost(network(0.2), strength).correct(crossing()) for strength in (1.0, 0.5))
    assert np.abs(whole.change).max() > 0
    np.testing.assert_array_equal(half.change, whole.change / 2)
    np.testing.assert_array_equal(half.probability, whole.probability)
    assert learned_cost(load_config("reference", ["tracker.graph.strength=0.5"]).tracker.graph) is None


def test_the_weights_that_ship_improve_on_the_reference_tracker_where_motion_is_irregular() -> None:
    cost = learned_cost(load_config("boxes").tracker.graph)
    assert cost is not None and cost.strength == 0.25
    streams = [simulate("sports", seed, "test", 100) for seed in range(2)]
    gains = [judged(stream, cost)["AssA"] - judged(stream, None)["AssA"] for stream in streams]
    assert np.mean(gains) > 0


def test_weights_are_named_in_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "graph.safetensors"
    save_file({f"graph.{name}": value.contiguous() for name, value in network(0.2).state_dict().items()}, path)
    assert learned_cost(load_config().tracker.graph) is None
    config = load_config("reference", [f"tracker.graph.weights={path}"])
    tracker, plain = Tracker(config), Tracker(load_config())
    state, other = tracker.start(), plain.start()
    boxes = [[0, 0, 40, 80], [30, 0, 70, 80.0]]
    for k in range(3):
        frame = Frame(k, 0.1 * k, size=(200, 100))
        state, scene = tracker.step(state, frame, Detections.from_arrays(boxes))
        other, reference = plain.step(other, frame, Detections.from_arrays(boxes))
    torch.testing.assert_close(scene.cues.sum(1), torch.ones(len(scene.cues)))
    assert scene.cues.shape == reference.cues.shape and not torch.equal(scene.cues, reference.cues)
    with pytest.raises(UserError, match=r"none\.safetensors"):
        learned_cost(load_config("reference", ["tracker.graph.weights=none.safetensors"]).tracker.graph)

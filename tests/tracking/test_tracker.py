"""The public tracker: pure steps, states that can be saved, and graphs that agree with themselves."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from scenegraph_track import Detections, Frame, SceneGraph, Tracker, TrackerState
from scenegraph_track.data.streams import Stream, simulate
from scenegraph_track.errors import UserError
from scenegraph_track.graph import to_json_line
from scenegraph_track.structures import BECOMES, CUES, ObjectState
from scenegraph_track.tracking import camera
from scenegraph_track.tracking.tracker import tracks_of

TRACKER = Tracker.from_config("reference")
Input = list[tuple[Frame, Detections]]


def stream_input(stream: Stream) -> Input:
    size = stream.image_size
    out = []
    for t in range(stream.frames):
        boxes, scores, _ = stream.detections(t)
        out.append((Frame(t, t / stream.frame_rate, size=size), Detections.from_arrays(boxes, scores)))
    return out


def with_images(given: Input, width: int = 96, height: int = 64) -> Input:
    """The same boxes over a texture that drifts, scaled to small images."""
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 255, (40, 60, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    out = []
    for t, (frame, found) in enumerate(given):
        scale = torch.tensor([width / frame.size[0], height / frame.size[1]] * 2)
        image = np.ascontiguousarray(wide[20 : 20 + height, 2 * t : 2 * t + width])
        small = Detections.from_arrays((found.boxes * scale).numpy(), found.scores.numpy())
        out.append((Frame.from_rgb(image, frame.index, frame.timestamp), small))
    return out


def run(given: Input, state: TrackerState | None = None) -> tuple[TrackerState, list[SceneGraph]]:
    state, scenes = state or TRACKER.start(), []
    for frame, found in given:
        state, scene = TRACKER.step(state, frame, found)
        scenes.append(scene)
    return state, scenes


@pytest.fixture(scope="module")
def crowd() -> Input:
    return stream_input(simulate("crossing", 4, frames=60, objects=14))


@pytest.fixture(scope="module")
def scenes(crowd: Input) -> list[SceneGraph]:
    return run(crowd)[1]


# --- one explicit state ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [False, True])
def test_step_is_pure(crowd: Input, images: bool) -> None:
    given = with_images(crowd[:24]) if images else crowd
    state = run(given[:-1])[0]
    before, frame, found = copy.deepcopy(state), *copy.deepcopy(given[-1])
    first, again = TRACKER.step(state, *given[-1]), TRACKER.step(state, *given[-1])
    assert state == before and (frame, found) == given[-1]
    assert first[0] == again[0] and to_json_line(first[1]) == to_json_line(again[1])


def test_state_does_not_share_memory_with_the_callers_arrays() -> None:
    # A caller may fill one buffer again and again.
    boxes, scores = torch.tensor([[100.0, 100, 140, 200]], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    state, scene = TRACKER.step(TRACKER.start(), Frame(0, 0.0), Detections(boxes, scores))
    kept, line = copy.deepcopy(state), to_json_line(scene)
    boxes += 300
    scores -= 1
    assert state == kept and to_json_line(scene) == line
    scene.boxes[:] = 0
    scene.track_ids[:] = 77
    assert state == kept


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("cut", [1, 9, 17])
def test_saved_and_loaded_in_the_middle_goes_on_byte_for_byte(
    crowd: Input, tmp_path: Path, images: bool, cut: int
) -> None:
    given = with_images(crowd[:24]) if images else crowd[:40]
    end, whole = run(given)
    middle, first = run(given[:cut])
    middle.save(tmp_path / "state.safetensors")
    resumed, rest = run(given[cut:], TrackerState.load(tmp_path / "state.safetensors"))
    assert [to_json_line(s) for s in whole] == [to_json_line(s) for s in first + rest]
    assert resumed == end
    resumed.save(tmp_path / "a")
    end.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_one_tracker_serves_two_videos_at_once(crowd: Input) -> None:
    # Nothing is kept on the tracker: interleaved sequences do not touch each other.
    other = stream_input(simulate("street", 5, frames=30, objects=5))
    a, b, lines_a, lines_b = TRACKER.start(), TRACKER.start(), [], []
    for one, two in zip(crowd[:30], other):
        a, scene_a = TRACKER.step(a, *one)
        b, scene_b = TRACKER.step(b, *two)
        lines_a.append(to_json_line(scene_a))
        lines_b.append(to_json_line(scene_b))
    assert lines_a == [to_json_line(s) for s in run(crowd[:30])[1]]
    assert lines_b == [to_json_line(s) for s in run(other)[1]]


# --- the learned scene graph -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned() -> Tracker:
    return Tracker.from_config("reference", ["tracker.scene.weights=embedded"])


def test_a_learned_scene_graph_changes_no_result(crowd: Input, scenes: list[SceneGraph], learned: Tracker) -> None:
    state, told = learned.start(), []
    for frame, found in crowd:
        state, scene = learned.step(state, frame, found)
        told.append(scene)
    rules, other = tracks_of(scenes), tracks_of(told)
    assert torch.equal(rules.boxes, other.boxes) and torch.equal(rules.ids, other.ids)
    hidden = [(a.states == ObjectState.HIDDEN) & (b.states == ObjectState.HIDDEN) for a, b in zip(scenes, told)]
    moved = [~torch.isclose(a.boxes, b.boxes).all(1) & h for a, b, h in zip(scenes, told, hidden)]
    assert any(m.any() for m in moved) and not any((m & b.shown).any() for m, b in zip(moved, told))
    assert any((s.hidden_by[h] > 0).any() for s, h in zip(told, hidden))
    assert any((a.states != b.states).any() for a, b in zip(scenes, told))


def test_its_memory_is_part_of_the_state(crowd: Input, learned: Tracker, tmp_path: Path) -> None:
    state = whole = learned.start()
    lines: list[str] = []
    for k, (frame, found) in enumerate(crowd[:24]):
        if k == 11:
            state.save(tmp_path / "state.safetensors")
            state = TrackerState.load(tmp_path / "state.safetensors")
        (state, scene), (whole, same) = learned.step(state, frame, found), learned.step(whole, frame, found)
        lines.append(to_json_line(scene))
        assert lines[-1] == to_json_line(same)
    assert state == whole and state.scene_memory.any() and len(state.scene_ids) == len(state.scene_memory)


# --- what a user can get wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [0.0, -0.1])
def test_time_has_to_advance(later: float) -> None:
    state, _ = TRACKER.step(TRACKER.start(), Frame(0, 5.0), Detections.empty())
    with pytest.raises(UserError, match=r"frame 1: its time .* is not after 5\.0 s"):
        TRACKER.step(state, Frame(1, 5.0 + later), Detections.empty())


def test_needs_detections() -> None:
    with pytest.raises(UserError, match="give detections with every frame"):
        TRACKER.step(TRACKER.start(), Frame(0, 0.0))


# --- the graph of a frame --------------------------------------------------------------------------------------------


def test_graphs_agree_with_themselves(crowd: Input, scenes: list[SceneGraph]) -> None:
    hidden_seen = 0
    for (frame, found), scene in zip(crowd, scenes):
        seen, hidden = scene.states == ObjectState.VISIBLE, scene.states == ObjectState.HIDDEN
        nodes = scene.data["object"]
        assert (scene.frame_index, scene.timestamp) == (frame.index, frame.timestamp)
        assert (scene.track_ids >= 1).all() and torch.equal(seen, nodes.detection >= 0)
        assert torch.allclose(scene.boxes[seen].double(), found.boxes[nodes.detection[seen]], atol=1e-3)
        assert len(nodes.detection[seen].unique()) == int(seen.sum())
        assert (scene.visibility[~seen] == 0).all() and (nodes.hidden_for[~seen] > 0).all()
        assert (nodes.hidden_for[seen] == 0).all() and ((scene.visibility >= 0) & (scene.visibility <= 1)).all()
        assert scene.shown[seen].all() and not scene.shown[scene.states == ObjectState.LEFT].any()
        assert ((nodes.score >= 0) & (nodes.score <= 1)).all() and (nodes.box_std > 0).all()
        hidden_seen += int(hidden.sum())
        for values in (scene.adjacency, scene.relations, scene.match_probability, scene.cues):
            assert torch.isfinite(values).all() and ((values >= 0) & (values <= 1)).all()
        ends = scene.relates_index.unique()
        assert not (scene.states[ends] == ObjectState.LEFT).any()  # who left relates to nobody
    assert hidden_seen > 20  # the case is no empty promise


def test_becomes_edges_explain_every_identity(scenes: list[SceneGraph]) -> None:
    known: set[int] = set()
    for scene in scenes:
        source, target = scene.becomes_index
        states, ids = scene.states, scene.track_ids.tolist()
        assert (states[target] == ObjectState.VISIBLE).all()
        own = set(source[source == target].tolist())
        for row, identity in enumerate(ids):
            if identity in known:
                assert (row in own) == (int(states[row]) == ObjectState.VISIBLE)
        known.update(ids)
        assert torch.allclose(scene.cues.sum(1), torch.ones(len(source)), atol=1e-5)
        assert (scene.cues[:, [CUES.index("appearance"), CUES.index("depth")]] == 0).all()
        assert (scene.data[BECOMES].gap > 0).all()
        total = torch.zeros(len(scene)).index_add(0, source, scene.match_probability)
        assert (total <= 1).all()  # the rest is the chance of no match


def test_spread_of_a_hidden_object_grows_until_it_is_found() -> None:
    boxes = [[] if 15 <= t < 23 else [[300 + 8 * t, 300, 360 + 8 * t, 450]] for t in range(30)]
    given = [(Frame(t, t / 10, size=(1920, 1080)), Detections.from_arrays(b)) for t, b in enumerate(boxes)]
    scenes = run(given)[1]
    std = torch.stack([s.data["object"].box_std[0] for s in scenes])
    gone = std[14:23]
    assert (gone[1:] > gone[:-1]).all() and (std[23] < std[22]).all()
    away = [float(s.data["object"].hidden_for[0]) for s in scenes]
    assert away[15:23] == pytest.approx([0.1 * k for k in range(1, 9)]) and away[14] == away[23] == 0
    chance = [float(s.data["object"].score[0]) for s in scenes[15:23]]
    assert chance == sorted(chance, reverse=True) and chance[0] > chance[-1]  # surer of the place soon after than later
    assert scenes[23].track_ids.tolist() == [1]


def test_left_and_hidden_are_told_apart() -> None:
    # The first walks out of the image, the second vanishes in its middle.
    out = []
    for t in range(22):
        boxes = [[520 + 12 * t, 100, 560 + 12 * t, 200], [200, 100, 240, 200]] if t < 9 else []
        out.append((Frame(t, t / 10, size=(640, 480)), Detections.from_arrays(boxes)))
    scenes = run(out)[1]
    first = [ObjectState(int(s.states[s.track_ids == 1][0])) if 1 in s.track_ids else None for s in scenes]
    second = [ObjectState(int(s.states[s.track_ids == 2][0])) if 2 in s.track_ids else None for s in scenes]
    assert first.count(ObjectState.LEFT) == 1 and first.index(ObjectState.LEFT) <= 11 and first[-1] is None
    assert second[9:18] == [ObjectState.HIDDEN] * 9 and second.count(ObjectState.LEFT) == 1
    assert second[second.index(ObjectState.LEFT) + 1 :] == [None] * (21 - second.index(ObjectState.LEFT))


def test_relations_and_visibility_come_from_boxes_and_depths() -> None:
    boxes = [[100, 100, 160, 250], [110, 80, 170, 230]]  # the first stands lower: nearer
    plain = run([(Frame(0, 0.0), Detections.from_arrays(boxes))])[1][0]
    assert plain.visibility.tolist() == pytest.approx([1.0, 1 - 50 * 130 / (60 * 150)])
    assert float(plain.relations[0, 0]) > 0.9  # occludes
    deep = run([(Frame(0, 0.0), Detections.from_arrays(boxes, depths=[9.0, 3.0]))])[1][0]
    assert float(deep.relations[0, 0]) < 0.1


def test_everything_that_detections_may_carry() -> None:
    box = [[100.0, 100, 160, 250], [400, 100, 460, 250]]
    given = [
        Detections.from_arrays(
            box, masks=np.ones((2, 4, 4), bool), embeddings=np.eye(2, 3), depths=[2.0, np.nan], classes=[1, 4]
        ),
        Detections.from_arrays(np.zeros((0, 4)), embeddings=np.zeros((0, 3))),
        Detections.from_arrays(box[1:], embeddings=torch.ones(1, 3, dtype=torch.bfloat16, requires_grad=True)),
        Detections(torch.tensor(box), torch.ones(2, requires_grad=True), classes=torch.tensor([1, 4])),
    ]
    scenes = run([(Frame(t, t / 10), d) for t, d in enumerate(given)])[1]
    assert [s.track_ids.tolist() for s in scenes] == [[1, 2]] * 4
    assert scenes[0].embeddings.tolist() == np.eye(2, 3).tolist()
    assert scenes[1].embeddings.tolist() == np.zeros((2, 3)).tolist()  # hidden: no vector, the same width
    assert scenes[2].embeddings.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert scenes[3].embeddings.shape == (2, 0)
    assert all(s.data["object"].class_id.tolist() == [1, 4] for s in scenes)


def test_a_frame_without_image_breaks_the_measured_camera_motion(monkeypatch: pytest.MonkeyPatch, crowd: Input) -> None:
    # Over a broken frame the motion of two steps must not be taken for that of one.
    given = with_images(crowd[:6])
    given[2] = (Frame(2, given[2][0].timestamp, size=(96, 64)), given[2][1])
    calls: list[tuple[int, int]] = []
    measured = camera.measured_motion

    def spy(previous: np.ndarray, current: np.ndarray, *more: object) -> np.ndarray | None:
        calls.append((previous.size, current.size))
        return measured(previous, current, *more)

    monkeypatch.setattr(camera, "measured_motion", spy)
    state, _ = run(given[:3])
    assert state.background.size == 0
    run(given)
    assert len(calls) == 1 + 3 - 1 + 1 and all(a and b for a, b in calls)  # 0-1 (twice run), 3-4, 4-5


# --- tracks of scenes ------------------------------------------------------------------------------------------------


def test_tracks_of_takes_what_is_shown(scenes: list[SceneGraph]) -> None:
    tracks = tracks_of(scenes)
    assert len(tracks) == sum(int(s.shown.sum()) for s in scenes)
    for scene in scenes[::10]:
        here = tracks.at(scene.frame_index)
        rows = scene.track_ids[scene.shown].argsort()
        assert torch.equal(here.ids, scene.track_ids[scene.shown][rows])
        assert torch.equal(here.boxes, scene.boxes[scene.shown][rows].double())
        assert torch.equal(here.observed, (scene.states == ObjectState.VISIBLE)[scene.shown][rows])


def test_tracks_of_nothing() -> None:
    assert len(tracks_of([])) == 0
    assert len(tracks_of(run([(Frame(t, float(t)), Detections.empty()) for t in range(3)])[1])) == 0


def test_a_graph_stays_as_it_was_when_a_caller_writes_into_its_boxes(crowd: Input, scenes: list[SceneGraph]) -> None:
    # Edges are made when they are first looked at, of what the detections were in their frame.
    state = TRACKER.start()
    for (frame, found), expected in zip(crowd[:12], scenes, strict=False):
        buffer = found.boxes.clone()
        state, scene = TRACKER.step(state, frame, Detections(buffer, found.scores))
        buffer.zero_()
        assert scene == expected

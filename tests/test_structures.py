"""The containers: they refuse what does not fit by the name of the field, and round trips lose nothing."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scenegraph_track.errors import UserError
from scenegraph_track.structures import (
    BECOMES,
    CUES,
    RELATES,
    RELATIONS,
    Detections,
    Frame,
    ObjectState,
    SceneGraph,
    TrackerState,
    Tracks,
    TrackTable,
)
from scenegraph_track.tracking.reference import start_state

BOXES = [[10.0, 20.0, 30.0, 60.0], [50.0, 20.0, 75.5, 80.25]]


def detections(n: int = 2, **more: object) -> Detections:
    return Detections.from_arrays(BOXES[:n], [0.9, 0.4][:n], **more)


# --- Frame -----------------------------------------------------------------------------------------------------------


def test_frame_from_rgb_and_back() -> None:
    # Every 8-bit value survives the way to floats in [0, 1] and back; the size is (W, H).
    rgb = np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)
    frame = Frame.from_rgb(rgb, 3, 0.12)
    assert frame.size == (16, 16) and frame.image.shape == (3, 16, 16) and float(frame.image.max()) == 1.0
    assert np.array_equal(frame.to_rgb(), rgb)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"index": -1}, "index"),
        ({"timestamp": float("nan")}, "timestamp"),
        ({"timestamp": float("inf")}, "timestamp"),
        ({"image": np.zeros((3, 4, 5), np.float32)}, "image"),  # no tensor
        ({"image": torch.zeros(4, 5, 3)}, "image"),  # channels last
        ({"image": torch.zeros(3, 4, 5, dtype=torch.uint8)}, "image"),  # bytes: from_rgb is meant
        ({"image": torch.zeros(3, 4, 5), "size": (4, 5)}, "size"),  # (H, W) instead of (W, H)
        ({"intrinsics": torch.zeros(3, 4)}, "intrinsics"),
        ({"intrinsics": torch.full((3, 3), float("nan"))}, "intrinsics"),
        ({"depth": torch.zeros(4, 5)}, "depth"),
        ({"world_from_camera": torch.eye(3)}, "world_from_camera"),
    ],
)
def test_frame_names_the_field_that_does_not_fit(more: dict, field: str) -> None:
    with pytest.raises(UserError, match=rf"Frame\.{field}"):
        Frame(**{"index": 0, "timestamp": 0.0, **more})


def test_frame_without_image_has_no_rgb() -> None:
    with pytest.raises(UserError, match="has no image"):
        Frame(0, 0.0).to_rgb()
    with pytest.raises(UserError, match="uint8"):
        Frame.from_rgb(np.zeros((4, 5, 3)), 0, 0.0)


# --- Detections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"boxes": torch.zeros(2, 5)}, "boxes"),
        ({"boxes": torch.zeros(2, 4, dtype=torch.int64)}, "boxes"),
        ({"boxes": torch.tensor([[0.0, 0, 1, 1], [5, 0, 4, 1]])}, "boxes.*row 1"),  # x2 < x1
        ({"boxes": torch.tensor([[0.0, 0, 1, 1], [0, 0, float("nan"), 1]])}, "boxes.*row 1"),
        ({"boxes": torch.tensor([[0.0, 0, 1, 1], [0, 0, float("inf"), 1]])}, "boxes.*row 1"),
        ({"scores": torch.ones(3)}, "scores"),
        ({"scores": torch.tensor([1.0, float("nan")])}, "scores"),
        ({"masks": torch.ones(1, 4, 4)}, "masks"),
        ({"embeddings": torch.ones(2)}, "embeddings"),
        ({"depths": torch.ones(3)}, "depths"),
        ({"classes": torch.ones(2)}, "classes"),  # floats
    ],
)
def test_detections_name_the_field_and_row_that_does_not_fit(changes: dict, field: str) -> None:
    values = {"boxes": torch.tensor(BOXES), "scores": torch.ones(2), **changes}
    with pytest.raises(UserError, match=rf"Detections\.{field}"):
        Detections(**values)


def test_detections_allow_empty_zero_area_raw_scores_and_unknown_depth() -> None:
    assert len(Detections.empty()) == 0
    assert len(Detections.from_arrays([])) == 0
    assert len(Detections.from_arrays([[5, 5, 5, 5]], [-73.5], depths=[float("nan")])) == 1


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[1, 2, 3]], r"expected \([NM], 4\) xyxy pixels, found shape \(1, 3\)"),
        ([1, 2, 3, 4], r"expected \([NM], 4\) xyxy pixels, found shape \(4,\)"),
        ([[1, 2, 3, 4], [5]], "expected an array of numbers"),
        ([["left", 2, 3, 4]], "expected an array of numbers"),
    ],
)
def test_boxes_that_are_none_are_refused_by_their_name(boxes: list, message: str) -> None:
    with pytest.raises(UserError, match=rf"^Detections\.boxes: {message}"):
        Detections.from_arrays(boxes, [0.5] * len(boxes))
    with pytest.raises(UserError, match=rf"^Tracks\.boxes: {message}"):
        Tracks.from_arrays([0] * len(boxes), [1] * len(boxes), boxes)


def test_detections_own_their_numbers() -> None:
    # A caller who goes on writing into his buffer, or hands over a reversed or read-only view, changes nothing here.
    buffer = np.array(BOXES)
    found = Detections.from_arrays(buffer, np.array([0.9, 0.4]))
    buffer += 100
    assert found == detections()
    assert Detections.from_arrays(np.array(BOXES)[::-1], classes=np.array([1, 2])[::-1]).classes.tolist() == [2, 1]
    buffer.flags.writeable = False
    assert float(Detections.from_arrays(buffer).boxes[0, 0]) == 110.0


def test_detections_rows_by_mask_slice_and_index() -> None:
    found = detections(classes=[1, 2], embeddings=[[1.0, 0.0], [0.0, 1.0]])
    for index in (torch.tensor([False, True]), slice(1, 2), torch.tensor([1])):
        row = found[index]
        assert len(row) == 1 and row.classes.tolist() == [2] and row.embeddings.tolist() == [[0.0, 1.0]]
        assert row.masks is None


@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(0, 5000))
@settings(max_examples=30, deadline=None)
def test_detections_to_mot_and_back(seed: int, n: int, frame: int) -> None:
    # Rows count frames from 1 and hold left, top, width, height; binary fractions survive exactly.
    rng = np.random.default_rng(seed)
    corner, size = rng.integers(-4000, 4000, (n, 2)) / 8, rng.integers(0, 4000, (n, 2)) / 8
    found = Detections.from_arrays(np.c_[corner, corner + size], rng.normal(size=n) * 50)
    rows = found.to_mot(frame)
    assert rows.shape == (n, 10) and (rows[:, 0] == frame + 1).all() and np.array_equal(rows[:, 4:6], size)
    assert Detections.from_mot(rows) == found


def test_detections_from_mot_refuses_tables_without_score() -> None:
    with pytest.raises(UserError, match=r"Detections\.from_mot.*7"):
        Detections.from_mot(np.zeros((3, 6)))


def test_detections_to_supervision_and_back() -> None:
    pytest.importorskip("supervision")
    full = detections(
        masks=np.eye(2, dtype=bool)[:, None].repeat(3, 1),
        classes=np.array([3, 1]),
        embeddings=np.array([[1.0, 2.0], [3.0, 4.0]]),
        depths=np.array([2.5, np.nan]),
    )
    for found in (full, detections(1), Detections.empty()):
        assert Detections.from_supervision(found.to_supervision()) == found


# --- Tracks ----------------------------------------------------------------------------------------------------------


def test_tracks_are_sorted_by_frame_and_id() -> None:
    tracks = Tracks.from_arrays(
        [1, 0, 0], [1, 2, 1], np.arange(12).reshape(3, 4) + np.array([0, 0, 9, 9]), [0.1, 0.2, 0.3]
    )
    assert tracks.frames.tolist() == [0, 0, 1] and tracks.ids.tolist() == [1, 2, 1]
    assert tracks.scores.tolist() == pytest.approx([0.3, 0.2, 0.1])
    assert tracks.at(0).ids.tolist() == [1, 2] and len(tracks.at(7)) == 0
    assert tracks.observed.all() and tracks.visibility.isnan().all() and tracks.classes.tolist() == [1, 1, 1]


def test_tracks_refuse_an_identity_twice_in_a_frame() -> None:
    with pytest.raises(UserError, match="identity 7 stands twice in frame 3"):
        Tracks.from_arrays([3, 2, 3], [7, 7, 7], np.tile(BOXES[0], (3, 1)))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"classes": [1.5]}, "classes"),
        ({"visibility": [0.5, 0.5]}, "visibility"),
        ({"observed": [1]}, "observed"),  # integers would choose rows instead of masking them
        ({"scores": [np.inf]}, "scores"),
    ],
)
def test_tracks_name_the_field_that_does_not_fit(more: dict, field: str) -> None:
    with pytest.raises(UserError, match=rf"Tracks\.{field}"):
        Tracks.from_arrays([0], [1], BOXES[:1], **more)


@given(st.integers(0, 2**32 - 1), st.integers(0, 8))
@settings(max_examples=30, deadline=None)
def test_tracks_to_mot_and_back(seed: int, n: int) -> None:
    # Unknown visibility (NaN) is -1 in the file and unknown again when it is read.
    rng = np.random.default_rng(seed)
    cell = rng.choice(40, n, replace=False)
    corner, size = rng.integers(-4000, 4000, (n, 2)) / 8, rng.integers(0, 4000, (n, 2)) / 8
    visibility = np.where(rng.random(n) < 0.5, np.nan, rng.random(n))
    tracks = Tracks.from_arrays(
        cell // 8,
        cell % 8 + 1,
        np.c_[corner, corner + size],
        rng.random(n),
        classes=rng.integers(1, 13, n),
        visibility=visibility,
    )
    assert Tracks.from_mot(tracks.to_mot()) == tracks


def test_tracks_from_result_rows_leave_class_and_visibility_unknown() -> None:
    # Result files end in -1, -1, -1, -1 and short tables have no such columns.
    rows = np.array([[1, 4, 10, 20, 20, 40, 0.5, -1, -1, -1]])
    for table in (rows, rows[:, :7], rows[:, :6]):
        tracks = Tracks.from_mot(table)
        assert tracks.frames.tolist() == [0] and tracks.ids.tolist() == [4] and tracks.boxes.tolist() == [BOXES[0]]
        assert tracks.classes.tolist() == [1] and bool(tracks.visibility.isnan().all())
    assert len(Tracks.from_mot(np.zeros((0, 9)))) == len(Tracks.empty()) == 0


def test_tracks_replace_keeps_the_rest() -> None:
    tracks = Tracks.from_arrays([0, 1], [1, 1], BOXES)
    changed = tracks.replace(ids=torch.tensor([5, 5]))
    assert changed.ids.tolist() == [5, 5] and torch.equal(changed.boxes, tracks.boxes) and changed != tracks


# --- SceneGraph ------------------------------------------------------------------------------------------------------


def graph(**nodes: object) -> SceneGraph:
    return SceneGraph.build(4, 0.16, {"track_id": [3, 8], "box": BOXES, **nodes})


def test_scene_graph_fills_what_is_not_given_as_unknown() -> None:
    scene = graph()
    assert len(scene) == 2 and scene.boxes.tolist() == BOXES
    assert scene.visibility.isnan().all() and scene.positions.shape == (2, 3) and scene.embeddings.shape == (2, 0)
    assert scene.states.tolist() == [ObjectState.VISIBLE] * 2 and scene.shown.all()
    assert scene.relations.shape == (0, len(RELATIONS)) and scene.cues.shape == (0, len(CUES))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({"box": [[1.0, 2.0, 3.0]] * 2}, "box"),
        ({"box_std": [[1.0] * 4]}, "box_std"),  # one row too few
        ({"track_id": [3, 3]}, "each identity once"),
        ({"track_id": [3.0, 8.5]}, "track_id"),  # no integers
        ({"shown": [0.5, 1.0]}, "shown"),
        ({"colour": [1, 2]}, "unknown node field colour"),
    ],
)
def test_scene_graph_names_the_node_field_that_does_not_fit(nodes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        graph(**nodes)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ({"edge_index": [[0], [2]]}, "relates.*2 objects"),
        ({"edge_index": [[0], [-1]]}, "relates"),
        ({"edge_index": [[0], [1]], "weight": [1.0]}, "unknown field weight"),
    ],
)
def test_scene_graph_refuses_edges_to_nowhere(edges: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SceneGraph.build(0, 0.0, {"track_id": [3, 8]}, edges)


@pytest.mark.parametrize(("where", "name"), [("object", "score"), (RELATES, "adjacency"), (BECOMES, "edge_index")])
def test_scene_graph_says_which_field_is_missing(where: object, name: str) -> None:
    data = graph().data.clone()
    del data[where][name]
    with pytest.raises(UserError, match=name):
        SceneGraph(0, 0.0, data)


def test_scene_graph_sorts_edges_with_their_fields() -> None:
    scene = SceneGraph.build(
        0,
        0.0,
        {"track_id": [1, 2, 3]},
        {"edge_index": [[2, 0, 1], [0, 2, 0]], "adjacency": [0.2, 0.0, 0.1]},
        {"edge_index": [[1, 0], [1, 0]], "probability": [0.1, 0.9]},
    )
    assert scene.relates_index.tolist() == [[0, 1, 2], [2, 0, 0]]
    assert scene.adjacency.tolist() == pytest.approx([0.0, 0.1, 0.2])
    assert scene.match_probability.tolist() == pytest.approx([0.9, 0.1])


def test_scene_graph_equality_sees_every_field() -> None:
    scene = graph(score=[0.5, float("nan")])
    assert scene == graph(score=[0.5, float("nan")])  # unknown equals unknown
    assert scene != graph(score=[0.5, 0.5])
    assert scene != SceneGraph.build(5, 0.16, {"track_id": [3, 8], "box": BOXES, "score": [0.5, float("nan")]})


def test_loading_pyg_warns_of_nothing() -> None:
    # Its own use of torch is deprecated, which is nothing to a user; other such warnings would be errors here.
    code = "from scenegraph_track import SceneGraph; print(SceneGraph.build(0, 0.0, {'track_id': [1]}).data.num_nodes)"
    command = [sys.executable, "-W", "error::FutureWarning", "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"


# --- TrackerState ----------------------------------------------------------------------------------------------------


def test_track_table_rows() -> None:
    table = TrackTable.empty(3)
    table.check()
    assert len(table.joined(table)) == 0 and len(table[np.zeros(0, bool)]) == 0
    with pytest.raises(UserError, match=r"TrackTable\.hits: expected 0 rows, found 2"):
        TrackTable(**{f.name: getattr(table, f.name) for f in fields(table)} | {"hits": np.ones(2, np.int64)})
    wrong = TrackTable(**{f.name: getattr(table, f.name) for f in fields(table)} | {"size": np.zeros((0, 3))})
    with pytest.raises(UserError, match=r"TrackTable\.size"):
        wrong.check()


def test_state_saved_before_the_first_frame_is_the_same(tmp_path: Path) -> None:
    state = start_state()
    state.save(tmp_path / "state")
    assert TrackerState.load(tmp_path / "state") == state


def test_state_from_a_file_that_is_none(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    with pytest.raises(UserError, match="no such file"):
        TrackerState.load(tmp_path / "absent")
    with pytest.raises(UserError, match="expected a file with a tracker state, found a folder"):
        TrackerState.load(tmp_path)
    (tmp_path / "text").write_text("no safetensors")
    with pytest.raises(UserError, match="text: expected a tracker state"):
        TrackerState.load(tmp_path / "text")
    save_file({"a": np.zeros(1)}, str(tmp_path / "other"))
    with pytest.raises(UserError, match="other: expected a tracker state"):
        TrackerState.load(tmp_path / "other")
    save_file({"a": np.zeros(1)}, str(tmp_path / "partial"), {"format": "scenegraph-track tracker state 1"})
    with pytest.raises(UserError, match="partial: expected a tracker state"):
        TrackerState.load(tmp_path / "partial")


def test_edges_given_as_functions_are_made_once_when_they_are_looked_at() -> None:
    asked = []

    def related() -> dict:
        asked.append(1)
        return {"edge_index": [[1, 0], [0, 1]], "adjacency": [0.5, 0.25]}

    scene = SceneGraph.build(3, 0.5, {"track_id": [7, 9], "shown": [True, False]}, related)
    assert scene.track_ids.tolist() == [7, 9] and scene.shown.tolist() == [True, False] and len(scene) == 2
    assert asked == []
    assert scene.adjacency.tolist() == [0.25, 0.5] and scene.data["object"].track_id.tolist() == [7, 9]
    assert scene.relates_index.tolist() == [[0, 1], [1, 0]] and asked == [1]
    told = SceneGraph.build(3, 0.5, {"track_id": [7, 9], "shown": [True, False]}, related())
    assert scene == told and pickle.loads(pickle.dumps(scene)) == told


def test_edges_made_later_are_checked_as_well() -> None:
    scene = SceneGraph.build(0, 0.0, {"track_id": [3]}, becomes=lambda: {"edge_index": [[0], [4]]})
    with pytest.raises(UserError, match="becomes"):
        _ = scene.data

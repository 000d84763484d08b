"""Scene graphs as JSON Lines, NetworkX and GraphML: nothing is lost, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.graph import (
    SCHEMA,
    from_json_line,
    from_networkx,
    read_graphml,
    read_jsonl,
    to_json_line,
    to_networkx,
    unroll,
    write_graphml,
)
from scenegraph_track.structures import CUES, RELATIONS, SceneGraph


def random_graph(seed: int, n: int, width: int = 0, unknown: float = 0.3, frame: int = 0) -> SceneGraph:
    """Random nodes and edges in random order, a part of the numbers unknown (NaN)."""
    rng = np.random.default_rng(seed)

    def some(*shape: int) -> np.ndarray:
        values = rng.normal(scale=10.0 ** rng.integers(-30, 30), size=shape)
        return np.where(rng.random(shape) < unknown, np.nan, values).astype(np.float32)

    def edges(**columns: int) -> dict[str, np.ndarray]:
        chosen = rng.permutation(n * n)[: rng.integers(0, n * n + 1)]
        index = np.stack([chosen // max(n, 1), chosen % max(n, 1)])
        return {"edge_index": index, **{k: some(len(chosen), *([v] if v else [])) for k, v in columns.items()}}

    nodes = {
        "track_id": rng.permutation(1000)[:n] + 1,
        "box": some(n, 4),
        "box_std": some(n, 4),
        "position": some(n, 3),
        "visibility": some(n),
        "state": rng.integers(0, 3, n),
        "hidden_for": some(n),
        "shown": rng.random(n) < 0.5,
        "score": some(n),
        "class_id": rng.integers(-1, 2**40, n),
        "detection": rng.integers(-1, 9, n),
        "embedding": some(n, width),
    }
    relates = edges(adjacency=0, relation=len(RELATIONS))
    return SceneGraph.build(
        frame, float(rng.random() * 100), nodes, relates, edges(probability=0, gap=0, cue=len(CUES))
    )


graphs = st.builds(
    random_graph,
    st.integers(0, 2**32 - 1),
    st.integers(0, 6),  # also no node and one node
    st.sampled_from([0, 1, 5]),  # also no embeddings
    st.sampled_from([0.0, 0.3, 1.0]),  # also nothing known
    st.integers(0, 10**6),
)


@given(graphs)
@settings(max_examples=60, deadline=None)
def test_json_line_loses_nothing(scene: SceneGraph) -> None:
    line = to_json_line(scene)
    assert "\n" not in line and "NaN" not in line
    assert from_json_line(line) == scene
    assert to_json_line(from_json_line(line)) == line


@given(graphs)
@settings(max_examples=60, deadline=None)
def test_networkx_loses_nothing(scene: SceneGraph) -> None:
    assert from_networkx(to_networkx(scene)) == scene


@given(graphs)
@settings(max_examples=40, deadline=None)
def test_graphml_loses_nothing(tmp_path_factory: pytest.TempPathFactory, scene: SceneGraph) -> None:
    path = tmp_path_factory.getbasetemp() / "scene.graphml"
    write_graphml(scene, path)
    assert read_graphml(path) == scene
    plain = nx.read_graphml(path, node_type=int, force_multigraph=True)  # NetworkX alone can read it
    assert set(plain) == set(scene.track_ids.tolist())
    assert plain.number_of_edges() == scene.relates_index.shape[1] + scene.becomes_index.shape[1]


def small(frame: int = 2) -> SceneGraph:
    nodes = {"track_id": [3, 8], "box": [[1, 2, 3, 4], [5, 6, 7, 8.5]], "state": [0, 1], "score": [0.5, np.nan]}
    relates = {"edge_index": [[0], [1]], "adjacency": [0.25], "relation": np.arange(6)[None] / 8}
    becomes = {"edge_index": [[0, 1], [0, 0]], "probability": [0.75, 0.125], "gap": [0.5, 1], "cue": np.eye(2, 5)}
    return SceneGraph.build(frame, frame / 2, nodes, relates, becomes)


def test_json_layout_is_the_documented_one() -> None:
    # Ends of edges are track ids, states are words, unknown numbers are null.
    record = json.loads(to_json_line(small()))
    assert (record["schema"], record["frame"], record["time"]) == ("scenegraph-track/1", 2, 1.0)
    assert record["objects"][1]["track_id"] == 8 and record["objects"][1]["state"] == "hidden"
    assert record["objects"][1]["score"] is None and record["objects"][1]["position"] == [None, None, None]
    assert record["relates"] == [
        {"source": 3, "target": 8, "adjacency": 0.25, **dict(zip(RELATIONS, (np.arange(6) / 8).tolist()))}
    ]
    assert [(e["source"], e["target"], e["motion"], e["overlap"]) for e in record["becomes"]] == [
        (3, 3, 1.0, 0.0),
        (8, 3, 0.0, 1.0),
    ]


def test_a_line_of_before_what_hides_an_object_was_named_is_read() -> None:
    record = json.loads(to_json_line(small()))
    for node in record["objects"]:
        del node["hidden_by"]
    assert from_json_line(json.dumps(record)).hidden_by.tolist() == [0, 0]


def test_fields_that_a_reader_does_not_know_are_ignored() -> None:
    record = json.loads(to_json_line(small()))
    record["weather"] = record["objects"][0]["colour"] = record["relates"][0]["since"] = "x"
    assert from_json_line(json.dumps(record)) == small()


@pytest.mark.parametrize("name", ["box", "score", "embedding"])
def test_infinite_numbers_are_refused_rather_than_lost(name: str) -> None:
    values = {"box": [[0, 0, 1, np.inf]], "score": [np.inf], "embedding": [[-np.inf]]}[name]
    scene = SceneGraph.build(0, 0.0, {"track_id": [1], name: values})
    with pytest.raises(UserError, match="finite"):
        to_json_line(scene)
    with pytest.raises(UserError, match="finite"):
        from_json_line(to_json_line(small()).replace("0.5", "Infinity"))


def test_parallel_edges_are_refused_where_networkx_would_merge_them() -> None:
    scene = SceneGraph.build(0, 0.0, {"track_id": [1, 2]}, {"edge_index": [[0, 0], [1, 1]]})
    assert from_json_line(to_json_line(scene)) == scene
    with pytest.raises(UserError, match="at most one edge"):
        to_networkx(scene)


def edited(**changes: object) -> str:
    record = json.loads(to_json_line(small()))
    for key, value in changes.items():
        target = record
        *path, last = key.split("__")
        for part in path:
            target = target[int(part) if part.isdigit() else part]
        target[last] = value
    return json.dumps(record)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "one JSON object"),
        ("[1]", "one JSON object, found list"),
        ("3", "found int"),
        (edited(schema="scenegraph-track/2"), "schema scenegraph-track/1, found 'scenegraph-track/2'"),
        (edited(objects=None), "NoneType"),
        (edited(frame="first"), "first"),
        (edited(time=None), "scene graph"),
        (edited(objects__0__box=[1, 2, 3]), "scene graph"),  # ragged
        (edited(objects__0__box="wide"), "scene graph"),
        (edited(objects__1__track_id=None, relates=[], becomes=[]), "track_id"),
        (edited(objects__1__track_id=1.5, relates=[], becomes=[]), "track_id"),
        (edited(objects__0__track_id=10**30), "scene graph"),
        (edited(objects__1__track_id=3, relates=[], becomes=[]), "each identity once"),
        (edited(objects__0__state="asleep"), "asleep"),
        (edited(objects__0__shown=None), "shown"),
        (edited(relates__0__source=99), "99"),
        (edited(relates__0__near="close"), "scene graph"),
    ],
)
def test_a_bad_line_is_named_with_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.graph.jsonl"
    path.write_text(f"{to_json_line(small(0))}\n\n{line}\n")
    read = read_jsonl(path)
    assert next(read) == small(0)  # what comes before is still read, blank lines count
    with pytest.raises(FormatError, match=rf"a\.graph\.jsonl:3: expected a scene graph.*{message}"):
        next(read)


@pytest.mark.parametrize("field", ["objects", "relates", "becomes", "frame", "time"])
def test_a_missing_field_is_named(field: str) -> None:
    record = json.loads(to_json_line(small()))
    del record[field]
    with pytest.raises(UserError, match=field):
        from_json_line(json.dumps(record))


def test_read_jsonl_of_other_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        next(read_jsonl(tmp_path / "absent"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(FormatError, match="binary:1"):
        next(read_jsonl(tmp_path / "binary"))
    (tmp_path / "empty").write_text("")
    assert list(read_jsonl(tmp_path / "empty")) == []


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda b: b.decode("latin-1")))
def test_any_text_is_a_graph_or_a_user_error(text: str) -> None:
    with pytest.raises(UserError):
        from_json_line(text)


def test_networkx_layout() -> None:
    graph = to_networkx(small())
    assert graph.graph == {"schema": SCHEMA, "frame": 2, "time": 1.0}
    assert graph.nodes[8]["state"] == "hidden" and graph.nodes[3]["box"] == [1, 2, 3, 4]
    assert graph.edges[3, 8, "relates"]["adjacency"] == 0.25
    assert graph.edges[8, 3, "becomes"]["probability"] == 0.125 and graph.has_edge(3, 3, "becomes")


def test_graphml_of_other_graphs_is_refused_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "other.graphml"
    with pytest.raises(UserError, match="no such file"):
        read_graphml(path)
    nx.write_graphml(nx.path_graph(3), path)
    with pytest.raises(UserError, match=r"other\.graphml: expected GraphML of one scene graph"):
        read_graphml(path)
    path.write_text("<graphml")
    with pytest.raises(UserError, match=r"other\.graphml"):
        read_graphml(path)
    write_graphml(small(), path)
    path.write_text(path.read_text().replace(">[]<", ">[1<"))
    with pytest.raises(UserError, match=r"other\.graphml: node 3: .*embedding"):
        read_graphml(path)


def test_unroll_holds_every_frame_and_joins_tracks_to_their_past() -> None:
    # Track 8 is missing in frame 1, so in frame 2 its edge comes from frame 0.
    middle = SceneGraph.build(1, 0.5, {"track_id": [3]}, None, {"edge_index": [[0], [0]], "probability": [0.5]})
    scenes = [small(0), middle, small(2)]
    graph = unroll(scenes)
    assert set(graph) == {(0, 3), (0, 8), (1, 3), (2, 3), (2, 8)}
    assert graph.nodes[2, 8] == {"frame": 2, "time": 1.0, **to_networkx(small(2)).nodes[8]}
    becomes = {(s, t): e["probability"] for s, t, k, e in graph.edges(keys=True, data=True) if k == "becomes"}
    assert becomes == {((0, 3), (1, 3)): 0.5, ((1, 3), (2, 3)): 0.75, ((0, 8), (2, 3)): 0.125}
    relates = [(s, t, e["adjacency"]) for s, t, k, e in graph.edges(keys=True, data=True) if k == "relates"]
    assert relates == [((0, 3), (0, 8), 0.25), ((2, 3), (2, 8), 0.25)]
    assert len(unroll([])) == 0


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_unroll_keeps_every_node_and_spatial_edge(seed: int) -> None:
    scenes = [random_graph(seed + t, 4, frame=t) for t in range(3)]
    graph = unroll(scenes)
    for scene in scenes:
        alone = to_networkx(scene)
        assert {i for t, i in graph if t == scene.frame_index} == set(alone)
        for a, b, key, values in alone.edges(keys=True, data=True):
            if key == "relates":
                assert graph.edges[(scene.frame_index, a), (scene.frame_index, b), "relates"] == values

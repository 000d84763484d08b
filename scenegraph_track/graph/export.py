"""Scene graphs as JSON Lines, NetworkX and GraphML; every form holds everything and reads back equal.

One JSON line is one frame (schema ``scenegraph-track/1``)::

    {"schema": "scenegraph-track/1", "frame": 0, "time": 0.0,
     "objects": [{"track_id": 1, "box": [x1, y1, x2, y2], "state": "visible", ...}],
     "relates": [{"source": 1, "target": 2, "adjacency": 1.0, "occludes": 0.9, "in_front_of": 1.0, ...}],
     "becomes": [{"source": 1, "target": 1, "probability": 0.97, "gap": 0.04, "motion": 0.4, "overlap": 0.6, ...}]}

Edges name their ends by ``track_id``.  Fields of an object are those of
:class:`scenegraph_track.structures.SceneGraph`; an unknown number is ``null``.  A reader should ignore
fields that it does not know; the number behind the slash grows when a field changes its meaning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import networkx as nx

from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.structures import CUES, RELATIONS, ObjectState, SceneGraph

SCHEMA = "scenegraph-track/1"
"""Name and version of the JSON schema."""

_STATES = {state.name.lower(): int(state) for state in ObjectState}
_NEWER = ("hidden_by",)
"""Fields that files of earlier versions do not have."""

_VECTORS = {  # how a vector of a node is spread over the scalar attributes of GraphML
    "box": ("x1", "y1", "x2", "y2"),
    "box_std": ("cx_std", "cy_std", "width_std", "height_std"),
    "position": ("x", "y", "z"),
}


def to_dict(scene: SceneGraph) -> dict[str, Any]:
    """The graph as plain Python values, in the layout of one JSON line."""
    node = {name: scene.nodes[name].tolist() for name in SceneGraph.NODE_FIELDS}
    node["state"] = [ObjectState(s).name.lower() for s in node["state"]]
    ids = node["track_id"]
    objects = [{name: _plain(values[i]) for name, values in node.items()} for i in range(len(ids))]
    return {
        "schema": SCHEMA,
        "frame": scene.frame_index,
        "time": scene.timestamp,
        "objects": objects,
        "relates": _edges(scene, "relates", ids, {"adjacency": None, "relation": RELATIONS}),
        "becomes": _edges(scene, "becomes", ids, {"probability": None, "gap": None, "cue": CUES}),
    }


def from_dict(record: dict[str, Any]) -> SceneGraph:
    """The graph of :func:`to_dict`.

    Raises:
        UserError: The schema is another one, or a field is missing or malformed.
    """
    schema = record.get("schema")
    if schema != SCHEMA:
        raise UserError(f"expected a scene graph of schema {SCHEMA}, found {schema!r}")
    try:
        objects = record["objects"]
        absent = {"state", *(name for name in _NEWER if any(o.get(name) is None for o in objects))}
        nodes = {name: [_number(o[name]) for o in objects] for name in SceneGraph.NODE_FIELDS if name not in absent}
        nodes["state"] = [_STATES[o["state"]] for o in objects]
        row = {identity: i for i, identity in enumerate(nodes["track_id"])}
        relates = _edge_arrays(record["relates"], row, {"adjacency": None, "relation": RELATIONS})
        becomes = _edge_arrays(record["becomes"], row, {"probability": None, "gap": None, "cue": CUES})
        if not objects:
            nodes = {"track_id": []}
        return SceneGraph.build(int(record["frame"]), float(record["time"]), nodes, relates, becomes)
    except KeyError as missing:
        raise UserError(f"scene graph: expected the field or identity {missing}") from None
    except UserError:
        raise
    except (TypeError, AttributeError, ValueError, RuntimeError, OverflowError) as wrong:
        raise UserError(f"scene graph: {' '.join(str(wrong).split())}") from None


def to_json_line(scene: SceneGraph) -> str:
    """The graph as one line of JSON, without the line feed."""
    return json.dumps(to_dict(scene), separators=(",", ":"), allow_nan=False)


def from_json_line(line: str) -> SceneGraph:
    """The graph of :func:`to_json_line`."""
    try:
        record = json.loads(line, parse_constant=_refuse)
    except json.JSONDecodeError as wrong:
        raise UserError(f"expected one JSON object, {wrong}") from None
    if not isinstance(record, dict):
        raise UserError(f"expected one JSON object, found {type(record).__name__}")
    return from_dict(record)


def read_jsonl(path: str | Path) -> Iterator[SceneGraph]:
    """Read a ``.graph.jsonl`` file frame by frame.

    Raises:
        FormatError: ``file:line`` of a line that is no scene graph.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield from_json_line(line)
            except UserError as wrong:
                raise FormatError(path, number, f"a scene graph ({wrong})") from None


def to_networkx(scene: SceneGraph) -> nx.MultiDiGraph:
    """The graph with track ids as nodes and ``relates`` / ``becomes`` as edge keys."""
    record = to_dict(scene)
    graph = nx.MultiDiGraph(schema=SCHEMA, frame=record["frame"], time=record["time"])
    for node in record["objects"]:
        graph.add_node(node["track_id"], **node)
    for key in ("relates", "becomes"):
        for edge in record[key]:
            ends = edge.pop("source"), edge.pop("target")
            graph.add_edge(*ends, key=key, **edge)
    if graph.number_of_edges() != len(record["relates"]) + len(record["becomes"]):
        raise UserError("scene graph: expected at most one edge of a kind from one object to another")
    return graph


def from_networkx(graph: nx.MultiDiGraph) -> SceneGraph:
    """The scene of :func:`to_networkx`."""
    record: dict[str, Any] = {k: graph.graph.get(k) for k in ("schema", "frame", "time")}
    record["objects"] = [dict(values) for _, values in graph.nodes(data=True)]
    for key in ("relates", "becomes"):
        edges = graph.edges(keys=True, data=True)
        record[key] = [{"source": s, "target": t, **values} for s, t, k, values in edges if k == key]
    return from_dict(record)


def unroll(scenes: Iterable[SceneGraph]) -> nx.MultiDiGraph:
    """Many frames as one graph: nodes are ``(frame, track_id)``, ``becomes`` edges join a node to its past.

    The source of a ``becomes`` edge is the last node of that track before the frame; a track without one (its first
    frame) has no incoming edge.
    """
    graph, newest = nx.MultiDiGraph(schema=SCHEMA), {}
    for scene in scenes:
        record = to_dict(scene)
        t = record["frame"]
        for node in record["objects"]:
            graph.add_node((t, node["track_id"]), frame=t, time=record["time"], **node)
        for edge in record["relates"]:
            ends = (t, edge.pop("source")), (t, edge.pop("target"))
            graph.add_edge(*ends, key="relates", **edge)
        for edge in record["becomes"]:
            source, target = edge.pop("source"), edge.pop("target")
            if source in newest:
                graph.add_edge((newest[source], source), (t, target), key="becomes", **edge)
        newest.update((node["track_id"], t) for node in record["objects"])
    return graph


def write_graphml(scene: SceneGraph, path: str | Path) -> None:
    """Write one frame as GraphML; vectors become scalar attributes (``x1`` ... ``z``), embeddings JSON text."""
    graph = to_networkx(scene)
    for _, values in graph.nodes(data=True):
        for name, parts in _VECTORS.items():
            vector = values.pop(name)
            values.update((k, v) for k, v in zip(parts, vector or (), strict=True) if v is not None)
        values["embedding"] = json.dumps(values["embedding"])
    for *_, values in (*graph.nodes(data=True), *graph.edges(data=True)):
        for name in [k for k, v in values.items() if v is None]:
            del values[name]
    nx.write_graphml(graph, str(path))


def read_graphml(path: str | Path) -> SceneGraph:
    """The scene of :func:`write_graphml`.

    Raises:
        UserError: The file is missing or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        graph = nx.read_graphml(path, node_type=int, force_multigraph=True)
    except (nx.NetworkXError, SyntaxError, ValueError) as wrong:
        raise UserError(f"{path}: expected GraphML of one scene graph, {wrong}") from None
    if graph.graph.get("schema") != SCHEMA:
        raise UserError(f"{path}: expected GraphML of one scene graph of schema {SCHEMA}")
    for node, values in graph.nodes(data=True):
        for name, parts in _VECTORS.items():
            values[name] = [values.pop(k, None) for k in parts]
        try:
            values["embedding"] = json.loads(values.get("embedding", "[]"))
        except json.JSONDecodeError as wrong:
            raise UserError(f"{path}: node {node}: expected the embedding as JSON, {wrong}") from None
        for name in SceneGraph.NODE_FIELDS:
            values.setdefault(name, None)
    columns = {"relates": ("adjacency", *RELATIONS), "becomes": ("probability", "gap", *CUES)}
    for _, _, key, values in graph.edges(keys=True, data=True):
        for name in columns.get(key, ()):
            values.setdefault(name, None)
    try:
        return from_networkx(graph)
    except UserError as wrong:
        raise UserError(f"{path}: {wrong}") from None


def _refuse(constant: str) -> None:
    raise UserError(f"expected finite numbers or null, found {constant}")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        if math.isinf(value):
            raise UserError("scene graph: expected finite numbers, or NaN where unknown, found an infinite one")
        return None if math.isnan(value) else value
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _number(value: Any) -> Any:
    if value is None:
        return math.nan
    return [_number(v) for v in value] if isinstance(value, list) else value


def _edges(
    scene: SceneGraph, kind: str, ids: list[int], names: dict[str, tuple[str, ...] | None]
) -> list[dict[str, Any]]:
    store = scene.data["object", kind, "object"]
    columns: dict[str, list[Any]] = {}
    for name, parts in names.items():
        values = store[name].tolist()
        for k, part in enumerate(parts or (name,)):
            columns[part] = [v[k] for v in values] if parts else values
    ends = zip(*store.edge_index.tolist(), strict=True)
    return [
        {"source": ids[s], "target": ids[t], **{name: _plain(values[e]) for name, values in columns.items()}}
        for e, (s, t) in enumerate(ends)
    ]


def _edge_arrays(
    edges: list[dict[str, Any]], row: dict[int, int], names: dict[str, tuple[str, ...] | None]
) -> dict[str, Any]:
    arrays: dict[str, Any] = {"edge_index": [[row[e[end]] for e in edges] for end in ("source", "target")]}
    for name, parts in names.items():
        arrays[name] = [[_number(e[p]) for p in parts] if parts else _number(e[name]) for e in edges]
    return arrays

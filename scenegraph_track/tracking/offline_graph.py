"""Scene graphs of an online run brought in line with what the offline pass has decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from scenegraph_track.graph.relations import relations_from_boxes
from scenegraph_track.structures import ObjectState, SceneGraph, Tracks
from scenegraph_track.tracking.offline import Names


def refined_scenes(scenes: Iterable[SceneGraph], refined: Tracks, names: Names) -> Iterator[SceneGraph]:
    """Rename, move, hide and add nodes so that the shown boxes of every scene are the refined tracks.

    Tracklets that were linked become one node.  An object between two tracklets stays hidden, also longer than the
    online tracker would keep it; it is a node wherever the refined tracks have a box.  Relations are those of the final
    boxes; temporal edges are kept where both ends are, without new ones over the gaps.

    Args:
        scenes: The online graphs, in order.
        refined: Result of ``offline.refine``.
        names: Result of it as well.
    """
    last_seen: dict[int, float] = {}
    for scene in scenes:
        nodes = {name: scene.nodes[name].numpy() for name in SceneGraph.NODE_FIELDS}
        nodes["track_id"] = names.at(scene.frame_index, nodes["track_id"])
        nodes["hidden_by"] = names.at(scene.frame_index, nodes["hidden_by"])
        kept = _one_node_each(nodes["track_id"], nodes["state"])
        nodes = {name: values[kept] for name, values in nodes.items()}
        here = refined.at(scene.frame_index)
        nodes = _with_new(nodes, here.ids.numpy())
        row = {identity: i for i, identity in enumerate(nodes["track_id"].tolist())}
        shown = np.array([row[i] for i in here.ids.tolist()], dtype=np.int64)
        nodes["shown"] = np.zeros(len(row), dtype=bool)
        nodes["shown"][shown] = True
        nodes["box"][shown] = here.boxes.numpy()
        nodes["score"][shown] = here.scores.numpy()
        for identity, state in zip(row, nodes["state"].tolist(), strict=True):
            if state == ObjectState.VISIBLE:
                last_seen[identity] = scene.timestamp
        away = [scene.timestamp - last_seen.get(identity, scene.timestamp) for identity in row]
        nodes["hidden_for"] = np.array(away, dtype=np.float32)
        nodes["state"][shown] = np.where(here.observed.numpy(), ObjectState.VISIBLE, ObjectState.HIDDEN)
        stay = np.flatnonzero(nodes["state"] != ObjectState.LEFT)
        relates = relations_from_boxes(nodes["box"][stay].astype(np.float64))
        relates["edge_index"] = stay[relates["edge_index"]]
        yield SceneGraph.build(scene.frame_index, scene.timestamp, nodes, relates, _becomes(scene, kept))


def _one_node_each(ids: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Rows to keep, one of each identity: the one that is seen rather than the one that is hidden or left."""
    order = np.lexsort((states, ids))
    first = np.ones(len(ids), dtype=bool)
    first[1:] = ids[order][1:] != ids[order][:-1]
    return np.sort(order[first])


def _with_new(nodes: dict[str, np.ndarray], ids: np.ndarray) -> dict[str, np.ndarray]:
    """The nodes with a hidden one for each identity that has none."""
    new = np.setdiff1d(ids, nodes["track_id"])
    if len(new) == 0:
        return nodes
    blank = SceneGraph.build(0, 0.0, {"track_id": new, "embedding": np.zeros((len(new), nodes["embedding"].shape[1]))})
    added = {name: blank.nodes[name].numpy() for name in nodes}
    added["state"] = np.full(len(new), int(ObjectState.HIDDEN))
    added["visibility"] = np.zeros(len(new), dtype=np.float32)
    return {name: np.concatenate([values, added[name]]) for name, values in nodes.items()}


def _becomes(scene: SceneGraph, kept: np.ndarray) -> dict[str, np.ndarray]:
    """The temporal edges between nodes that are kept."""
    row = np.full(len(scene), -1)
    row[kept] = np.arange(len(kept))
    edges = scene.data["object", "becomes", "object"]
    index = row[edges.edge_index.numpy()]
    both = (index >= 0).all(0)
    values = {name: edges[name].numpy()[both] for name in ("probability", "cue", "gap")}
    return {"edge_index": index[:, both], **values}

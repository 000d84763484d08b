"""Graphs that follow what the offline pass has decided."""

from __future__ import annotations

import numpy as np

from scenegraph_track.structures import ObjectState, SceneGraph, Tracks
from scenegraph_track.tracking.offline import Names
from scenegraph_track.tracking.offline_graph import refined_scenes

VISIBLE, HIDDEN, LEFT = (int(state) for state in ObjectState)


def scene(frame: int, nodes: list[tuple[int, float, int]], becomes: list[tuple[int, int]] = ()) -> SceneGraph:
    """Boxes of 10 x 20 pixels: (identity, left edge, state)."""
    rows = {i: k for k, (i, _, _) in enumerate(nodes)}
    return SceneGraph.build(
        frame,
        frame / 10,
        {
            "track_id": [i for i, _, _ in nodes],
            "box": np.array([[x, 0, x + 10, 20] for _, x, _ in nodes]).reshape(-1, 4),
            "state": [s for _, _, s in nodes],
            "shown": [s == VISIBLE for _, _, s in nodes],
        },
        becomes={"edge_index": np.array([[rows[a], rows[b]] for a, b in becomes]).reshape(-1, 2).T},
    )


def tracks(rows: list[tuple[int, int, float, bool]]) -> Tracks:
    """(frame, identity, left edge, observed)."""
    boxes = [[x, 0, x + 10, 20] for _, _, x, _ in rows]
    frames, ids, _, observed = zip(*rows, strict=True)
    return Tracks.from_arrays(frames, ids, boxes, observed=np.array(observed))


# Object 1 hides behind 2 after frame 0, is forgotten at frame 2, and comes back as 3 in frame 4.
ONLINE = [
    scene(0, [(1, 0, VISIBLE), (2, 20, VISIBLE)]),
    scene(1, [(1, 9, HIDDEN), (2, 20, VISIBLE)], [(2, 2)]),
    scene(2, [(1, 18, LEFT), (2, 20, VISIBLE)], [(2, 2)]),
    scene(3, [(2, 20, VISIBLE)], [(2, 2)]),
    scene(4, [(2, 20, VISIBLE), (3, 40, VISIBLE)], [(2, 2)]),
]
REFINED = tracks(
    [
        *((t, 2, 20, True) for t in range(5)),
        *((t, 1, 10 * t, t in (0, 4)) for t in range(5)),
    ]
)


def renamed(final: dict[int, int]) -> Names:
    """What each online identity became, at any time."""
    online = np.array(sorted(final))
    return Names(online, np.zeros(len(online), dtype=np.int64), np.array([final[i] for i in sorted(final)]))


def node(graph: SceneGraph, identity: int) -> dict[str, object]:
    row = graph.track_ids.tolist().index(identity)
    return {name: graph.data["object"][name][row].tolist() for name in ("box", "state", "shown", "hidden_for")}


def test_linked_object_is_one_node_all_the_time() -> None:
    # Its boxes are the interpolated ones; it is hidden until it is seen again, and has no gap in its nodes.
    graphs = list(refined_scenes(ONLINE, REFINED, renamed({1: 1, 2: 2, 3: 1})))
    assert [graph.track_ids.tolist() for graph in graphs[:3]] == [[1, 2]] * 3
    assert [sorted(graph.track_ids.tolist()) for graph in graphs[3:]] == [[1, 2]] * 2
    seen = [node(graph, 1) for graph in graphs]
    assert [n["box"][0] for n in seen] == [0, 10, 20, 30, 40]
    assert [n["state"] for n in seen] == [VISIBLE, HIDDEN, HIDDEN, HIDDEN, VISIBLE]
    assert all(n["shown"] for n in seen)
    np.testing.assert_allclose([n["hidden_for"] for n in seen], [0, 0.1, 0.2, 0.3, 0], atol=1e-6)


def test_shown_boxes_are_the_refined_tracks() -> None:
    for graph in refined_scenes(ONLINE, REFINED, renamed({1: 1, 2: 2, 3: 1})):
        here = REFINED.at(graph.frame_index)
        order = graph.track_ids.argsort()
        assert graph.track_ids[order][graph.shown[order]].tolist() == here.ids.tolist()
        assert graph.boxes[order][graph.shown[order]].tolist() == here.boxes.tolist()


def test_what_is_not_shown_stays_a_hidden_node() -> None:
    # The offline pass has not filled the gap: object 1 is a hidden node as long as the online tracker kept it.
    refined = REFINED[REFINED.observed]
    graphs = list(refined_scenes(ONLINE, refined, renamed({1: 1, 2: 2, 3: 1})))
    assert node(graphs[1], 1) == {
        "box": [9, 0, 19, 20],
        "state": HIDDEN,
        "shown": False,
        "hidden_for": 0.10000000149011612,
    }
    assert graphs[3].track_ids.tolist() == [2]


def test_hidden_node_gives_way_to_the_seen_one() -> None:
    # The old tracklet is still kept as hidden when the new one, which is the same object, begins.
    online = [scene(0, [(1, 0, VISIBLE)]), scene(1, [(1, 5, HIDDEN), (4, 12, VISIBLE)], [(4, 4), (1, 4)])]
    graphs = list(refined_scenes(online, tracks([(0, 1, 0, True), (1, 1, 12, True)]), renamed({1: 1, 4: 1})))
    assert graphs[1].track_ids.tolist() == [1]
    assert node(graphs[1], 1) == {"box": [12, 0, 22, 20], "state": VISIBLE, "shown": True, "hidden_for": 0}
    assert graphs[1].becomes_index.tolist() == [[0], [0]]


def test_temporal_edges_follow_their_nodes() -> None:
    graphs = list(refined_scenes(ONLINE, REFINED, renamed({1: 1, 2: 2, 3: 1})))
    for graph in graphs[1:]:
        ids = graph.track_ids.numpy()
        assert ids[graph.becomes_index.numpy()].tolist() == [[2], [2]]

"""The graph tracker as a predictor that JEPA trains: what is masked, and that nothing else changes."""

from __future__ import annotations

import torch

from scenegraph_track.graph.features import CONTEXT, DETECTION, EDGE_WIDTH, TRACK
from scenegraph_track.graph.graph_tracker import GraphTracker
from scenegraph_track.pretraining.jepa_graph import MaskSettings, NodeFrame, NodeHistory, NodeWeights, masked_nodes

TRACKS, DETECTIONS, WIDTH = 40, 30, 8


def frame() -> tuple[NodeHistory, NodeFrame]:
    torch.manual_seed(0)
    ends = torch.stack([torch.arange(TRACKS).repeat_interleave(3), torch.randint(DETECTIONS, (3 * TRACKS,))])
    edges = ends.shape[1]
    available = torch.ones(edges, 5, dtype=torch.bool)
    past = NodeHistory(torch.randn(TRACKS, len(TRACK) + len(CONTEXT)), torch.randn(TRACKS, WIDTH))
    found = torch.randn(DETECTIONS, len(DETECTION) + len(CONTEXT))
    return past, NodeFrame(
        found, torch.randn(edges, EDGE_WIDTH), torch.randn(edges, 4), torch.randn(edges), available, ends
    )


def test_tracks_without_past_keep_what_the_frame_tells() -> None:
    past, now = frame()
    after, same, masked = masked_nodes(past, now, MaskSettings(history=0.5, neighbours=0.0))
    assert 10 < masked.sum() < 30
    assert (after.memory[masked] == 0).all() and (after.tracks[masked, : len(TRACK)] == 0).all()
    assert torch.equal(after.tracks[:, len(TRACK) :], past.tracks[:, len(TRACK) :])
    assert torch.equal(after.tracks[~masked], past.tracks[~masked])
    assert torch.equal(after.memory[~masked], past.memory[~masked])
    assert torch.equal(same.edge_index, now.edge_index)


def test_edges_are_lost_with_all_that_is_known_of_them() -> None:
    past, now = frame()
    after, fewer, masked = masked_nodes(past, now, MaskSettings(history=0.0, neighbours=0.5, edges=0.5))
    assert torch.equal(after.tracks, past.tracks) and torch.equal(after.memory, past.memory)
    counts = torch.bincount(fewer.edge_index[0], minlength=TRACKS)
    assert torch.equal(counts < 3, masked) and 5 < masked.sum() < 30
    kept = [int((now.edges == row).all(1).nonzero()) for row in fewer.edges]
    assert torch.equal(now.edge_index[:, kept], fewer.edge_index) and torch.equal(now.base[kept], fewer.base)
    assert torch.equal(now.offset[kept], fewer.offset) and len(fewer.available) == len(kept)


def test_nothing_is_masked_where_nothing_is_asked_for() -> None:
    past, now = frame()
    after, same, masked = masked_nodes(past, now, MaskSettings(history=0.0, neighbours=0.0))
    assert not masked.any() and torch.equal(after.tracks, past.tracks) and torch.equal(same.edges, now.edges)


def test_weights_are_the_nodes_of_tracks_and_depend_on_past_and_neighbours() -> None:
    past, now = frame()
    torch.manual_seed(0)
    student = NodeWeights(GraphTracker(WIDTH, 2))
    clean = student.weights(past, now)["node"]
    assert clean.shape == (TRACKS, WIDTH)
    for settings in (MaskSettings(history=1.0, neighbours=0.0), MaskSettings(history=0.0, neighbours=1.0, edges=1.0)):
        *spoilt, masked = masked_nodes(past, now, settings)
        found = student.weights(*spoilt)["node"]
        assert masked.all() and not torch.allclose(found, clean, atol=0.05)

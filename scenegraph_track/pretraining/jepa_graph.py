"""The graph tracker as a predictor that JEPA trains: nodes of which history or neighbours are masked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from scenegraph_track.graph.features import TRACK
from scenegraph_track.graph.graph_tracker import GraphTracker
from scenegraph_track.pretraining.jepa import Weights


class MaskSettings(BaseModel):
    """What is masked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    history: float = Field(0.3, ge=0, le=1, description="share of tracks without memory and features of their past")
    neighbours: float = Field(0.3, ge=0, le=1, description="share of tracks that lose edges")
    edges: float = Field(0.5, ge=0, le=1, description="share of the edges that those lose")


@dataclass(frozen=True, eq=False)
class NodeHistory:
    """What N tracks bring to a frame.

    Args:
        tracks: (N, F) features.
        memory: (N, width).
    """

    tracks: Tensor
    memory: Tensor


@dataclass(frozen=True, eq=False)
class NodeFrame:
    """Detections of a frame and candidate edges, as `GraphTracker.forward` takes them."""

    detections: Tensor
    edges: Tensor
    offset: Tensor
    base: Tensor
    available: Tensor
    edge_index: Tensor


class NodeWeights:
    """See `WeightPredictor`: the weights of a track are its node's state behind all messages.

    Args:
        network: Of the graph tracker.
    """

    def __init__(self, network: GraphTracker) -> None:
        self.network = network

    def weights(self, history: NodeHistory, frame: NodeFrame) -> Weights:
        """States (N, width) of the nodes of N tracks."""
        return {"node": self.network(**vars(history), **vars(frame)).tracks}


def masked_nodes(
    history: NodeHistory, frame: NodeFrame, settings: MaskSettings
) -> tuple[NodeHistory, NodeFrame, Tensor]:
    """A frame for the student.

    Args:
        history: Clean.
        frame: Clean.
        settings: What is masked.

    Returns:
        Both with masks, and which tracks (N,) have lost their past or at least one of their edges.
    """
    count, device = len(history.tracks), history.tracks.device
    without_past = torch.rand(count, device=device) < settings.history
    poorer = torch.rand(count, device=device) < settings.neighbours
    tracks, memory = history.tracks.clone(), history.memory.masked_fill(without_past[:, None], 0.0)
    tracks[without_past, : len(TRACK)] = 0.0  # what the frame tells every track stays
    row = frame.edge_index[0]
    lost = poorer[row] & (torch.rand(len(row), device=device) < settings.edges)
    kept = ~lost
    masked = without_past.clone()
    masked[row[lost]] = True
    fewer = replace(
        frame,
        edges=frame.edges[kept],
        offset=frame.offset[kept],
        base=frame.base[kept],
        available=frame.available[kept],
        edge_index=frame.edge_index[:, kept],
    )
    return NodeHistory(tracks, memory), fewer, masked

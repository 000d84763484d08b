"""The graph tracker: a network that corrects what the reference tracker thinks of its candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from scenegraph_track.graph.array_network import ArrayNetwork, Inferred
from scenegraph_track.graph.features import CONTEXT, DETECTION, EDGE_CONTEXT, EDGE_CUES, TRACK, FrameFeatures
from scenegraph_track.graph.message_passing import CueMixture, DirectedLayer, cue_weights, joined_ends, rivals

SHARPNESS = 12.0
"""Logits per unit of similarity before training: 0.1 more similar than the rival means 3 to 1."""

_TYPICAL_ERROR = -4.0
"""Logarithm of the variance, in heights, that the predicted motion has before training."""


@dataclass(frozen=True)
class GraphOutput:
    """What the network says about a frame of N tracks, M detections and E candidate edges; L layers spoke in turn.

    Args:
        change: (E,) what is added to the similarity of each edge, the options below already subtracted.
        logits: (E, L) of a match, after each layer; the last follows from ``change``.
        none: (N, L) logits of tracks that are not seen.
        new: (M, L) logits of detections that belong to no track.
        confidence: (E, L) logits of the chance that the raw correction has the right sign; it scales the correction.
        raw: (E, L) the correction before that.
        cues: (E, 5) weights of the cues, summing to 1.
        is_object: (M,) logits.
        visibility: (N,) logits of the visible part of each track's object.
        refinement: (M, 4) correction of a detected box: centre in its width and height, logarithms of both.
        motion: (N, 4) where the object is, seen from the prediction: centre in heights, logarithms of width and height.
        motion_log_variance: (N, 4).
        tracks: (N, width) node states.
        detections: (M, width).
        edges: (E, width).
    """

    change: Tensor
    logits: Tensor
    none: Tensor
    new: Tensor
    confidence: Tensor
    raw: Tensor
    cues: Tensor
    is_object: Tensor
    visibility: Tensor
    refinement: Tensor
    motion: Tensor
    motion_log_variance: Tensor
    tracks: Tensor
    detections: Tensor
    edges: Tensor


class GraphTracker(nn.Module):
    """Learned correction of a reference tracker's similarities.

    Tracks, with a recurrent memory each, and detections are nodes, candidates are edges.  After each of some rounds of
    messages (`DirectedLayer`) every edge has a correction :math:`c_{ij} r_{ij}` (confidence times raw correction),
    every track an option to stay unseen :math:`n_i` and every detection one to be new :math:`m_j`.  With the reference
    tracker's similarity above its gate :math:`b_{ij}` and sharpness :math:`k`, the logit of a match is
    :math:`k (b_{ij} + c_{ij} r_{ij})` against the options :math:`k n_i` and :math:`k m_j`; so
    :math:`c_{ij} r_{ij} - n_i - m_j` added to the similarity corrects a tracker that knows gates only.

    All heads begin at zero: an untrained network changes nothing.

    Args:
        width: Of all states and of the memory.
        layers: Rounds of messages.
        competition: Whether edges are told how they stand among their competitors.
        recurrent: Whether the memory carries anything.
    """

    def __init__(self, width: int = 48, layers: int = 3, competition: bool = True, recurrent: bool = True) -> None:
        super().__init__()
        self.width, self.competition, self.recurrent = width, competition, recurrent
        counts = [len(names) for names in EDGE_CUES.values()]
        counts[0] += 4  # the errors of the learned motion stand beside those of the Kalman filter
        self.track_in = nn.Linear(len(TRACK) + len(CONTEXT) + width, width)
        self.detection_in = nn.Linear(len(DETECTION) + len(CONTEXT), width)
        self.motion = nn.Linear(width, 8)
        self.cues = CueMixture(tuple(counts), width)
        self.edge_in = nn.Linear(sum(counts) + len(EDGE_CONTEXT), width)
        self.layers = nn.ModuleList(DirectedLayer(width) for _ in range(layers))
        self.cue_scores = nn.Linear(width, len(EDGE_CUES))
        self.edge_heads = nn.ModuleList(nn.Linear(width, 2 + len(EDGE_CUES)) for _ in range(layers))
        self.track_heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(layers))
        self.detection_heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(layers))
        self.visibility = nn.Linear(width, 1)
        self.object = nn.Linear(width, 5)  # is it one, and where its box is
        self.log_sharpness = nn.Parameter(torch.tensor(SHARPNESS).log())
        self.matched_in = nn.Linear(2 * width + 5, width)
        self.cell = nn.GRUCell(width, width)
        self.birth = nn.Linear(width, width)
        heads = (self.motion, self.visibility, self.object, self.cue_scores)
        for head in (*heads, *self.edge_heads, *self.track_heads, *self.detection_heads):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        nn.init.constant_(self.motion.bias[4:], _TYPICAL_ERROR)
        self._watched: tuple[nn.Parameter, ...] = ()
        self._arrays: tuple[list[int], ArrayNetwork] | None = None

    def forward(
        self,
        tracks: Tensor,
        memory: Tensor,
        detections: Tensor,
        edges: Tensor,
        offset: Tensor,
        base: Tensor,
        available: Tensor,
        edge_index: Tensor,
    ) -> GraphOutput:
        """One frame, or several side by side as one graph; arguments as in `FrameFeatures`.

        Args:
            tracks: (N, F).
            memory: (N, width).
            detections: (M, F').
            edges: (E, F'').
            offset: (E, 4).
            base: (E,).
            available: (E, 5) bool.
            edge_index: (2, E), tracks over detections.
        """
        row, column, ends = edge_index[0], edge_index[1], joined_ends(edge_index, tracks.shape[0])
        if not self.recurrent:
            memory = torch.zeros_like(memory)
        t = self.track_in(torch.cat([tracks, memory], 1)).relu()
        d = self.detection_in(detections).relu()
        motion = self.motion(t)
        mean, log_variance = motion[:, :4], motion[:, 4:].clamp(-10, 4)
        surprise = (offset - mean.index_select(0, row)) * (-0.5 * log_variance).exp().index_select(0, row)
        surprise = surprise / (2 + surprise.abs())
        seen = torch.cat([surprise, edges], 1)
        embedded = self.cues(seen[:, : -len(EDGE_CONTEXT)])
        e = self.edge_in(seen).relu()
        sharpness = self.log_sharpness.exp()
        weights = cue_weights(self.cue_scores(e), available)
        correction, none, new = torch.zeros_like(base), t.new_zeros(t.shape[0]), d.new_zeros(d.shape[0])
        shares = base.new_zeros(base.shape[0], 2)
        said: list[tuple[Tensor, ...]] = []
        for k, layer in enumerate(self.layers):
            if self.competition:
                shares = rivals(sharpness * (base + correction), ends, sharpness * none, sharpness * new)
            used = weights  # those that the last layer makes weigh nothing any more, and nothing teaches them
            initial = (used[:, :, None] * embedded).sum(1)
            e, t, d = layer(e, initial, shares, t, d, ends)
            head = self.edge_heads[k](e)
            raw, sure = head[:, 0], head[:, 1]
            confidence = sure.sigmoid()
            correction = confidence * raw
            none, new = self.track_heads[k](t)[:, 0], self.detection_heads[k](d)[:, 0]
            weights = cue_weights(head[:, 2:], available)
            said.append((base + correction, none, new, sure, raw))
        logits, nones, news, sures, raws = (torch.stack(parts, 1) for parts in zip(*said, strict=True))
        objects = self.object(d)
        return GraphOutput(
            change=correction - none.index_select(0, row) - new.index_select(0, column),
            logits=sharpness * logits,
            none=sharpness * nones,
            new=sharpness * news,
            confidence=sures,
            raw=raws,
            cues=used,
            is_object=objects[:, 0],
            visibility=self.visibility(t)[:, 0],
            refinement=objects[:, 1:],
            motion=mean,
            motion_log_variance=log_variance,
            tracks=t,
            detections=d,
            edges=e,
        )

    def remember(self, memory: Tensor, output: GraphOutput, matched: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """The memories after a frame.

        Args:
            memory: (N, width) before.
            output: Of :meth:`forward`.
            matched: (N,) row of each track's detection, -1 where it was not seen: then its memory changes by time and
                by what its neighbours say.
            offset: (N, 4) matched detection minus expectation as in `FrameFeatures.offset`, 0 where not seen.

        Returns:
            Memories of the tracks (N, width), and those that tracks begin with that start at a detection (M, width).
        """
        seen = (matched >= 0).to(memory)[:, None]
        found = output.detections.new_zeros(1, self.width)
        found = torch.cat([found, output.detections]).index_select(0, matched + 1)  # zeros where not seen
        error = (offset - output.motion) * seen
        said = torch.cat([output.tracks, found, seen, 4 * error[:, :2], 2 * error[:, 2:]], 1)
        said = self.matched_in(said).relu()
        return self.cell(said, memory), self.birth(output.detections).tanh()

    def infer(self, features: FrameFeatures, memory: np.ndarray) -> Inferred:
        """As :meth:`forward`, from arrays of one frame and memories (N, width) float32, without torch.

        The copy of the weights that this takes is made anew when one of them has changed in place.
        """
        versions = [0 if weight.is_inference() else weight._version for weight in self._watched]
        if self._arrays is None or self._arrays[0] != versions:
            self._watched = tuple(self.parameters())
            versions = [0 if weight.is_inference() else weight._version for weight in self._watched]
            self._arrays = versions, ArrayNetwork(self)
        return self._arrays[1].infer(features, memory)

"""The graph tracker in NumPy: with tens of objects, calling torch takes longer than the arithmetic does.

Equations and weights are those of `GraphTracker`, whose results these are to the last digits of float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from scenegraph_track.graph.features import EDGE_CONTEXT, EDGE_CUES, FrameFeatures
from scenegraph_track.graph.message_passing import LIMIT

_ITERATIONS = 3
_PADDING = 4


@dataclass(frozen=True)
class Inferred:
    """What `GraphTracker` says of a frame, as far as tracking asks; see `GraphOutput` for the fields of that name.

    Args:
        by: What said it.
        change: (E,).
        probability: (E,) of the match, by `sparse_sinkhorn`.
        cues: (E, 5).
        motion: (N, 4).
        tracks: (N, width).
        detections: (M, width).
    """

    by: ArrayNetwork
    change: np.ndarray
    probability: np.ndarray
    cues: np.ndarray
    motion: np.ndarray
    tracks: np.ndarray
    detections: np.ndarray

    def remember(self, memory: np.ndarray, matched: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `GraphTracker.remember`."""
        return self.by.remember(memory, self, matched, offset)


class ArrayNetwork:
    """A copy of the weights of a `GraphTracker`.

    Args:
        network: The network.
    """

    def __init__(self, network: nn.Module) -> None:
        self.width, self.competition, self.recurrent = network.width, network.competition, network.recurrent
        self.sharpness = float(network.log_sharpness.detach().exp())
        self.track_in, self.detection_in, self.motion = map(
            _linear, (network.track_in, network.detection_in, network.motion)
        )
        embed, bias = _linear(network.cues.embed)
        embed = embed * _array(network.cues.mask).T
        edge_in, edge_bias = _linear(network.edge_in)
        context = np.zeros((len(EDGE_CONTEXT), embed.shape[1]), dtype=np.float32)
        self.edge_in = np.hstack([np.vstack([embed, context]), edge_in]), np.concatenate([bias, edge_bias])
        self.cue_scores = _linear(network.cue_scores)
        self.layers = [
            _Layer(*parts)
            for parts in zip(
                network.layers, network.edge_heads, network.track_heads, network.detection_heads, strict=True
            )
        ]
        self.matched_in, self.birth = _linear(network.matched_in), _linear(network.birth)
        cell = network.cell
        self.cell_in = _array(cell.weight_ih).T.copy(), _array(cell.bias_ih)
        self.cell_hidden = _array(cell.weight_hh).T.copy(), _array(cell.bias_hh)

    def infer(self, features: FrameFeatures, memory: np.ndarray) -> Inferred:
        """As `GraphTracker.forward`, from the arrays of one frame and memories (N, width)."""
        row, column = features.edge_index
        n, m, count = len(features.tracks), len(features.detections), len(row)
        ends, base = _Ends(np.concatenate([row, column + n]), n + m), features.base
        if not self.recurrent:
            memory = np.zeros_like(memory)
        t = _relu(_through(np.concatenate([features.tracks, memory], axis=1), self.track_in))
        d = _relu(_through(features.detections, self.detection_in))
        motion = _through(t, self.motion)
        mean, precision = motion[:, :4], np.exp(-0.5 * _within(motion[:, 4:], -10, 4))
        surprise = (features.offset - mean[row]) * precision[row]
        surprise /= 2 + np.abs(surprise)
        seen = _relu(_through(np.concatenate([surprise, features.edges], axis=1), self.edge_in))
        e, embedded = seen[:, -self.width :], seen[:, : -self.width].reshape(count, len(EDGE_CUES), self.width)
        used = weights = _softmax(_through(e, self.cue_scores), features.available)
        correction, shares = np.zeros_like(base), np.zeros((count, 2), dtype=np.float32)
        options = np.zeros(n + m, dtype=np.float32)
        for layer in self.layers:
            if self.competition:
                shares = ends.shares(self.sharpness * (base + correction), self.sharpness * options)
            used = weights
            initial = np.einsum("ec,ecw->ew", used, embedded)
            e, t, d = layer.messages(e, initial, shares, t, d, ends)
            head = _through(e, layer.edge_head)
            correction = _sigmoid(head[:, 1]) * head[:, 0]
            options = np.concatenate([_through(t, layer.track_head), _through(d, layer.detection_head)])[:, 0]
            weights = _softmax(head[:, 2:], features.available)
        return Inferred(
            by=self,
            change=correction - options[row] - options[column + n],
            probability=ends.matching(self.sharpness * (base + correction), self.sharpness * options, n),
            cues=used,
            motion=mean,
            tracks=t,
            detections=d,
        )

    def remember(
        self, memory: np.ndarray, said: Inferred, matched: np.ndarray, offset: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `GraphTracker.remember`."""
        seen = (matched >= 0)[:, None].astype(np.float32)
        found = np.concatenate([said.detections, np.zeros((1, self.width), dtype=np.float32)])[matched]
        error = (offset - said.motion) * seen * np.float32([4, 4, 2, 2])
        told = _relu(_through(np.concatenate([said.tracks, found, seen, error], axis=1), self.matched_in))
        given, kept = _through(told, self.cell_in), _through(memory, self.cell_hidden)
        gates = _sigmoid(given[:, : 2 * self.width] + kept[:, : 2 * self.width])
        reset, stay = gates[:, : self.width], gates[:, self.width :]
        new = np.tanh(given[:, 2 * self.width :] + reset * kept[:, 2 * self.width :])
        return new + stay * (memory - new), np.tanh(_through(said.detections, self.birth))


class _Layer:
    """The weights of a `DirectedLayer` and of the heads after it."""

    def __init__(
        self, layer: nn.Module, edge_head: nn.Module, track_head: nn.Module, detection_head: nn.Module
    ) -> None:
        self.edge_in, self.out = _linear(layer.edge_in), _linear(layer.out)
        self.track_in, self.detection_in = (
            _array(part.weight).T.copy() for part in (layer.track_in, layer.detection_in)
        )
        self.track_out, self.detection_out = _linear(layer.track_out), _linear(layer.detection_out)
        self.norms = [_norm(part) for part in (layer.edge_norm, layer.track_norm, layer.detection_norm)]
        self.edge_head, self.track_head, self.detection_head = map(_linear, (edge_head, track_head, detection_head))

    def messages(
        self, e: np.ndarray, initial: np.ndarray, shares: np.ndarray, t: np.ndarray, d: np.ndarray, ends: _Ends
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `DirectedLayer.forward`."""
        count, n, width = len(e), len(t), e.shape[1]
        nodes = np.concatenate([t @ self.track_in, d @ self.detection_in]).take(ends.ends, 0)
        z = _through(np.concatenate([e, initial, shares], axis=1), self.edge_in)
        z += nodes[:count]
        z += nodes[count:]
        said = _through(_relu(z), self.out)
        heard = ends.heard(np.concatenate([said[:, width : 2 * width], said[:, 2 * width :]]))
        e = _normal(e + said[:, :width], self.norms[0])
        t = _normal(t + _relu(_through(np.concatenate([t, heard[:n]], axis=1), self.track_out)), self.norms[1])
        d = _normal(d + _relu(_through(np.concatenate([d, heard[n:]], axis=1), self.detection_out)), self.norms[2])
        return e, t, d


class _Ends:
    """Both ends of each edge among all nodes, and sums over the edges of a node.

    Args:
        ends: (2 E,) as of `joined_ends`.
        count: Of nodes.
    """

    def __init__(self, ends: np.ndarray, count: int) -> None:
        self.ends, self.count = ends, count
        self.order = np.argsort(ends, kind="stable")
        degree = np.bincount(ends, minlength=count)
        self.nodes = np.flatnonzero(degree)
        self.begin = (np.cumsum(degree) - degree)[self.nodes]
        self.table = None
        most = int(degree.max(initial=0))
        if len(self.nodes) * most <= _PADDING * len(ends):  # else a few nodes have most of the edges
            place = np.arange(most)
            missing = place >= degree[self.nodes, None]
            rows = np.where(missing, 0, self.begin[:, None] + place)
            self.table = np.where(missing, len(ends), self.order[rows]) if len(ends) else rows
            self.blank = np.where(missing, np.float32(-np.inf), np.float32(0))[:, :, None]

    def heard(self, messages: np.ndarray) -> np.ndarray:
        """(count, 2 width) sum and maximum of the messages (2 E, width) to each node, zeros where none came."""
        width = messages.shape[1]
        out = np.zeros((self.count, 2 * width), dtype=np.float32)
        if len(messages) == 0:
            return out
        if self.table is None:
            sorted_ = messages.take(self.order, 0)
            total, largest = (add.reduceat(sorted_, self.begin, axis=0) for add in (np.add, np.maximum))
        else:
            padded = np.concatenate([messages, np.zeros((1, width), dtype=np.float32)]).take(self.table, 0)
            total = padded.sum(1)
            padded += self.blank
            largest = padded.max(1)
        out[self.nodes, :width], out[self.nodes, width:] = total, largest
        return out

    def shares(self, logits: np.ndarray, options: np.ndarray) -> np.ndarray:
        """See `rivals`: (E, 2) of edges (E,) and what all nodes can do without them (count,)."""
        weight = _weight(logits)
        twice = np.concatenate([weight, weight])
        twice /= (_weight(options) + np.bincount(self.ends, twice, minlength=self.count))[self.ends]
        return twice.reshape(2, -1).T

    def matching(self, logits: np.ndarray, options: np.ndarray, rows: int) -> np.ndarray:
        """See `sparse_sinkhorn`: (E,) probabilities of edges between the first nodes, so many, and the others."""
        row, column = self.ends.reshape(2, -1)
        column = column - rows
        weight, alone = _weight(logits), _weight(options)
        other, alone = alone[rows:], alone[:rows]
        strength = np.bincount(column, weight, minlength=len(other))
        b, a = 2 / (other + np.sqrt(other**2 + 4 * strength)), alone
        for _ in range(_ITERATIONS):
            a = 1 / (np.bincount(row, weight * b[column], minlength=len(alone)) + alone)
            b = 1 / (np.bincount(column, weight * a[row], minlength=len(other)) + other)
        return weight * a[row] * b[column]


def _array(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()


def _linear(layer: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    return _array(layer.weight).T.copy(), _array(layer.bias).copy()


def _norm(layer: nn.LayerNorm) -> tuple[np.ndarray, np.ndarray, float]:
    return _array(layer.weight).copy(), _array(layer.bias).copy(), layer.eps


def _through(values: np.ndarray, layer: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    out = values @ layer[0]
    out += layer[1]
    return out


def _normal(values: np.ndarray, norm: tuple[np.ndarray, np.ndarray, float]) -> np.ndarray:
    """Layer normalisation; ``values`` are overwritten."""
    scale, shift, least = norm
    values -= np.add.reduce(values, 1, keepdims=True) / np.float32(values.shape[1])
    variance = np.einsum("ij,ij->i", values, values)
    values *= (1 / np.sqrt(variance / np.float32(values.shape[1]) + np.float32(least)))[:, None]
    values *= scale
    values += shift
    return values


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0, out=values)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * values) + 0.5


def _within(values: np.ndarray, least: float, most: float) -> np.ndarray:
    return np.minimum(np.maximum(values, least), most)


def _weight(logits: np.ndarray) -> np.ndarray:
    return np.exp(_within(logits, -LIMIT, LIMIT))


def _softmax(scores: np.ndarray, available: np.ndarray) -> np.ndarray:
    scores = np.where(available, scores, np.float32(-30))
    scores -= np.maximum.reduce(scores, 1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= np.add.reduce(scores, 1, keepdims=True)
    return scores

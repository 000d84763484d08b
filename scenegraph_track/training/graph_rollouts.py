"""Clips that a tracker has been through: what it saw in every frame, what it did, and what was right.

The tracks of a clip are those of a policy, the reference tracker or an earlier network, so that the network learns on
mistakes that are made (DAgger: Ross, Gordon, Bagnell, AISTATS 2011).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from scenegraph_track.config import GraphSettings
from scenegraph_track.graph.features import FrameFeatures
from scenegraph_track.tracking.correction import (
    GraphCost,
    learned_cost,
    matched_offsets,
    situation_features,
)
from scenegraph_track.tracking.learned import Correction
from scenegraph_track.tracking.reference import conclude, matched, start_state
from scenegraph_track.tracking.situation import Situation, prepare
from scenegraph_track.training.batches import ordered_batches
from scenegraph_track.training.graph_data import Clip, GraphData, Moment, make_clip
from scenegraph_track.training.graph_targets import Targets, frame_targets, owners

LAG = 12
"""Batches between two that have a clip in common; a multiple of usual numbers of workers, who keep theirs."""

_FORGET = 0.7
"""Seconds in which past matches lose their say about whose track it is."""


@dataclass(frozen=True)
class Step:
    """A frame of N tracks and M detections as the tracker went through it.

    Args:
        features: What the network sees.
        targets: What is right.
        memory: (N,) where each track was in the frame before: its row there, or behind these the detection that it
            began with.
        detection: (N,) row of what it was matched to, -1: nothing.
        offset: (N, 4) see `matched_offsets`.
    """

    features: FrameFeatures
    targets: Targets
    memory: np.ndarray
    detection: np.ndarray
    offset: np.ndarray


def roll_out(clip: Clip, data: GraphData, policy: GraphCost | None, rng: np.random.Generator) -> list[Step]:
    """The steps of a clip behind its warm-up."""
    if rng.random() < data.by_reference:
        policy = None
    noise = data.disturbance if rng.random() < data.disturbed else 0.0
    state, steps = start_state(), []
    for k, moment in enumerate(clip.moments):
        situation = prepare(
            state,
            clip.settings,
            moment.timestamp,
            moment.boxes,
            moment.scores,
            image_size=clip.image_size,
            depths=moment.depths,
            embeddings=moment.embeddings,
        )
        carried = _Carried.of(situation, clip.identities)
        view = replace(situation, tracks=replace(situation.tracks, memory=carried.network))
        recorded = k >= clip.warm_up
        if policy is not None:
            correction: Correction | None = policy.correct(view)
            features = correction.notes.features
        else:
            correction = None
            features = situation_features(view) if recorded or noise else None
        change = np.zeros(0) if features is None else np.zeros(len(features.base))
        if correction is not None:
            change = correction.change
        if noise:
            change = change + noise * rng.standard_normal(len(change))
        if features is None:
            detection, candidates = matched(situation)
        else:
            nothing = np.zeros(len(change)), np.zeros((len(change), 5))
            detection, candidates = matched(situation, Correction(*features.edge_index, change, *nothing))
        if recorded:
            targets = frame_targets(moment, features, owners(carried.counts))
            steps.append(Step(features, targets, carried.number, detection, matched_offsets(features, detection)))
        if policy is not None:
            network = policy.remember(view, correction, detection)
        else:
            network = np.zeros((len(detection), 0)), np.zeros((len(moment.owner), 0))
        state, _ = conclude(situation, detection, candidates[:3], *carried.after(situation, moment, detection, network))
    return steps


@dataclass(frozen=True)
class _Carried:
    """What tracks carry through a roll-out in `TrackTable.memory`: a number, the policy's memory, and whose detections
    they have had, newer ones counting more."""

    number: np.ndarray  # (N,) int64
    network: np.ndarray  # (N, D)
    counts: np.ndarray  # (N, I + 1)

    @classmethod
    def of(cls, situation: Situation, identities: int) -> _Carried:
        memory = situation.tracks.memory
        width = identities + 1
        if len(memory) == 0:
            return cls(np.zeros(0, dtype=np.int64), np.zeros((0, 0)), np.zeros((0, width)))
        return cls(memory[:, 0].astype(np.int64), memory[:, 1:-width], memory[:, -width:])

    def after(
        self, situation: Situation, moment: Moment, detection: np.ndarray, network: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Memories of the tracks and of newborn ones, for `conclude`."""
        n, m = len(detection), len(moment.owner)
        one = np.eye(self.counts.shape[1])[moment.owner]
        before, seen = situation.before.timestamp, detection >= 0
        faded = self.counts * (1.0 if np.isnan(before) else np.exp((before - situation.timestamp) / _FORGET))
        faded[seen] += one[detection[seen]]
        rows, born = np.arange(n)[:, None], n + np.arange(m)[:, None]
        return np.concatenate([rows, network[0], faded], 1), np.concatenate([born, network[1], one], 1)


class Episode:
    """Clips side by side, frame by frame: one graph a frame.

    A plain object, so that nothing looks into it on its way to a device.

    Args:
        arrays: By name, the rows of all frames.
        counts: By name, how many of them belong to each frame.
    """

    def __init__(self, arrays: dict[str, Tensor], counts: dict[str, list[int]]) -> None:
        self.arrays, self.counts = arrays, counts

    def frames(self, device: torch.device) -> list[dict[str, Tensor]]:
        """The arrays of each frame: those that `GraphTracker.forward` takes besides the memory, those of `Targets`, and
        ``memory``, ``detection`` and ``matched_offset`` of `Step`, all rows counted through the graph."""
        parts = {
            name: values.to(device).split(self.counts[name], dim=1 if name == "edge_index" else 0)
            for name, values in self.arrays.items()
        }
        return [{name: part[k] for name, part in parts.items()} for k in range(len(self.counts["memory"]))]


def joined(rolls: list[list[Step]]) -> Episode:
    """The same steps of several clips as one graph a frame."""
    moments = list(zip(*rolls, strict=True))
    by_frame = [_side_by_side(steps, before) for steps, before in zip(moments, [None, *moments[:-1]], strict=True)]
    names = by_frame[0]
    axis = {name: 1 if name == "edge_index" else 0 for name in names}
    arrays = {name: np.concatenate([frame[name] for frame in by_frame], axis[name]) for name in names}
    counts = {name: [frame[name].shape[axis[name]] for frame in by_frame] for name in names}
    tensors = {
        name: torch.from_numpy(values.astype(np.float32) if values.dtype == np.float64 else values)
        for name, values in arrays.items()
    }
    return Episode(tensors, counts)


def _side_by_side(steps: tuple[Step, ...], before: tuple[Step, ...] | None) -> dict[str, np.ndarray]:
    tracks, detections, edges = (_begins(steps, name) for name in ("tracks", "detections", "edges"))
    out: dict[str, np.ndarray] = {}
    for field in fields(FrameFeatures):
        parts = [getattr(step.features, field.name) for step in steps]
        if field.name == "edge_index":
            parts = [part + np.array([[a], [b]]) for part, a, b in zip(parts, tracks, detections, strict=False)]
        out[field.name] = np.concatenate(parts, axis=1 if field.name == "edge_index" else 0)
    for field in fields(Targets):
        parts = [getattr(step.targets, field.name) for step in steps]
        if field.name.startswith("edge_of"):
            parts = [np.where(part >= 0, part + begin, part) for part, begin in zip(parts, edges, strict=False)]
        out[field.name] = np.concatenate(parts)
    parts = [step.detection for step in steps]
    out["detection"] = np.concatenate([np.where(d >= 0, d + b, -1) for d, b in zip(parts, detections, strict=False)])
    out["matched_offset"] = np.concatenate([step.offset for step in steps])
    if before is None:
        out["memory"] = np.full(tracks[-1], -1)
        return out
    old, found = _begins(before, "tracks"), _begins(before, "detections")
    parts = []
    for k, step in enumerate(steps):
        count = old[k + 1] - old[k]
        parts.append(np.where(step.memory < count, step.memory + old[k], step.memory - count + found[k] + old[-1]))
    out["memory"] = np.concatenate(parts)
    return out


def _begins(steps: tuple[Step, ...], name: str) -> np.ndarray:
    """Number of rows before each step, and of all."""
    return np.cumsum([0, *(len(getattr(step.features, name)) for step in steps)])


class _Rolled(IterableDataset):
    """Batches of clips; clip k of number n follows from (seed, n, k), and each number is in ``repeats`` batches."""

    def __init__(self, data: GraphData, seed: int, share: range, start: int) -> None:
        super().__init__()
        self.data, self.seed, self.share, self.start = data, seed, share, start

    def __iter__(self) -> Iterator[Episode]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        if info is not None:
            torch.set_num_threads(1)
        policy = learned_cost(GraphSettings(weights=self.data.policy))
        kept: dict[int, list[list[Step]]] = {}
        batch = self.start + first
        while True:
            numbers = [batch + LAG * k for k in range(self.data.repeats)]
            for number in numbers:
                if number not in kept:
                    kept[number] = [self._clip(number, k, policy) for k in self.share]
            yield joined([roll for number in numbers for roll in kept[number]])
            kept = {number: rolls for number, rolls in kept.items() if number > batch}
            batch += step

    def _clip(self, number: int, k: int, policy: GraphCost | None) -> list[Step]:
        rng = np.random.default_rng((self.seed, number, k))
        return roll_out(make_clip(rng, self.data), self.data, policy, rng)


def clip_batches(data: GraphData, seed: int, rank: int, world_size: int, start: int) -> Iterator[Episode]:
    """Endless batches from number ``start`` on, this rank's share of each."""
    dataset = _Rolled(data, seed, range(rank, data.clips, world_size), start)
    return ordered_batches(dataset, data.workers, prefetch=3)

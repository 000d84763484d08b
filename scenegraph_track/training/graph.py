"""The stage that teaches `GraphTracker` to correct the reference tracker, on the tracks that it makes itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from scenegraph_track.config import load_config
from scenegraph_track.data.streams import Stream, simulate
from scenegraph_track.evaluation.mot import SequenceResult, combine, evaluate_sequence
from scenegraph_track.graph.features import FrameFeatures
from scenegraph_track.graph.graph_tracker import GraphOutput, GraphTracker
from scenegraph_track.graph.sinkhorn import sparse_sinkhorn
from scenegraph_track.structures import TrackerState
from scenegraph_track.tracking.correction import GraphCost, matched_offsets, situation_features
from scenegraph_track.tracking.reference import Correction, LearnedCost, associate, conclude, matched, start_state
from scenegraph_track.training.graph_data import Batch, Clip, GraphData, clip_batches, memories, seen_by_network
from scenegraph_track.training.graph_targets import (
    ALONE,
    UNKNOWN,
    JoinedTargets,
    frame_targets,
    joined_features,
    joined_targets,
)
from scenegraph_track.training.stage import Stage


class GraphNetSettings(BaseModel):
    """The network; see `GraphTracker`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(48, ge=4, description="of all states and of the memory")
    layers: int = Field(3, ge=1, description="rounds of messages")
    competition: bool = Field(True, description="edges are told how they stand among their competitors")
    recurrent: bool = Field(True, description="tracks have a memory")


class GraphLoss(BaseModel):
    """What counts as an error, and who decides while tracks are made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alone: float = Field(
        3.0,
        gt=0,
        description="weight of tracks and detections that have no partner: a wrong one lasts, a miss does not",
    )
    through_time: int = Field(16, ge=1, description="frames that the gradient goes back through the memory")
    iterations: int = Field(4, ge=1, description="scalings of the matching (see `sparse_sinkhorn`)")
    confidence: float = Field(0.05, ge=0, description="weight of whether a correction has the right sign")
    restraint: float = Field(0.02, ge=0, description="weight of the squared correction")
    is_object: float = Field(0.05, ge=0, description="weight of which detections are objects")
    visibility: float = Field(0.05, ge=0, description="weight of the visible part")
    refinement: float = Field(0.5, ge=0, description="weight of the box")
    motion: float = Field(0.03, ge=0, description="weight of the motion")
    by_reference: float = Field(0.15, ge=0, le=1, description="share of clips that the reference tracker tracks")
    disturbed: float = Field(0.2, ge=0, le=1, description="share of clips with noise on every correction")
    disturbance: float = Field(0.15, ge=0, description="standard deviation of that noise")


class GraphStage(Stage):
    """Negative log likelihood of the right matching after every layer, on tracks that the network makes as it learns.

    Each batch is tracked frame by frame: the network corrects the similarities, the tracker matches, and what it
    matched is what the next frame is learned on (DAgger: Ross, Gordon, Bagnell, AISTATS 2011).  The memory is trained
    through time.
    """

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        data: GraphData = GraphData()
        graph: GraphNetSettings = GraphNetSettings()
        loss: GraphLoss = GraphLoss()

    unused_weights = True  # without memory or competition some have no gradient

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.net = GraphTracker(**settings.graph.model_dump())
        self._held_out: list[tuple[Stream, SequenceResult]] = []

    def modules(self) -> dict[str, nn.Module]:
        """The network by its name in the weights."""
        return {"graph": self.net}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        return clip_batches(self.settings.data, self.seed, rank, world_size, start)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over the frames behind the burn-in, on the network's own tracks."""
        rolls = [Roll(clip, self.settings.loss) for clip in batch.clips]
        memory = torch.zeros(1, self.net.width, device=self.device)
        frames = []
        learning = torch.is_grad_enabled()
        for k in range(self.settings.data.frames):
            counted = k >= min(self.settings.data.burn_in, self.settings.data.frames - 1)
            if k % self.settings.loss.through_time == 0:
                memory = memory.detach()
            with torch.set_grad_enabled(learning and counted):
                memory, figures = self._frame(rolls, k, memory)
            if counted:
                frames.append(figures)
        means = {name: torch.stack([figures[name] for figures in frames]).mean() for name in frames[0]}
        return means.pop("total"), means

    def _frame(self, rolls: list[Roll], k: int, memory: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """One frame of every clip: what the memory is then, and the losses."""
        seen = [roll.look(k) for roll in rolls]
        features = [look[0] for look in seen]
        numbers = np.concatenate([look[1] for look in seen]).astype(np.int64)
        before = memory.index_select(0, torch.from_numpy(numbers + 1).to(self.device))
        inputs = joined_features(features, self.device)
        output = self.net(memory=before, **inputs)
        edges = np.cumsum([0, *(len(f.base) for f in features)])
        targets = joined_targets([roll.targets() for roll in rolls], list(edges[:-1]), self.device)
        figures = graph_losses(output, inputs, targets, self.settings.loss)

        change = output.change.detach().cpu().double().numpy()
        matches = [roll.match(change[a:b]) for roll, a, b in zip(rolls, edges[:-1], edges[1:], strict=True)]
        columns = np.cumsum([0, *(len(f.detections) for f in features)])
        joined = np.concatenate([np.where(m >= 0, m + c, -1) for m, c in zip(matches, columns[:-1], strict=True)])
        offsets = np.concatenate([matched_offsets(f, m) for f, m in zip(features, matches, strict=True)])
        after, born = self.net.remember(
            before, output, torch.from_numpy(joined).to(self.device), torch.from_numpy(offsets).to(self.device)
        )
        row = 0
        for roll, match, column in zip(rolls, matches, columns[:-1], strict=True):
            roll.go_on(match, np.arange(row, row + len(match)), len(joined) + column)
            row += len(match)
        return torch.cat([memory.new_zeros(1, self.net.width), after, born]), figures

    def validate(self) -> dict[str, float]:
        """Figures of the corrected tracker on held-out streams, and by how much the reference tracker is below."""
        data = self.settings.data
        if not self._held_out:
            count, frames = (1, 12) if self.dry_run else (data.validation_streams, data.validation_frames)
            presets = data.validation_presets[:1] if self.dry_run else data.validation_presets
            streams = [simulate(preset, seed, "val", frames) for preset in presets for seed in range(count)]
            self._held_out = [(stream, judged(stream, None)) for stream in streams]
        cost = GraphCost(self.net.cpu())
        found = {stream.name: judged(stream, cost) for stream, _ in self._held_out}
        self.net.to(self.device)
        learned, reference = combine(found), combine({stream.name: result for stream, result in self._held_out})
        names = ("HOTA", "AssA", "IDF1", "IDSW")
        figures = {name.lower(): float(learned[name]) for name in names}
        gains = [found[s.name]["HOTA"] - result["HOTA"] for s, result in self._held_out]
        return figures | {
            **{f"{name.lower()}_gain": float(learned[name]) - float(reference[name]) for name in names},
            "mean_hota_gain": float(np.mean(gains)),
            "worst_hota_gain": float(np.min(gains)),
        }

    def collapse(self, metrics: dict[str, float]) -> str | None:
        """See `Stage.collapse`."""
        if metrics.get("val/mean_hota_gain", 0.0) < -20:
            return "the corrected tracker is far below the reference tracker, which an untrained network equals"
        return None


class Roll:
    """One clip while it is tracked."""

    def __init__(self, clip: Clip, settings: GraphLoss) -> None:
        self.clip = clip
        self.rng = np.random.default_rng(clip.seed)
        self.state: TrackerState = clip.state
        lot = self.rng.random()
        self.follows = lot >= settings.by_reference
        disturbed = self.follows and lot < settings.by_reference + settings.disturbed
        self.noise = settings.disturbance if disturbed else 0.0

    def look(self, k: int) -> tuple[FrameFeatures, np.ndarray]:
        """The features of frame k, and the numbers of the tracks' memories."""
        self.moment = self.clip.moments[k]
        self.situation = self.clip.situation(self.state, self.moment)
        view = seen_by_network(self.clip, self.situation)
        self.features = situation_features(view, 1)
        numbers = view.tracks.memory[:, 0] if len(view.tracks) else np.zeros(0)
        return self.features, numbers

    def targets(self) -> Any:
        """What is right in this frame."""
        return frame_targets(self.clip, self.situation, self.moment, self.features)

    def match(self, change: np.ndarray) -> np.ndarray:
        """(N,) rows of the detections that the tracks are matched to with this correction, -1: none."""
        if not self.follows:
            change = np.zeros_like(change)
        elif self.noise:
            change = change + self.noise * self.rng.standard_normal(len(change))
        nothing = np.zeros(len(change)), np.zeros((len(change), 5))
        correction = Correction(*self.features.edge_index, change, *nothing)
        self.detection, self.candidates = matched(self.situation, correction)
        return self.detection

    def go_on(self, detection: np.ndarray, rows: np.ndarray, born: int) -> None:
        """To the next frame; rows of the memory of tracks, and that of the first detection's newborn track."""
        newborn = born + np.arange(len(self.moment.owner))
        carried = memories(self.clip, self.situation, self.moment, detection, rows.astype(float), newborn.astype(float))
        self.state, _ = conclude(self.situation, detection, self.candidates[:3], *carried)


def graph_losses(
    output: GraphOutput, inputs: dict[str, Tensor], targets: JoinedTargets, settings: GraphLoss
) -> dict[str, Tensor]:
    """The parts of the loss of a frame and their weighted ``total``; parts without targets are 0."""
    edge, none, new = sparse_sinkhorn(output.logits, inputs["edge_index"], output.none, output.new, settings.iterations)
    wanted = _likelihood(targets.edge_of_track, edge, none), _likelihood(targets.edge_of_detection, edge, new)
    costs = -torch.cat(wanted).clamp(min=1e-7).log()
    partners = torch.cat([targets.edge_of_track, targets.edge_of_detection])
    weight = torch.where(partners[partners != UNKNOWN] == ALONE, settings.alone, 1.0)[:, None]
    matching = (weight * costs).sum() / (weight.sum() * costs.shape[1]).clamp(min=1.0)
    row, column = inputs["edge_index"][0], inputs["edge_index"][1]
    number = torch.arange(len(row), device=row.device)
    right = targets.edge_of_track[row] == number
    judged_ = (targets.edge_of_track[row] != UNKNOWN) | (targets.edge_of_detection[column] != UNKNOWN)
    signs = ((output.raw > 0) == right[:, None]).to(output.raw)
    motion_rows = targets.edge_of_track >= 0
    true_offset = inputs["offset"][targets.edge_of_track[motion_rows]]
    log_variance = output.motion_log_variance[motion_rows]
    error = (true_offset - output.motion[motion_rows]) ** 2 * (-log_variance).exp()
    known = torch.isfinite(targets.refinement).all(1)
    true_box = targets.refinement[known].clamp(-1, 1)
    parts = {
        "matching": matching,
        "confidence": _mean(binary_cross_entropy_with_logits(output.confidence, signs, reduction="none")[judged_]),
        "restraint": _mean(output.change**2),
        "is_object": _mean(
            binary_cross_entropy_with_logits(output.is_object, targets.is_object.to(output.raw), reduction="none")
        ),
        "visibility": _mean(
            binary_cross_entropy_with_logits(output.visibility, targets.visibility, reduction="none")[targets.track]
        ),
        "refinement": _mean(smooth_l1_loss(output.refinement[known], true_box, reduction="none", beta=0.1)),
        "motion": _mean(0.5 * (error.clamp(max=50) + log_variance)),
    }
    weights = {name: getattr(settings, name) for name in parts if name != "matching"} | {"matching": 1.0}
    total = sum(weights[name] * part for name, part in parts.items())
    with torch.no_grad():
        best = _likelihood(targets.edge_of_track, edge, none)[:, -1]
        parts["unsure"] = _mean((best < 0.5).to(best))
    return {"total": total, **parts}


def _likelihood(wanted: Tensor, edge: Tensor, alone: Tensor) -> Tensor:
    """(K, L) probabilities of what is right, of the nodes for which that is known."""
    known = wanted != UNKNOWN
    chosen = wanted[known]
    of_edge = torch.cat([edge, edge.new_ones(1, edge.shape[1])])[chosen]  # ALONE takes the last row
    return torch.where((chosen == ALONE)[:, None], alone[known], of_edge)


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(values.numel(), 1)


def judged(stream: Stream, learned: LearnedCost | None) -> SequenceResult:
    """Figures of the tracker on a stream, boxes only, of the detections that it gives an identity."""
    settings = load_config("reference").tracker
    state, rows = start_state(), []
    for frame in range(stream.frames):
        boxes, scores, _ = stream.detections(frame)
        time = frame / stream.frame_rate
        state, decided = associate(state, settings, time, boxes, scores, image_size=stream.image_size, learned=learned)
        seen = decided.detection >= 0
        rows.append(_rows(np.full(seen.sum(), frame), decided.tracks.ids[seen], decided.boxes[seen]))
    truth = _rows(stream.truth_frame, stream.truth_id, stream.truth_boxes)
    truth = np.c_[truth[:, :7], np.ones(len(truth)), stream.truth_visibility]
    return evaluate_sequence(truth, np.concatenate(rows), stream.frames)


def _rows(frames: np.ndarray, ids: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    return np.c_[frames + 1, ids, boxes[:, :2], boxes[:, 2:] - boxes[:, :2], np.ones(len(ids))]

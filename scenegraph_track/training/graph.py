"""The stage that teaches `GraphTracker` to correct the reference tracker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from scenegraph_track.config import TrackerSettings, load_config
from scenegraph_track.data.streams import Stream, simulate
from scenegraph_track.evaluation.mot import SequenceResult, combine, evaluate_sequence
from scenegraph_track.graph.features import FrameFeatures
from scenegraph_track.graph.graph_tracker import GraphOutput, GraphTracker
from scenegraph_track.graph.sinkhorn import sparse_sinkhorn
from scenegraph_track.tracking.correction import GraphCost
from scenegraph_track.tracking.learned import LearnedCost
from scenegraph_track.tracking.reference import associate, start_state
from scenegraph_track.tracking.situation import prepare
from scenegraph_track.training.graph_data import GraphData
from scenegraph_track.training.graph_rollouts import Episode, clip_batches
from scenegraph_track.training.graph_targets import ALONE, UNKNOWN
from scenegraph_track.training.stage import Stage


class GraphNetSettings(BaseModel):
    """The network; see `GraphTracker`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(48, ge=4, description="of all states and of the memory")
    layers: int = Field(3, ge=1, description="rounds of messages")
    competition: bool = Field(True, description="edges are told how they stand among their competitors")
    recurrent: bool = Field(True, description="tracks have a memory")


class GraphLoss(BaseModel):
    """What counts as an error."""

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


class GraphStage(Stage):
    """Negative log likelihood of the right matching after every layer, on recorded tracks (`graph_rollouts`).

    The memory is trained through time.  A first run learns on tracks of the reference tracker, with noise; a further
    one (``data.policy``, ``train.start.graph``) on those that the network makes itself.
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

    def loss(self, batch: Episode, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over the frames behind the burn-in, with the memory that the network has of the recorded tracks."""
        burn_in = min(self.settings.data.burn_in, self.settings.data.frames - 1)
        memory = torch.zeros(0, self.net.width, device=self.device)
        kept, learning = [], torch.is_grad_enabled()
        for k, frame in enumerate(batch.frames(self.device)):
            if k % self.settings.loss.through_time == 0:
                memory = memory.detach()
            with torch.set_grad_enabled(learning and k >= burn_in):
                memory, figures = self._frame(frame, memory)
            if k >= burn_in:
                kept.append(figures)
        means = {name: torch.stack([figures[name] for figures in kept]).mean() for name in kept[0]}
        return means.pop("total"), means

    def _frame(self, frame: dict[str, Tensor], memory: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """One frame of every clip: what is remembered of its tracks and detections then, and the losses."""
        inputs = {field.name: frame[field.name] for field in fields(FrameFeatures)}
        before = torch.cat([memory.new_zeros(1, self.net.width), memory]).index_select(0, frame["memory"] + 1)
        output = self.net(memory=before, **inputs)
        after = self.net.remember(before, output, frame["detection"], frame["matched_offset"])
        return torch.cat(after), graph_losses(output, frame, self.settings.loss)

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


def graph_losses(output: GraphOutput, frame: dict[str, Tensor], settings: GraphLoss) -> dict[str, Tensor]:
    """The parts of the loss of a frame (see `Episode.frames`) and their weighted ``total``; 0 without targets."""
    edge, none, new = sparse_sinkhorn(output.logits, frame["edge_index"], output.none, output.new, settings.iterations)
    wanted = _likelihood(frame["edge_of_track"], edge, none), _likelihood(frame["edge_of_detection"], edge, new)
    costs = -torch.cat(wanted).clamp(min=1e-7).log()
    partners = torch.cat([frame["edge_of_track"], frame["edge_of_detection"]])
    weight = torch.where(partners[partners != UNKNOWN] == ALONE, settings.alone, 1.0)[:, None]
    matching = (weight * costs).sum() / (weight.sum() * costs.shape[1]).clamp(min=1.0)
    row, column = frame["edge_index"][0], frame["edge_index"][1]
    number = torch.arange(len(row), device=row.device)
    right = frame["edge_of_track"][row] == number
    judged_ = (frame["edge_of_track"][row] != UNKNOWN) | (frame["edge_of_detection"][column] != UNKNOWN)
    signs = ((output.raw > 0) == right[:, None]).to(output.raw)
    motion_rows = frame["edge_of_track"] >= 0
    true_offset = frame["offset"][frame["edge_of_track"][motion_rows]]
    log_variance = output.motion_log_variance[motion_rows]
    error = (true_offset - output.motion[motion_rows]) ** 2 * (-log_variance).exp()
    known = torch.isfinite(frame["refinement"]).all(1)
    true_box = frame["refinement"][known].clamp(-1, 1)
    parts = {
        "matching": matching,
        "confidence": _mean(binary_cross_entropy_with_logits(output.confidence, signs, reduction="none")[judged_]),
        "restraint": _mean(output.change**2),
        "is_object": _mean(
            binary_cross_entropy_with_logits(output.is_object, frame["is_object"].to(output.raw), reduction="none")
        ),
        "visibility": _mean(
            binary_cross_entropy_with_logits(output.visibility, frame["visibility"], reduction="none")[frame["track"]]
        ),
        "refinement": _mean(smooth_l1_loss(output.refinement[known], true_box, reduction="none", beta=0.1)),
        "motion": _mean(0.5 * (error.clamp(max=50) + log_variance)),
    }
    weights = {name: getattr(settings, name) for name in parts if name != "matching"} | {"matching": 1.0}
    total = sum(weights[name] * part for name, part in parts.items())
    with torch.no_grad():
        best = _likelihood(frame["edge_of_track"], edge, none)[:, -1]
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


def judged(stream: Stream, learned: LearnedCost | None, settings: TrackerSettings | None = None) -> SequenceResult:
    """Figures of the tracker on a stream, boxes only, of the detections that it gives an identity."""
    settings = settings or load_config("reference").tracker
    state, rows = start_state(), []
    for frame in range(stream.frames):
        boxes, scores, _ = stream.detections(frame)
        time = frame / stream.frame_rate
        situation = prepare(state, settings, time, boxes, scores, image_size=stream.image_size)
        state, decided = associate(situation, learned)
        seen = decided.detection >= 0
        rows.append(_rows(np.full(seen.sum(), frame), decided.tracks.ids[seen], decided.boxes[seen]))
    truth = _rows(stream.truth_frame, stream.truth_id, stream.truth_boxes)
    truth = np.c_[truth[:, :7], np.ones(len(truth)), stream.truth_visibility]
    return evaluate_sequence(truth, np.concatenate(rows), stream.frames)


def _rows(frames: np.ndarray, ids: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    return np.c_[frames + 1, ids, boxes[:, :2], boxes[:, 2:] - boxes[:, :2], np.ones(len(ids))]

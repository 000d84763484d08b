"""The stage that pre-trains the graph tracker: masked nodes are predicted as an unmasked teacher has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from scenegraph_track.errors import UserError
from scenegraph_track.graph.features import FrameFeatures
from scenegraph_track.graph.graph_tracker import GraphTracker
from scenegraph_track.pretraining.jepa import JepaLoss, JepaObjective, Weights
from scenegraph_track.pretraining.jepa_graph import MaskSettings, NodeFrame, NodeHistory, NodeWeights, masked_nodes
from scenegraph_track.target.predictor import ResidualMap
from scenegraph_track.tracking.correction import EMBEDDED, graph_network
from scenegraph_track.training.graph import GraphNetSettings
from scenegraph_track.training.graph_data import GraphData, make_clip
from scenegraph_track.training.graph_rollouts import Episode, clip_batches, joined, roll_out
from scenegraph_track.training.jepa_teaching import Teaching, TeachingSettings, agreement_figures
from scenegraph_track.training.stage import Stage


class GraphTeachingSettings(TeachingSettings):
    """Who teaches whom, and in which frames."""

    every: int = Field(4, ge=1, description="frames from one that the student is shown to the next")


class GraphJepaStage(Stage):
    """A student that misses a track's past or some of its edges predicts its node as the teacher has it.

    The clips are those of the stage ``graph``; nothing is used of them that is known beyond what a tracker saw and
    did.  Memories are those of the weights that the teacher begins with.  The student goes on in the stage ``graph``
    (``train.start.graph``); its predictor is not needed there.
    """

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        data: GraphData = GraphData()
        graph: GraphNetSettings = GraphNetSettings()
        jepa: GraphTeachingSettings = GraphTeachingSettings()
        masks: MaskSettings = MaskSettings()
        jepa_loss: JepaLoss = JepaLoss()

    unused_weights = True  # heads and memory have no part in a node's state

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        made = settings.graph.model_dump()
        self.net = GraphTracker(**made)
        self.keeper = self._known()
        teacher = self.keeper
        if settings.jepa.student == "teacher":
            self.net.load_state_dict(self.keeper.state_dict())
        if settings.jepa.teacher == "ema":
            teacher = GraphTracker(**made).eval().requires_grad_(False)
        self.teaching = Teaching(settings.jepa, teacher, self.net)
        width = settings.graph.width
        objective = JepaObjective({"node": width}, settings.jepa_loss.settled(self.teaching.follows))
        self.heads = nn.ModuleDict({"predictor": ResidualMap(width), "objective": objective})

    def _known(self) -> GraphTracker:
        """The network whose memories are kept: that of the teacher's weights, or a fresh one."""
        weights = self.settings.jepa.weights
        if weights == "none":
            return GraphTracker(**self.settings.graph.model_dump()).eval().requires_grad_(False)
        known = graph_network(EMBEDDED if weights == "embedded" else Path(weights))
        shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (known, self.net)]
        if shapes[0] != shapes[1]:
            raise UserError(f"jepa.weights: {weights} is of another network than graph describes")
        return known

    def modules(self) -> dict[str, nn.Module]:
        """The student, and what is there for its training alone."""
        return {"graph": self.net, "jepa": self.heads}

    def learning_rate_factors(self) -> dict[str, float]:
        """See `TeachingSettings.predictor_rate`."""
        return {"jepa.predictor": self.settings.jepa.predictor_rate}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        return clip_batches(self.settings.data, self.seed, rank, world_size, start)

    def state(self) -> dict[str, Any]:
        """See `Teaching.state`."""
        return self.teaching.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """See `Stage.load_state`."""
        self.teaching.load_state(state)

    def loss(self, batch: Episode, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """See `JepaObjective`, of all masked nodes of some frames; with agreement and ranks."""
        self.teaching.begin(step)
        raw, predicted, targets = self._both(batch)
        total, parts = self.heads["objective"](raw, predicted, targets)
        figures = agreement_figures(predicted, targets)
        self.teaching.seen(figures)
        return total, parts | figures

    def _both(self, batch: Episode) -> tuple[Weights, Weights, Weights]:
        """Masked nodes of the student, the same behind its predictor, and those of the teacher."""
        burn_in = min(self.settings.data.burn_in, self.settings.data.frames - 1)
        memory = torch.zeros(0, self.net.width, device=self.device)
        teacher, student = NodeWeights(self.teaching.teacher.to(self.device)), NodeWeights(self.net)
        self.keeper.to(self.device)
        found: list[tuple[Tensor, Tensor]] = []
        for k, frame in enumerate(batch.frames(self.device)):
            memory = torch.cat([memory.new_zeros(1, self.net.width), memory]).index_select(0, frame["memory"] + 1)
            if k >= burn_in and (k - burn_in) % self.settings.jepa.every == 0:
                history = NodeHistory(frame["tracks"], memory)
                now = NodeFrame(**{field.name: frame[field.name] for field in fields(NodeFrame)})
                *spoilt, masked = masked_nodes(history, now, self.settings.masks)
                with torch.no_grad():
                    wanted = teacher.weights(history, now)["node"]
                found.append((student.weights(*spoilt)["node"][masked], wanted[masked]))
            with torch.no_grad():
                inputs = {field.name: frame[field.name] for field in fields(FrameFeatures)}
                output = self.keeper(memory=memory, **inputs)
                memory = torch.cat(self.keeper.remember(memory, output, frame["detection"], frame["matched_offset"]))
        raw, targets = (torch.cat(parts) for parts in zip(*found))
        return {"node": raw}, {"node": self.heads["predictor"](raw)}, {"node": targets}

    def validate(self) -> dict[str, float]:
        """Agreement and ranks of masked nodes in held-out streams."""
        _, predicted, targets = self._both(self._held_out)
        return {name: float(value) for name, value in agreement_figures(predicted, targets).items()}

    @cached_property
    def _held_out(self) -> Episode:
        """Clips that the reference tracker has been through."""
        data = self.settings.data
        rngs = [np.random.default_rng((self.seed, number)) for number in range(data.clips)]
        return joined([roll_out(make_clip(rng, data, "val"), data, None, rng) for rng in rngs])

    def collapse(self, metrics: dict[str, float]) -> str | None:
        """See `Stage.collapse`: node states of low rank."""
        return None if self.dry_run else self.teaching.collapsed(metrics)

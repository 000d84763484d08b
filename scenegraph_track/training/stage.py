"""What a stage gives to the training loop: modules, batches, a loss, validation, and what its collapse looks like."""

from __future__ import annotations

import difflib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from scenegraph_track.errors import UserError

STAGES: dict[str, str] = {
    "flow": "scenegraph_track.training.flow:FlowStage",
    "depth": "scenegraph_track.training.depth:DepthStage",
    "pose": "scenegraph_track.training.pose:PoseStage",
    "geometry": "scenegraph_track.training.photometric:PhotometricStage",
    "graph": "scenegraph_track.training.graph:GraphStage",
    "detector": "scenegraph_track.training.detector:DetectorStage",
    "target": "scenegraph_track.training.target:TargetStage",
    "contextual": "scenegraph_track.training.contextual:ContextualStage",
    "cycle": "scenegraph_track.training.cycle:CycleStage",
    "jepa": "scenegraph_track.training.jepa:JepaStage",
    "jepa_graph": "scenegraph_track.training.jepa_graph:GraphJepaStage",
    "scene": "scenegraph_track.training.scene:SceneStage",
    "language": "scenegraph_track.training.language:LanguageStage",
    "points": "scenegraph_track.training.points:PointStage",
    "occlusion": "scenegraph_track.training.occlusion:OcclusionStage",
    "surface": "scenegraph_track.training.surface:SurfaceStage",
}
"""Stages by name, each as ``module:class``; imported when asked for."""


class Stage(ABC):
    """One thing to train; the loop (`loop.train`) does everything that stages have in common.

    A stage is built with torch's generator seeded, so that its fresh weights follow from the seed, and is the same in
    every process.  While ``loss`` runs, torch's generator is seeded by (seed, batch, rank): dropout and the like are
    exactly repeated by a resumed run.  All other randomness belongs into ``batches``.

    Args:
        settings: An instance of ``Settings``.
        seed: Of the run.
    """

    Settings: ClassVar[type[BaseModel]]
    """The sections of the recipe besides ``stage`` and ``train`` (``data``, and what the stage needs beyond)."""

    unused_weights: ClassVar[bool] = False
    """Whether a loss may leave some weights without gradient; the processes then look for those at every step."""

    device: torch.device = torch.device("cpu")
    """Where the modules are; set by the loop before the first batch, for ``validate``."""

    dry_run: bool = False
    """Set by the loop when only two steps are asked for: ``validate`` may do as little as it can."""

    def __init__(self, settings: BaseModel, seed: int) -> None:
        self.settings, self.seed = settings, seed

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """What is trained and saved, by names without dots; weights without ``requires_grad`` stay as they are."""

    @abstractmethod
    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """Endless batches start, start + 1, ...: this rank's share of each, on the CPU.

        Batch k over all ranks follows from (seed, k) alone, and shares are of equal size: then a resumed run and a run
        with other processes see the same.

        Args:
            rank: This process among ``world_size``.
            world_size: Number of processes.
            start: Number of the first batch.
        """

    @abstractmethod
    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss of a batch on the device, and metrics for the log (always the same names).

        Args:
            batch: An item of ``batches``.
            step: Updates so far.

        Returns:
            A scalar with gradient, and scalars.
        """

    def learning_rate_factors(self) -> dict[str, float]:
        """Factors of the learning rate by beginnings of weight names (``"depth.encoder": 0.1``); the longest counts."""
        return {}

    def state(self) -> dict[str, Any]:
        """What a resumed run needs beyond the modules: tensors and plain values for the checkpoint."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:  # noqa: B027 (most stages have none)
        """Go on from what :meth:`state` gave (nothing, in a checkpoint without it); called before the first batch."""

    def validate(self) -> dict[str, float]:
        """Metrics on held-out data; called on one process, without gradient, modules in evaluation mode."""
        return {}

    def collapse(self, metrics: dict[str, float]) -> str | None:
        """A sentence that stops the run when metrics show that training has collapsed, else None.

        Args:
            metrics: Means since the last entry of the log, or those of ``validate`` with ``val/`` before their names.
        """
        return None


def find_stage(name: str) -> type[Stage]:
    """The class of a stage.

    Raises:
        UserError: There is no stage of that name (with the nearest one).
    """
    if name not in STAGES:
        near = difflib.get_close_matches(name, STAGES, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"stage {name}: expected one of {', '.join(STAGES) or '(none is registered)'}{hint}")
    module, _, attribute = STAGES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)

"""What all stages of JEPA have in common: a teacher that stays or follows its student, and a watch over the rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from scenegraph_track.pretraining.jepa import Weights, correlation, effective_rank, follow_weights


class TeachingSettings(BaseModel):
    """Who teaches whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: Literal["frozen", "ema"] = Field("frozen", description="ema: the teacher follows its student")
    weights: str = Field("embedded", description="of the teacher: those that ship, a file, or none (ema only)")
    student: Literal["fresh", "teacher"] = Field("fresh", description="weights that the student begins with")
    predictor_rate: float = Field(10.0, gt=0, description="learning rate of the predictors, in those of the rest")
    decay: float = Field(0.998, gt=0, lt=1, description="of a teacher that follows")
    watched_from: int = Field(50, ge=0, description="step from which a collapse stops the run")
    least_rank: float = Field(0.25, ge=0, le=1, description="rank that stops it, as a part of the first teacher's")

    @model_validator(mode="after")
    def _has_a_teacher(self) -> Self:
        if self.weights == "none" and (self.teacher == "frozen" or self.student == "teacher"):
            raise ValueError("weights: expected those of a teacher; without, teacher is ema and student is fresh")
        return self


class Teaching:
    """A teacher beside its student, and the rank of what they predict.

    Args:
        settings: Who teaches whom.
        teacher: The part that follows.
        student: The part that it follows, of the same parameters.
    """

    def __init__(self, settings: TeachingSettings, teacher: nn.Module, student: nn.Module) -> None:
        self.settings, self.teacher, self.student = settings, teacher, student
        self.updates, self.first_rank = 0, None

    @property
    def follows(self) -> bool:
        """Whether the teacher follows its student."""
        return self.settings.teacher == "ema"

    def begin(self, step: int) -> None:
        """Let the teacher follow, once a step; before the first it becomes like its student."""
        if self.follows and (step == 0 or step > self.updates):
            decay = self.settings.decay if step else 0.0
            follow_weights(self.teacher.parameters(), self.student.parameters(), decay)
        self.updates = step

    def seen(self, figures: Mapping[str, Tensor]) -> None:
        """Take in the figures of a batch, see `agreement_figures`; the first rank is what a collapse is told by."""
        if self.first_rank is None:
            self.first_rank = float(figures["teacher_rank"])

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        kept: dict[str, Any] = {"updates": self.updates, "first_rank": self.first_rank}
        return kept | ({"teacher": self.teacher.state_dict()} if self.follows else {})

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.updates, self.first_rank = state["updates"], state["first_rank"]
        if self.follows:
            self.teacher.load_state_dict(state["teacher"])

    def collapsed(self, metrics: Mapping[str, float]) -> str | None:
        """What stops the run: weights of low rank in an entry of the log, once it is watched."""
        if self.first_rank is None or self.updates < self.settings.watched_from or "rank" not in metrics:
            return None
        if metrics["rank"] >= self.settings.least_rank * self.first_rank:
            return None
        return f"the weights' effective rank is {metrics['rank']:.3g}, that of the teacher's was {self.first_rank:.3g}"


@torch.no_grad()
def agreement_figures(predicted: Weights, targets: Weights) -> dict[str, Tensor]:
    """``agreement``, the mean `correlation` of heads, and ``rank`` and ``teacher_rank``, those of the first one."""
    found = torch.stack([correlation(predicted[name], targets[name]) for name in targets]).mean()
    first = next(iter(targets))
    ranks = {"rank": effective_rank(predicted[first]), "teacher_rank": effective_rank(targets[first])}
    return {"agreement": found, **ranks}

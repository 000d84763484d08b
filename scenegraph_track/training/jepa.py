"""The stage that pre-trains target models by joint-embedding prediction (GOT-JEPA), without any box to be found.

The order of stages, as published: ``target`` (the teacher), ``jepa`` (its student), ``target`` again from the student
with ``target_net.refined`` (its predictors stay in the network, ``w <- P(w)``), then ``occlusion`` with all that
frozen.  The weights of one round may be the teacher of the next (``jepa.weights``).
"""

from __future__ import annotations

from copy import deepcopy
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor, nn

from geometry.errors import GeometryError
from scenegraph_track.errors import UserError
from scenegraph_track.pretraining.corruption import CorruptionSettings, drawn_kind
from scenegraph_track.pretraining.jepa import JepaLoss, JepaObjective, Weights
from scenegraph_track.pretraining.jepa_target import TargetWeights, corrupted_features, newest_replaced, newest_views
from scenegraph_track.target.embedded import target_network
from scenegraph_track.target.follow import FollowSettings
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.training.jepa_teaching import Teaching, TeachingSettings, agreement_figures
from scenegraph_track.training.target import TargetStage
from scenegraph_track.training.target_data import TargetClipSettings, TargetData, target_views

TRAINED = ("predictor.", "refine.")
"""Beginnings of the names of the weights that are trained; all others are the teacher's."""

_ROUNDS = 3
"""Views of each held-out target."""


class JepaStage(TargetStage):
    """A student that sees a corrupted view predicts the filters that its teacher predicts from the clean one.

    Backbone, neck, box tower and bias are the teacher's and frozen: a filter means something for these features alone.
    Of labels only the boxes of remembered views are used.
    """

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        clips: TargetClipSettings = TargetClipSettings()
        data: TargetData = TargetData()
        target_net: TargetNetSettings = TargetNetSettings(refined=True, train_backbone=False)
        jepa: TeachingSettings = TeachingSettings()
        corruption: CorruptionSettings = CorruptionSettings()
        jepa_loss: JepaLoss = JepaLoss()
        following: FollowSettings = FollowSettings()

        @model_validator(mode="after")
        def _fits(self) -> Self:
            if not self.target_net.refined or self.target_net.train_backbone:
                raise ValueError("target_net: expected refined true and train_backbone false")
            return self

    unused_weights = True  # the expander of an l2 loss, a box encoding without boxes

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        known, net = self._known(), self.net
        if known is not None:
            taken = net.state_dict()
            for name, value in known.state_dict().items():
                if settings.jepa.student == "teacher" or not name.startswith(TRAINED):
                    taken[name] = value
            net.load_state_dict(taken)
        for name, weight in net.named_parameters():
            weight.requires_grad_(name.startswith(TRAINED))
        follows = settings.jepa.teacher == "ema"
        self.teacher = net if known is None else known
        if follows:
            self.teacher = deepcopy(net).requires_grad_(False)
            self.teacher.refine = None
        self.teacher.eval()
        self.teaching = Teaching(settings.jepa, self.teacher.predictor, net.predictor)
        dims = dict.fromkeys(("classification", "box"), settings.target_net.dim)
        self.objective = JepaObjective(dims, settings.jepa_loss.settled(follows))

    def _known(self) -> TargetNetwork | None:
        """The teacher's network as it was trained, None where there is none."""
        weights, own = self.settings.jepa.weights, self.settings.target_net
        if weights == "none":
            return None
        try:
            known = target_network(None if weights == "embedded" else weights)
        except GeometryError as error:
            raise UserError(f"jepa.weights: {error}") from None
        free = {"refined": True, "train_backbone": False, "pretrained": False}
        if self.settings.jepa.student == "fresh":  # a student of its own draw may predict filters from nothing
            free["from_mean"] = True
        if known.settings.model_copy(update=free) != own.model_copy(update=free):
            raise UserError(f"jepa.weights: {weights} is of another network than target_net describes")
        return known

    def modules(self) -> dict[str, nn.Module]:
        """The student with all that is the teacher's, and the expanders."""
        return {"target": self.net, "jepa": self.objective}

    def learning_rate_factors(self) -> dict[str, float]:
        """See `TeachingSettings.predictor_rate`."""
        return {"target.refine": self.settings.jepa.predictor_rate}

    def state(self) -> dict[str, Any]:
        """See `Teaching.state`."""
        return self.teaching.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """See `Stage.load_state`."""
        self.teaching.load_state(state)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """See `JepaObjective`; with how well the student agrees with its teacher, and the ranks of their filters."""
        self.teacher.to(self.device)
        self.teaching.begin(step)
        raw, predicted, targets = self._both(batch, self.settings.corruption)
        total, parts = self.objective(raw, predicted, targets)
        figures = agreement_figures(predicted, targets)
        self.teaching.seen(figures)
        return total, parts | figures

    def _both(self, batch: Any, settings: CorruptionSettings) -> tuple[Weights, Weights, Weights]:
        """Weights of the student, the same behind its predictors, and those of the teacher."""
        teacher = self.teacher
        images, boxes, valid = batch["memory"].float() / 255, batch["memory_boxes"], batch["valid"]
        count, remembered = images.shape[:2]
        kind = drawn_kind(settings.kinds)
        with torch.no_grad():
            features = _look(teacher, images.flatten(0, 1)).unflatten(0, (count, remembered))
            history, frame = self.net.tokens(features, boxes, valid), None
            box = newest_views(boxes, valid)
            if self.net.settings.sees_current:
                images = batch["test"][:, 0].float() / 255
                frame = clean = _look(teacher, images)
            else:
                images, clean = newest_views(images, valid), newest_views(features, valid)
            wanted = TargetWeights(teacher)
            targets = wanted.predicted(wanted.weights(history, frame))
            spoilt = corrupted_features(clean, images, box, kind, settings, lambda some: _look(teacher, some))
        student = TargetWeights(self.net)
        if frame is None:
            raw = student.weights(newest_replaced(history, spoilt), None)
        else:
            raw = student.weights(history, spoilt)
        return raw, student.predicted(raw), targets

    def validate(self) -> dict[str, float]:
        """Figures of `TargetStage.validate` of the student's filters, and how it agrees with its teacher.

        ``agreement`` on held-out targets under the corruption of the recipe, ``agreement_occluded`` under textured
        blocks on half of the target; ``rank`` and ``teacher_rank`` of these targets' filters.
        """
        _, predicted, targets = self._both(self._views, self.settings.corruption)
        half = CorruptionSettings(kinds={"occlude": 1.0}, hidden=(0.5, 0.5))
        _, hidden, clean = self._both(self._views, half)
        blocked = agreement_figures(hidden, clean)["agreement"]
        found = {name: float(value) for name, value in agreement_figures(predicted, targets).items()}
        return super().validate() | found | {"agreement_occluded": float(blocked)}

    @cached_property
    def _views(self) -> dict[str, Tensor]:
        """Views of held-out targets, as a batch."""
        rng, size, items = np.random.default_rng(self.seed), self.settings.target_net.view, []
        for clip in self._held_out:
            assert clip.images is not None
            boxes = np.nan_to_num(clip.boxes)[:, None].astype(np.float32)
            row = {"images": np.stack(clip.images), "boxes": boxes, "visible": clip.visibility[:, None]}
            drawn = [target_views(rng, row, self.settings.data, size) for _ in range(_ROUNDS)]
            items += [item for item in drawn if item is not None]
        if len(items) < 2:
            raise UserError("held-out worlds: expected two targets that can be seen; raise data.validation_clips")
        joined = {name: torch.cat([item[name] for item in items]) for name in items[0]}
        return {name: values.to(self.device) for name, values in joined.items()}

    def collapse(self, metrics: dict[str, float]) -> str | None:
        """See `Stage.collapse`: filters of low rank, or alike."""
        return None if self.dry_run else self.teaching.collapsed(metrics) or super().collapse(metrics)


def _look(network: TargetNetwork, images: Tensor) -> Tensor:
    return network.features(images.contiguous(memory_format=torch.channels_last))

"""The stage that teaches `TargetNetwork` with all boxes of rendered worlds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import normalize

from scenegraph_track.target.follow import FollowSettings, follow, start_following
from scenegraph_track.target.labels import gaussian_maps, ltrb_maps, positive_cells
from scenegraph_track.target.losses import filter_loss, focal, lb_hinge
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.target.predictor import Filters
from scenegraph_track.training.batches import endless_batches
from scenegraph_track.training.stage import Stage
from scenegraph_track.training.target_data import TargetClipSettings, TargetData, draw_target, target_clips

if TYPE_CHECKING:
    from scenegraph_track.evaluation.single_clips import SingleClip

SAME = 0.999
"""Mean cosine of the filters of different targets from which they count as one."""


class TargetLoss(BaseModel):
    """What counts as an error; weights as in ToMP."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classification: Literal["lb_hinge", "focal"] = Field("lb_hinge", description="loss of the score maps")
    radius: float = Field(1.0, ge=0, description="cells round a target's middle that are to give its box")


class TargetStage(Stage):
    """Supervised target models: score maps and boxes of views by filters of remembered views (ToMP, section 3.4)."""

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        clips: TargetClipSettings = TargetClipSettings()
        data: TargetData = TargetData()
        target_net: TargetNetSettings = TargetNetSettings()
        loss: TargetLoss = TargetLoss()
        following: FollowSettings = FollowSettings()

        @model_validator(mode="after")
        def _loss_of_scores(self) -> Self:
            if self.target_net.probabilities != (self.loss.classification == "focal"):
                raise ValueError("target_net.probabilities: expected true with the focal loss, false with lb_hinge")
            return self

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.net = TargetNetwork(settings.target_net)
        self.net.to(memory_format=torch.channels_last)

    def modules(self) -> dict[str, nn.Module]:
        """The network by its name in the weights."""
        return {"target": self.net}

    def learning_rate_factors(self) -> dict[str, float]:
        """Predictors that stay in the network learn twice as fast, as in GOT-JEPA's fine-tuning."""
        return {"target.refine": 2.0} if self.settings.target_net.refined else {}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        data = self.settings.data
        clips = target_clips(self.settings.clips, self.dry_run, rank, world_size)
        make = partial(draw_target, clips=clips, data=data, size=self.settings.target_net.view)
        return endless_batches(make, self.seed, data.batch, data.workers, rank, world_size, start)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of the losses of scores and boxes, see `filter_loss`."""
        targets, tests = batch["test"].shape[:2]
        remembered = batch["memory"].shape[1]
        images = torch.cat([batch["memory"].flatten(0, 1), batch["test"].flatten(0, 1)])
        features = self.net.features((images.float() / 255).contiguous(memory_format=torch.channels_last))
        memory, current = features.split([targets * remembered, targets * tests])
        tokens = self.net.tokens(memory.unflatten(0, (targets, remembered)), batch["memory_boxes"], batch["valid"])
        seen = current if self.net.settings.sees_current else None
        filters = self.net.filters(tokens.repeated(tests) if seen is not None else tokens, seen)
        each = filters if seen is not None else filters.repeated(tests)

        boxes, present = batch["test_boxes"].flatten(0, 1), batch["present"].flatten()
        total, parts, hit = self.view_loss(each, current, boxes, present)
        return total, parts | {"hit": hit, "alike": alike(filters.classification.detach())}

    def view_loss(
        self, filters: Filters, features: Tensor, boxes: Tensor, present: Tensor, counted: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss of N views.

        Args:
            filters: Of the targets that are looked for.
            features: (N, D, h, w) of the views.
            boxes: (N, 4) of the targets, pixels of the views.
            present: (N,) bool, whether a target can be seen.
            counted: (N,) bool, whether a view counts; None: all do.

        Returns:
            The weighted sum, its parts, and the share of present targets whose best cell is near their middle.
        """
        size, stride = (features.shape[2], features.shape[3]), self.net.stride
        snapped = self.settings.loss.classification == "focal"
        label = gaussian_maps(boxes, size, stride, self.net.settings.sigma, snapped) * present[:, None, None]
        score = self.net.scores(filters, features)
        positive = positive_cells(boxes, size, stride, self.settings.loss.radius) & present[:, None, None]
        with torch.no_grad():
            best = positive.flatten(1).gather(1, score.flatten(1).argmax(1, keepdim=True))[:, 0]
            hit = best[present].float().sum() / present.sum().clamp(min=1)
        if counted is not None and not bool(counted.all()):
            score, label = score[counted], label[counted]
        error = (focal(score, label) if snapped else lb_hinge(score, label)) if len(score) else score.sum()
        truth = ltrb_maps(boxes, size, stride, self.net.unit)
        total, parts = filter_loss(error, self.net.distances(filters, features), truth, positive)
        return total, parts, hit

    def validate(self) -> dict[str, float]:
        """Figures of targets that are followed through held-out worlds, as ``eval single`` has them.

        Besides, ``ao_constant`` is the mean overlap of the first boxes, ``alike`` the mean cosine of the targets'
        filters (0 where they change with every frame).
        """
        from scenegraph_track.evaluation.single import judge_boxes, single_figures

        clips, settings = self._held_out, self.settings.following
        frames = torch.stack([torch.from_numpy(np.stack(clip.images)) for clip in clips], 1)  # T, N, H, W, 3
        first = np.stack([clip.boxes[0] for clip in clips])
        boxes = torch.from_numpy(first).float().to(self.device)
        state = start_following(self.net, settings, self._shown(frames[0]), boxes)
        same = 0.0 if state.filters is None else float(alike(state.filters.classification))
        found = [first]
        for images in frames[1:]:
            state = follow(self.net, settings, state, self._shown(images))
            found.append(state.boxes.cpu().double().numpy())

        def figures(predicted: np.ndarray) -> dict[str, float]:
            rows = zip(clips, predicted.swapaxes(0, 1))
            return single_figures([judge_boxes(clip.boxes, row, clip.absent, clip.size) for clip, row in rows])

        ours, constant = figures(np.stack(found)), figures(np.stack([first] * len(found)))
        shown = {name: ours[name] for name in ("ao", "sr50", "sr75", "auc")}
        return {**shown, "ao_constant": constant["ao"], "alike": same}

    def _shown(self, images: Tensor) -> Tensor:
        return images.to(self.device).permute(0, 3, 1, 2).float() / 255

    @cached_property
    def _held_out(self) -> list[SingleClip]:
        """Targets of held-out worlds."""
        from scenegraph_track.evaluation.single_clips import SingleWorlds

        data = self.settings.data
        wanted, length = (1, 4) if self.dry_run else (data.validation_clips, data.validation_frames)
        worlds = SingleWorlds("standard", "val", wanted, self.settings.clips.size, length)
        found: list[SingleClip] = []
        for number in count():
            clips = worlds.single_clips(number)
            found += clips
            wanted -= len(clips) > 0
            if wanted <= 0:
                return found
        return found

    def collapse(self, metrics: dict[str, float]) -> str | None:
        """See `Stage.collapse`."""
        if not self.dry_run and metrics.get("val/alike", 0.0) > SAME:
            return "all targets have the same filter"
        return None


def alike(filters: Tensor) -> Tensor:
    """Mean cosine () of different rows of filters (N, D); 0 of one row."""
    rows = len(filters)
    total = normalize(filters, dim=1).sum(0).square().sum()
    return (total - rows) / max(rows * (rows - 1), 1)

"""The stage that teaches `TargetNetwork` without a label: pasted objects, and proposals followed there and back."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from scenegraph_track.pretraining.contrast import box_means, nt_xent
from scenegraph_track.pretraining.cycle import views_there, way_there
from scenegraph_track.pretraining.paste import PasteSettings
from scenegraph_track.target.heads import decode
from scenegraph_track.training.batches import endless_batches
from scenegraph_track.training.cycle_data import CycleData, FreeClipSettings, draw_free_target, free_clips
from scenegraph_track.training.target import TargetStage


class CycleLoss(BaseModel):
    """What counts as an error on the way back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    begins: int = Field(500, ge=0, description="step from which targets are followed there and back")
    weight: float = Field(1.0, ge=0, description="of the way back, next to pasted targets")
    boxes: float = Field(0.1, ge=0, description="part of the box loss that counts: boxes of proposals are rough")
    confident: float = Field(0.5, description="least score of a frame of the way there that is remembered")
    factor: float = Field(4.5, gt=1, description="side of the views there, in mean sides of what was found")
    contrast: float = Field(0.1, ge=0, description="weight of the instance contrast")
    temperature: float = Field(0.5, gt=0, description="of the instance contrast")


class CycleStage(TargetStage):
    """Target models by decoupled consistency (SSTrack, AAAI 2025), the first boxes from proposals or pasted.

    The loss is that of `TargetStage` on pasted targets plus, from some step on, that of the way back of proposals that
    were followed through other frames, plus the contrast of the instances of a batch.
    """

    class Settings(TargetStage.Settings):
        """Sections of the recipe."""

        clips: FreeClipSettings = FreeClipSettings()
        cycle: CycleData = CycleData()
        paste: PasteSettings = PasteSettings()
        cycle_loss: CycleLoss = CycleLoss()

        @model_validator(mode="after")
        def _remembers_alone(self) -> Self:
            if self.target_net.sees_current:
                raise ValueError("target_net.sees_current: expected false: one filter has to do for all frames")
            return self

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        s = self.settings
        clips = free_clips(s.clips, self.dry_run, rank, world_size)
        make = partial(draw_free_target, clips=clips, data=s.data, cycle=s.cycle, paste=s.paste, size=s.target_net.view)
        return endless_batches(make, self.seed, s.data.batch, s.data.workers, rank, world_size, start)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The losses of pasted targets and of the way back, see the class."""
        s = self.settings.cycle_loss
        total, parts = super().loss(batch, step)
        zero = total.detach() * 0
        back, told = zero, {"back_hit": zero, "back_giou": zero, "contrast": zero, "reached": zero}
        if step >= s.begins or self.dry_run:
            back, told = self._cycle(batch)
        return total + s.weight * back, parts | told

    def _cycle(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the way back of the targets that were found on the way there."""
        s, net, size = self.settings.cycle_loss, self.net, self.settings.target_net.view
        frames, first = batch["frames"].float() / 255, batch["first"]
        there = way_there(net, frames, first)
        sure = there.scores >= s.confident
        found = sure.any(1)
        reached = found.float().mean()
        # the surest view comes first, as the first one is always remembered
        order = there.scores.argsort(1, descending=True)
        index = order[..., None].expand(-1, -1, 4)
        later = frames[:, 1:].gather(1, order[..., None, None, None].expand_as(frames[:, 1:]))
        remembered, boxes = views_there(later, there.boxes.gather(1, index), s.factor, size)
        views = batch["views"].float() / 255
        count = remembered.shape[1]
        pixels = torch.cat([remembered.flatten(0, 1), views.flatten(0, 1)])
        features = net.features(pixels.contiguous(memory_format=torch.channels_last))
        memory, current = features.split([len(frames) * count, len(frames) * 2])
        tokens = net.tokens(memory.unflatten(0, (-1, count)), boxes, sure.gather(1, order) | ~found[:, None])
        filters = net.filters(tokens).repeated(2)
        truth = batch["view_boxes"].flatten(0, 1)
        weight = found.repeat_interleave(2)
        error, parts, hit = self.view_loss(filters, current, truth, weight, weight)
        response = net.respond(filters, current)
        look = box_means(current, decode(response, net.stride, net.unit).detach(), net.stride).unflatten(0, (-1, 2))
        contrast = nt_xent(look[:, 0], look[:, 1], s.temperature)
        told = {"back_hit": hit, "back_giou": parts["giou"].detach(), "contrast": contrast.detach(), "reached": reached}
        error = error - (1 - s.boxes) * parts["giou"]
        return error + s.contrast * contrast, told

"""The stage that teaches `SurfaceNet` what can be seen of objects, through stretches of rendered clips."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits, smooth_l1_loss

from scenegraph_track.occlusion.surface_net import SurfaceNet, SurfaceNetSettings, Surfaces, SurfacesSeen
from scenegraph_track.training.batches import endless_batches
from scenegraph_track.training.point_data import PointClipSettings, point_clips
from scenegraph_track.training.stage import Stage
from scenegraph_track.training.surface_data import SurfaceData, draw_surfaces

if TYPE_CHECKING:
    from scenegraph_track.evaluation.object_visibility import VisibilityClip

_NARROW = 0.1
"""Half boxes within which the error of a place is squared."""

_NEAR = 0.15
"""Deviation of where an object counts as found, half boxes."""


class SurfaceLoss(BaseModel):
    """What counts as an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fraction: float = Field(2.0, ge=0, description="weight of the visible part: its error and its cross-entropy")
    hidden: float = Field(1.5, ge=0, description="how much more it weighs where less than 0.6 is visible")
    visible: float = Field(1.0, ge=0, description="weight of cells seen or not")
    member: float = Field(0.5, ge=0, description="weight of cells on their object or not")
    place: float = Field(1.0, ge=0, description="weight of where the object is in its view, and how large")


class SurfaceStage(Stage):
    """Surfaces by the visible parts, masks and whole boxes of rendered objects; views go where the network leads."""

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        clips: PointClipSettings = PointClipSettings()
        data: SurfaceData = SurfaceData()
        surface_net: SurfaceNetSettings = SurfaceNetSettings()
        loss: SurfaceLoss = SurfaceLoss()

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.net = SurfaceNet(settings.surface_net)

    def modules(self) -> dict[str, nn.Module]:
        """The network by its name in the weights."""
        return {"surface": self.net}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        data = self.settings.data
        clips = point_clips(self.settings.clips, self.dry_run, rank, world_size)
        make = partial(draw_surfaces, clips=clips, data=data)
        return endless_batches(make, self.seed, data.batch * world_size, data.workers, rank, world_size, start)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over the frames behind the first of the weighted errors."""
        width, device = batch["objects"].shape[1], batch["objects"].device
        rows = torch.cat([torch.arange(int(n), device=device) + k * width for k, n in enumerate(batch["count"])])
        clip = rows // width
        given, boxes, fraction, numbers = (
            batch[name].flatten(0, 1)[rows] for name in ("given", "boxes", "fraction", "objects")
        )
        images, instance = batch["images"].float() / 255, batch["instance"]
        stride = images.shape[-1] / instance.shape[-1]

        def mask(at: Tensor, frame: int) -> Tensor:
            return _at(instance[:, frame], at / stride, clip, numbers)

        state: Surfaces = self.net.begin(images[:, 0], given, clip)
        member = mask(state.pose.at(self.net.box), 0)
        errors: list[dict[str, Tensor]] = []
        for frame in range(1, images.shape[1]):
            state, seen = self.net(state, images[:, frame], batch["flows"][:, frame - 1], clip)
            visible = mask(seen.pose.at(self.net.box), frame)
            errors.append(self._errors(seen, visible, member, boxes[:, frame], fraction[:, frame]))
        means = {name: torch.stack([one[name] for one in errors]).mean() for name in errors[0]}
        shown = {name: means.pop(name) for name in ("error", "off", "off_by_flow")}
        weights = self.settings.loss.model_dump()
        total = torch.stack([weights[name] * value for name, value in means.items()]).sum()
        return total, {**shown, **{name: value.detach() for name, value in means.items()}}

    def _errors(
        self, seen: SurfacesSeen, visible: Tensor, member: Tensor, boxes: Tensor, fraction: Tensor
    ) -> dict[str, Tensor]:
        sides = boxes[:, 2:] - boxes[:, :2]
        there = (sides.prod(1) > 1).float()

        def mean(values: Tensor, weight: Tensor) -> Tensor:
            return (values * weight).sum() / weight.sum().clamp(min=1)

        error = (seen.fraction - fraction).abs()
        entropy = binary_cross_entropy(seen.fraction.clamp(1e-4, 1 - 1e-4), fraction, reduction="none")
        weight = there * (1 + self.settings.loss.hidden * (fraction < 0.6))
        cells = binary_cross_entropy_with_logits(seen.visible, visible, reduction="none")
        near = there * (0.15 + 0.85 * fraction)
        shift = seen.pose.of((boxes[:, :2] + boxes[:, 2:]) / 2)
        near = near * (shift.abs() < 1.9).all(1)
        target = (-(self.net.shifts - shift[:, None, None]).square().sum(-1) / (2 * _NEAR**2)).flatten(1).softmax(1)
        where = -(target * seen.where.flatten(1)).sum(1)
        area = 4 * seen.pose.half.prod(1) * seen.pose.grown.clamp(min=0.05)
        growth = ((sides.prod(1).clamp(min=1) / area).log() / 2).clamp(-0.5, 0.5)
        place = 0.3 * where + smooth_l1_loss(seen.shift, shift, reduction="none", beta=_NARROW).sum(1)
        place = place + 0.3 * smooth_l1_loss(seen.growth, growth, reduction="none", beta=_NARROW)
        return {
            "error": mean(error.detach(), there),
            "fraction": mean(error + 0.3 * entropy, weight),
            "visible": (cells * (member + 0.1)).sum() / (member + 0.1).sum(),
            "member": binary_cross_entropy_with_logits(seen.member, member),
            "place": mean(place, near),
            "off": mean((seen.shift - shift).norm(dim=1).detach(), near),
            "off_by_flow": mean(shift.norm(dim=1).detach(), near),
        }

    def validate(self) -> dict[str, float]:
        """Figures of held-out worlds, as ``eval occlusion`` has them."""
        from scenegraph_track.evaluation.object_visibility import SURFACE, visibility_figures, visibility_methods

        method = visibility_methods(surface=self.net)[SURFACE]
        return visibility_figures((clip, method(clip)) for clip in self._held_out)

    @cached_property
    def _held_out(self) -> list[VisibilityClip]:
        from scenegraph_track.evaluation.object_visibility import held_out_visibility

        asked = self.settings
        return held_out_visibility(1 if self.dry_run else asked.data.validation_clips, asked.clips.size)


def _at(instance: Tensor, cells: Tensor, clip: Tensor, numbers: Tensor) -> Tensor:
    """(O, h, w) 1 where maps (B, H, W) have the objects' numbers (O,) at cells (O, h, w, 2), else 0."""
    size = cells.new_tensor([instance.shape[2], instance.shape[1]])
    inside, index = ((cells >= 0) & (cells < size)).all(-1), cells.long()
    x, y = (index[..., k].clamp(0, instance.shape[2 - k] - 1) for k in (0, 1))
    return (inside & (instance[clip[:, None, None], y, x] == numbers[:, None, None])).float()

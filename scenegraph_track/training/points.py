"""The stage that teaches `PointNet` by exact tracks of points of rendered worlds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from scenegraph_track.occlusion.point_features import STRIDE, describe, pyramid, shifts
from scenegraph_track.occlusion.point_net import CONFIDENT, PointNet, PointNetSettings, Supposed
from scenegraph_track.occlusion.point_window import begin
from scenegraph_track.occlusion.sight import Sight
from scenegraph_track.occlusion.templates import grey, templates_of
from scenegraph_track.training.batches import endless_batches
from scenegraph_track.training.point_data import PointClipSettings, PointData, draw_points, point_clips
from scenegraph_track.training.stage import Stage

if TYPE_CHECKING:
    from scenegraph_track.evaluation.point_clips import PointClip


class PointLoss(BaseModel):
    """What counts as an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    position: float = Field(0.5, ge=0, description="weight of the errors of positions")
    hidden: float = Field(0.2, ge=0, description="factor for points that cannot be seen")
    visible: float = Field(1.0, ge=0, description="weight of visible or not")
    confident: float = Field(0.5, ge=0, description="weight of whether an error is small")
    fit: float = Field(0.2, ge=0, description="weight of the right shift by looks alone, at each level")
    earlier: float = Field(0.8, gt=0, le=1, description="factor of each iteration against the next")


class PointStage(Stage):
    """Supervised tracks of points in overlapping windows (CoTracker3, Karaev et al., 2024, section 3.3)."""

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        clips: PointClipSettings = PointClipSettings()
        data: PointData = PointData()
        point_net: PointNetSettings = PointNetSettings()
        loss: PointLoss = PointLoss()

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.net = PointNet(settings.point_net)

    def modules(self) -> dict[str, nn.Module]:
        """The network by its name in the weights."""
        return {"points": self.net}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        data = self.settings.data
        clips = point_clips(self.settings.clips, self.dry_run, rank, world_size)
        make = partial(draw_points, clips=clips, data=data)
        return endless_batches(make, self.seed, data.batch, data.workers, rank, world_size, start)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over the windows of a sample of the weighted errors of all iterations."""
        images, tracks, counted = batch["images"], batch["tracks"], batch["counted"]
        clips, frames = images.shape[:2]
        features = self.net.features(images.flatten(0, 1).float() / 255).unflatten(0, (clips, frames))
        first, positions = batch["queries"][..., 0].long(), batch["queries"][..., 1:]
        numbers = torch.arange(clips, device=images.device)[:, None] * frames + first
        levels = pyramid(features.flatten(0, 1))
        looks = describe(levels, numbers.flatten(), positions.flatten(0, 1)).unflatten(0, first.shape)
        greys = grey(images)
        templates = templates_of(greys, first, positions)
        total, parts, before = images.new_zeros((), dtype=torch.float32), [], None
        window, stride = self.net.settings.window, self.net.settings.stride
        stops = range(min(stride, frames), frames + 1, stride)
        for stop in stops:
            start = max(stop - window, 0)
            inside = slice(start, stop)
            levels = pyramid(features[:, inside].flatten(0, 1))
            sight = Sight(batch["flows"][:, start : stop - 1], greys[:, inside], templates)
            supposed, known, given = begin(positions, first - start, stop - start, sight, before)
            found = self.net(levels, supposed, looks, known, given, sight)
            error, shown = self.error(
                supposed, found, tracks[:, :, inside], batch["seen"][:, :, inside], counted[:, :, inside]
            )
            total = total + error / len(stops)
            parts.append(shown | {"start": _mean(_distance(supposed, tracks[:, :, inside]), counted[:, :, inside])})
            follows = max(stop + stride - window, 0)
            before = Supposed(*(part[:, :, follows - start :].detach() for part in found[-1][:3]))
        return total, {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}

    def error(
        self, start: Supposed, found: list[Supposed], tracks: Tensor, seen: Tensor, counted: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted errors of all iterations of a window.

        Args:
            start: What was supposed before.
            found: Of `PointNet`.
            tracks: (B, N, T, 2) pixels.
            seen: (B, N, T) bool.
            counted: (B, N, T) bool, what is known and asked for.

        Returns:
            The sum, and figures of the last iteration.
        """
        weights = self.settings.loss
        weight = counted * torch.where(seen, 1.0, weights.hidden)
        total = tracks.new_zeros(())
        factors = [weights.earlier ** (len(found) - 1 - k) for k in range(len(found))]
        for before, supposed, factor in zip([start, *found], found, factors):
            distance = _distance(supposed, tracks)
            place = (2 * ((1 + distance).sqrt() - 1) * weight).sum() / weight.sum().clamp(min=1)
            visible = binary_cross_entropy_with_logits(supposed.visible, seen.float(), reduction="none")
            near = (distance.detach() < CONFIDENT).float()
            sure = binary_cross_entropy_with_logits(supposed.confident, near, reduction="none")
            total = total + factor / sum(factors) * (
                weights.position * place
                + weights.visible * _mean(visible, counted)
                + weights.confident * _mean(sure, counted)
                + weights.fit * fit_loss(supposed.fits, tracks - before.positions.detach(), counted & seen)
            )
        with torch.no_grad():
            right = ((supposed.visible > 0) == seen).float()
            shown = {
                "fit": fit_loss(found[0].fits, tracks - start.positions, counted & seen),
                "distance": _mean(distance.detach(), counted & seen),
                "visibility": _mean(right, counted),
            }
        return total, shown

    def validate(self) -> dict[str, float]:
        """Figures of held-out worlds, as ``eval points`` has them."""
        from scenegraph_track.evaluation.points import point_figures
        from scenegraph_track.occlusion.point_tracker import PointTracker

        tracker = PointTracker(self.net)
        made = []
        for clip in self._held_out:
            tracks = tracker.track([image.to(self.device) for image in clip.images], torch.from_numpy(clip.queries))
            made.append((clip, tracks.positions.cpu().numpy(), tracks.visible.cpu().numpy()))
        return point_figures(made)

    @cached_property
    def _held_out(self) -> list[PointClip]:
        from scenegraph_track.evaluation.point_clips import PointWorlds

        few = self.dry_run
        worlds = PointWorlds("standard", "val", 1 if few else self.settings.data.validation_clips, (128, 128))
        return [worlds.clip(number) for number in range(len(worlds))]


def fit_loss(fits: Tensor | None, wanted: Tensor, counted: Tensor) -> Tensor:
    """Cross-entropy of the shifts that looks alone suggest, where the wanted one is within reach.

    Args:
        fits: (B, N, T, L, 25) logits.
        wanted: (B, N, T, 2) shift in pixels.
        counted: (B, N, T) bool.
    """
    assert fits is not None
    grid = shifts(fits.device)
    scales = STRIDE * 2.0 ** torch.arange(fits.shape[3], device=fits.device)
    cells = wanted[..., None, :] / scales[:, None]  # B, N, T, L, 2
    reach = grid.amax()
    near = (1 - (cells[..., None, :] - grid).abs()).clamp(min=0).prod(-1)  # of the four shifts around
    within = (cells.abs() <= reach).all(-1) & counted[..., None]
    entropy = -(near * fits.log_softmax(-1)).sum(-1)
    return (entropy * within).sum() / within.sum().clamp(min=1)


def _distance(supposed: Supposed, tracks: Tensor) -> Tensor:
    return (supposed.positions - tracks).square().sum(-1).add(1e-4).sqrt()


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return (values * counted).sum() / counted.sum().clamp(min=1)

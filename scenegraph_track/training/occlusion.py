"""The stage that teaches `OccuSolver`, on top of a point tracker that stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from scenegraph_track.occlusion.embedded import point_network
from scenegraph_track.occlusion.occu_solver import ObjectsSeen, OccuSolver, OccuSolverSettings
from scenegraph_track.occlusion.point_features import describe, pyramid
from scenegraph_track.occlusion.point_net import PointNet, PointNetSettings, Supposed
from scenegraph_track.occlusion.point_window import begin
from scenegraph_track.occlusion.sight import Sight
from scenegraph_track.occlusion.templates import grey, templates_of
from scenegraph_track.training.batches import endless_batches
from scenegraph_track.training.occlusion_data import OcclusionData, draw_objects
from scenegraph_track.training.point_data import PointClipSettings, point_clips
from scenegraph_track.training.stage import Stage

if TYPE_CHECKING:
    from scenegraph_track.evaluation.object_visibility import VisibilityClip


class OcclusionLoss(BaseModel):
    """What counts as an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    point: float = Field(0.5, ge=0, description="weight of points seen or not")
    member: float = Field(0.5, ge=0, description="weight of points on their object or not")
    fraction: float = Field(2.0, ge=0, description="weight of the visible part: its error and its cross-entropy")


class OcclusionStage(Stage):
    """OccuSolver by the points and visible parts of rendered objects, or by what optical flow tells without labels."""

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        clips: PointClipSettings = PointClipSettings()
        data: OcclusionData = OcclusionData()
        points: str = Field("embedded", description="weights of the point tracker: embedded, untrained or a file")
        occu_solver: OccuSolverSettings = OccuSolverSettings()
        loss: OcclusionLoss = OcclusionLoss()

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.points = given_points(settings.points)
        own = self.points.settings
        self.solver = OccuSolver(own.dim, own.window, settings.occu_solver)

    def modules(self) -> dict[str, nn.Module]:
        """The solver by its name in the weights."""
        return {"occlusion": self.solver}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        data = self.settings.data
        clips = point_clips(self.settings.clips, self.dry_run, rank, world_size)
        make = partial(draw_objects, clips=clips, data=data)
        return endless_batches(make, self.seed, world_size, data.workers, rank, world_size, start)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over the windows of a sample of the weighted errors."""
        self.points.to(self.device)
        queries, seen, member = batch["queries"][0], batch["seen"][0].float(), batch["member"][0].float()
        parts = []
        places = batch["queries"][0, ..., 1:]
        for first, found, known in self.followed(batch):
            inside = slice(first, first + known.shape[2])
            counted = known & (torch.arange(known.shape[2], device=known.device) + first > queries[:, :, :1].long())
            if not counted.any():
                continue
            told = batch["told"].expand(len(known))
            objects = self.solver(found, known, known.any(2), places, batch["priors"][0], told)
            parts.append(self._error(objects, counted, seen[:, :, inside], member, batch["fraction"][0][:, inside]))
        total = torch.stack([error for error, _ in parts]).mean()
        return total, {name: torch.stack([shown[name] for _, shown in parts]).mean() for name in parts[0][1]}

    @torch.no_grad()
    def followed(self, batch: Any) -> Iterator[tuple[int, list[Supposed], Tensor]]:
        """The points of a sample in its windows.

        Returns:
            Of each window its first frame; what the point network supposes after each iteration (O, P, T); and which
            points are known (O, P, T).
        """
        queries = batch["queries"][0]
        objects, points = queries.shape[:2]
        images = batch["images"][0]
        frames = len(images)
        window, stride = self.points.settings.window, self.points.settings.stride
        flat = queries.flatten(0, 1)
        start, positions = flat[None, :, 0].long(), flat[None, :, 1:]
        features = self.points.features(images.float() / 255)
        looks = describe(pyramid(features), start[0], positions[0])[None]
        greys = grey(images)[None]
        templates = templates_of(greys, start, positions)
        before = None
        for stop in range(stride, frames + 1, stride):
            first = max(stop - window, 0)
            sight = Sight(batch["flows"][:, first : stop - 1], greys[:, first:stop], templates)
            supposed, known, given = begin(positions, start - first, stop - first, sight, before)
            found = self.points(pyramid(features[first:stop]), supposed, looks, known, given, sight)
            follows = max(stop + stride - window, 0)
            before = Supposed(*(part[:, :, follows - first :] for part in found[-1][:3]))
            known = known[0].view(objects, points, -1)
            if not known.any():
                continue
            grouped = [grouped_by_object(one, objects) for one in found]
            yield first, grouped, known

    def _error(
        self, found: ObjectsSeen, counted: Tensor, seen: Tensor, member: Tensor, fraction: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weights, own = self.settings.loss, counted * member[..., None]
        point = binary_cross_entropy_with_logits(found.point_logits, seen, reduction="none")
        point = (point * own).sum() / own.sum().clamp(min=1)
        rows = counted.any(2)
        belongs = binary_cross_entropy_with_logits(found.member_logits, member, reduction="none")
        belongs = (belongs * rows).sum() / rows.sum().clamp(min=1)
        there = counted.any(1)
        error = ((found.fraction - fraction).abs() * there).sum() / there.sum().clamp(min=1)
        entropy = binary_cross_entropy(found.fraction.clamp(1e-4, 1 - 1e-4), fraction, reduction="none")
        entropy = (entropy * there).sum() / there.sum().clamp(min=1)
        total = weights.point * point + weights.member * belongs + weights.fraction * (error + 0.3 * entropy)
        with torch.no_grad():
            right = (((found.member_logits > 0) == (member > 0.5)) * rows).sum() / rows.sum().clamp(min=1)
        return total, {"point": point.detach(), "member": right, "fraction": error.detach()}

    def validate(self) -> dict[str, float]:
        """Figures of held-out worlds, as ``eval occlusion`` has them."""
        from scenegraph_track.evaluation.object_visibility import SOLVER, visibility_figures, visibility_methods

        method = visibility_methods(self.points, self.solver)[SOLVER]
        return visibility_figures((clip, method(clip)) for clip in self._held_out)

    @cached_property
    def _held_out(self) -> list[VisibilityClip]:
        from scenegraph_track.evaluation.object_visibility import held_out_visibility

        return held_out_visibility(1 if self.dry_run else self.settings.data.validation_clips, (128, 128))


def grouped_by_object(supposed: Supposed, objects: int) -> Supposed:
    """The points of one clip (1, O * P, T) as (O, P, T)."""
    return Supposed(*(None if part is None else part[0].unflatten(0, (objects, -1)) for part in supposed))


def given_points(name: str) -> PointNet:
    """A point network by ``embedded``, ``untrained`` or the path of its weights; not to be trained."""
    if name == "untrained":
        return PointNet(PointNetSettings()).eval().requires_grad_(False)
    return point_network(None if name == "embedded" else name)

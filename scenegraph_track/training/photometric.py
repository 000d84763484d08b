"""The stage that teaches depth and camera motion by looking at one image from another (Godard et al., 2019).

Networks that begin together can settle where nothing is explained: a depth without shape, or a camera that stands
still.  The regime ``cure`` teaches them one after the other: motion on a plane of constant depth, depth with the motion
frozen, then both.  A network that a phase freezes gets no gradient, so that the optimiser leaves it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from geometry.camera import rigid_flow, warp
from geometry.depth_net import DepthNet
from geometry.losses import ALPHA, SMOOTHNESS, auto_mask, minimum_over_sources, photometric_error, smoothness
from geometry.pose_net import PoseNet
from scenegraph_track.evaluation.geometry import depth_figures, rotation_angle
from scenegraph_track.training.batches import endless_batches
from scenegraph_track.training.collapse import CollapseLimits, CollapseWatch, collapse_signs
from scenegraph_track.training.depth import DepthNetSettings
from scenegraph_track.training.pose import PoseNetSettings
from scenegraph_track.training.stage import Stage
from scenegraph_track.training.weights import load_weights
from scenegraph_track.training.windows import WindowData, draw_window, held_window, mirrored

MOVES = 0.01
"""True translation over the median depth from which its direction counts in the validation."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PhotometricLoss(_Section):
    """What counts as an error."""

    alpha: float = Field(ALPHA, ge=0, le=1, description="share of the SSIM distance; the rest is absolute difference")
    smoothness: float = Field(SMOOTHNESS, ge=0, description="at full resolution; halved with every scale")
    scales: int = Field(3, ge=1, le=4, description="of the disparity, each judged at full resolution")
    auto_mask: bool = Field(True, description="leave out what an unwarped image explains better")
    motion_scale: float | None = Field(
        None, gt=0, description="pixels of classical flow beyond the rigid one that halve a weight; None: all count"
    )
    flow: float = Field(0.0, ge=0, description="weight of a pixel between rigid and classical flow")


class Phases(_Section):
    """Steps of the regime ``cure``; both networks learn in all that follow.

    The loop's cosine has fallen to a tenth of the top rate at 80 % of the steps, where both should begin.
    """

    pose: int = Field(750, ge=0, description="of the motion alone, on a plane")
    depth: int = Field(450, ge=0, description="of the depth alone")


class Start(_Section):
    """Weights to begin with: files with the modules ``depth`` and ``pose``; None: fresh ones."""

    depth: str | None = None
    pose: str | None = None


@dataclass(frozen=True)
class Phase:
    """What happens at a step.

    Args:
        depth: Whether the depth network learns.
        pose: Whether the pose network learns; alone, it does so on a plane.
        loss: The photometric loss.
        depth_steps: Steps that the depth network has learned for.
        pose_steps: Steps that the pose network has learned for.
    """

    depth: bool
    pose: bool
    loss: PhotometricLoss
    depth_steps: int
    pose_steps: int


class PhotometricStage(Stage):
    """Depth and motion from three frames: the other two explain the middle one."""

    class Settings(_Section):
        """Sections of the recipe."""

        regime: Literal["ssim_l1_joint", "l1_joint", "cure"] = "cure"
        pose_teacher: Literal["classical", "photometric"] = Field(
            "classical", description="what teaches the motion in the first phase of the cure"
        )
        start: Start = Start()
        phases: Phases = Phases()
        data: WindowData = WindowData()
        loss: PhotometricLoss = PhotometricLoss()
        collapse: CollapseLimits = CollapseLimits()
        depth_net: DepthNetSettings = DepthNetSettings(completes=False)
        pose_net: PoseNetSettings = PoseNetSettings(flow=False, images=True)

    unused_weights = True

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.depth = DepthNet(**settings.depth_net.model_dump())
        self.pose = PoseNet(**settings.pose_net.model_dump())
        for name, path in settings.start.model_dump().items():
            if path is not None:
                load_weights(getattr(self, name), path, name)
        self.watch = CollapseWatch(settings.collapse)
        self._step = 0

    def modules(self) -> dict[str, nn.Module]:
        """The depth and the pose network."""
        return {"depth": self.depth, "pose": self.pose}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """Windows as `draw_window` gives them."""
        data = self.settings.data
        make = partial(draw_window, data=data)
        return endless_batches(make, self.seed, data.windows, data.workers, rank, world_size, start)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the step's phase, and what `collapse_signs` says."""
        self._step = step + 1
        phase = phase_of(self.settings, step)
        batch = batch if phase.depth else any_way_up(batch)
        images, intrinsics, flow, trusted = (batch[name] for name in ("images", "intrinsics", "flow", "trusted"))
        with _gradient(phase.depth):
            disparities = self.depth(images[:, 0], intrinsics) if phase.depth else [self._plane(images)]
        with torch.autocast(images.device.type, enabled=False):
            disparities = [disparity.float() for disparity in disparities[: phase.loss.scales]]
            with _gradient(phase.pose):
                motions = self.motions(batch)
            depth = 1 / disparities[0]
            rigid = flow_of_camera(depth, motions, intrinsics)
            weight = None
            if phase.depth and phase.loss.motion_scale is not None:
                weight = weight_of_still(flow, trusted, rigid.detach(), phase.loss.motion_scale)
            taught = not phase.depth and self.settings.pose_teacher == "classical"
            with _gradient(not taught):
                total, error = window_loss(disparities, motions, images, intrinsics, phase.loss, weight)
            if taught:
                total = motion_distance(motions, batch["motion"], batch["sure"], intrinsics, depth.mean())
            elif phase.loss.flow:
                total = total + phase.loss.flow * flow_distance(flow, trusted, rigid, weight)
            return total, {"photometric": error, **collapse_signs(depth, motions, rigid, flow, trusted)}

    def motions(self, batch: dict[str, Tensor]) -> Tensor:
        """What the pose network says: source_from_middle (B, 2, 4, 4)."""
        images = batch["images"]
        count = images.shape[1] - 1
        pairs = torch.stack([images[:, :1].expand_as(images[:, 1:]), images[:, 1:]], 2).flatten(0, 1)
        flow = torch.cat([batch["flow"], batch["trusted"].float()], 2).flatten(0, 1)[:, None]
        found = self.pose(pairs, _each(batch["intrinsics"], count), flow if self.pose.flow else None)
        return found.view(-1, count, 4, 4)

    def _plane(self, images: Tensor) -> Tensor:
        """Disparity of a constant depth, that of a fresh depth network."""
        nearest, farthest = self.depth.min_depth, self.depth.max_depth
        return torch.full_like(images[:, 0, :1], 1 / math.sqrt(nearest * farthest))

    def validate(self) -> dict[str, float]:
        """Errors of depth and motion on held-out worlds; ``identity`` is the photometric error without any motion."""
        rows, turns = [], []
        for number in range(1 if self.dry_run else self.settings.data.validation_windows):
            window = held_window(self.settings.data, "val", number)
            batch = {name: value[None].to(self.device) for name, value in window.items()}
            images, intrinsics = batch["images"], batch["intrinsics"]
            depth = self.depth.depth(images[:, 0], intrinsics).float()
            with torch.autocast(images.device.type, enabled=False):
                motions = self.motions(batch)
                rigid = flow_of_camera(depth, motions, intrinsics)
                _, error = window_loss([1 / depth], motions, images, intrinsics, PhotometricLoss(auto_mask=False))
                found = collapse_signs(depth, motions, rigid, batch["flow"], batch["trusted"])
            found["photometric"] = error
            found["identity"] = minimum_over_sources(unwarped_errors(images, ALPHA).unbind(1)).mean()
            abs_rel = depth_figures(depth[0, 0].cpu(), window["depth"][0]).abs_rel
            rows.append({"abs_rel": abs_rel, **{name: float(value) for name, value in found.items()}})
            turns.append(motion_errors(motions[0].cpu().double().numpy(), window))
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        error, true, direction = (np.concatenate(values) for values in zip(*turns))
        return {
            **means,
            "rotation": float(np.median(error)),
            "rotation_ratio": float(np.median(error) / max(np.median(true), 1e-6)),
            "direction": float(np.median(direction)) if len(direction) else 90.0,
        }

    def collapse(self, metrics: dict[str, float]) -> str | None:
        """See `CollapseWatch`."""
        found = watch_entry(self.watch, self.settings, self._step, metrics)
        return found if self.settings.collapse.on_collapse == "stop" else None


def watch_entry(
    watch: CollapseWatch, settings: PhotometricStage.Settings, step: int, metrics: dict[str, float]
) -> str | None:
    """Show an entry of the log of this stage to a watch; entries of validations are passed over."""
    if "depth_variation" not in metrics:
        return None
    phase = phase_of(settings, step - 1)
    depth_steps = phase.depth_steps if phase.depth else 0
    return watch.see(step, metrics, depth_steps, phase.pose_steps)


def phase_of(settings: PhotometricStage.Settings, step: int) -> Phase:
    """What the regime does at a step (0-based)."""
    if settings.regime != "cure":
        loss = settings.loss if settings.regime == "ssim_l1_joint" else settings.loss.model_copy(update={"alpha": 0.0})
        return Phase(True, True, loss, step + 1, step + 1)
    pose, depth = settings.phases.pose, settings.phases.depth
    plain = settings.loss.model_copy(update={"auto_mask": False})
    if step < pose:
        return Phase(False, True, plain.model_copy(update={"alpha": 0.0}), 0, step + 1)
    if step < pose + depth:
        return Phase(True, False, plain, step + 1 - pose, pose)
    return Phase(True, True, settings.loss, step + 1 - pose, step + 1 - depth)


def any_way_up(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every window in one of the eight mirrors and quarter turns of a square, drawn by torch's generator."""
    windows = []
    for number in range(len(batch["images"])):
        along, across, swap = torch.randint(2, (3,)).tolist()
        axes = torch.diag(torch.tensor([1.0 - 2 * along, 1.0 - 2 * across, 1.0]))
        axes = axes[[1, 0, 2]] if swap else axes
        window = {name: value[number : number + 1] for name, value in batch.items()}
        windows.append(mirrored(window, axes.to(batch["images"].device)))
    return {name: torch.cat([window[name] for window in windows]) for name in batch}


def _gradient(wanted: bool) -> AbstractContextManager:
    return nullcontext() if wanted else torch.no_grad()


def _each(values: Tensor, count: int) -> Tensor:
    """Repeat every sample for its sources: (B, ...) to (B S, ...)."""
    return values.repeat_interleave(count, 0)


def flow_of_camera(depth: Tensor, motions: Tensor, intrinsics: Tensor) -> Tensor:
    """Rigid flow (B, S, 2, H, W) of depth (B, 1, H, W) and motions (B, S, 4, 4)."""
    count = motions.shape[1]
    flow = rigid_flow(_each(depth, count), motions.flatten(0, 1), _each(intrinsics, count))
    return flow.view(-1, count, *flow.shape[1:])


def unwarped_errors(images: Tensor, alpha: float) -> Tensor:
    """Photometric errors (B, S, 1, H, W) of the sources as they are; arguments as in `window_loss`."""
    count = images.shape[1] - 1
    error = photometric_error(_each(images[:, 0], count), images[:, 1:].flatten(0, 1), alpha)
    return error.view(-1, count, *error.shape[1:])


def warped_errors(
    depth: Tensor, motions: Tensor, images: Tensor, intrinsics: Tensor, alpha: float, unwarped: Tensor
) -> Tensor:
    """The same of the sources as the target's camera would see them.

    What leaves a source's image has the error of ``unwarped``: nothing is gained by turning the camera away.
    """
    count = motions.shape[1]
    each, sources = _each(intrinsics, count), images[:, 1:].flatten(0, 1)
    seen, valid = warp(sources, _each(depth, count), motions.flatten(0, 1), each)
    error = photometric_error(_each(images[:, 0], count), seen, alpha)
    return torch.where(valid.view_as(unwarped), error.view_as(unwarped), unwarped)


def window_loss(
    disparities: Sequence[Tensor],
    motions: Tensor,
    images: Tensor,
    intrinsics: Tensor,
    settings: PhotometricLoss,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """How badly the sources explain the target (Godard et al., 2019, section 3).

    Args:
        disparities: (B, 1, H, W), then at 1/2, 1/4, ... of a resolution that may be padded at right and bottom.
        motions: ``source_from_target`` (B, S, 4, 4), in the unit of the depth.
        images: (B, 1 + S, 3, H, W) in [0, 1], the target first.
        intrinsics: (B, 3, 3).
        settings: See `PhotometricLoss`.
        weight: Of pixels, (B, 1, H, W), or None.

    Returns:
        The mean over scales, and the mean photometric error of the finest one, without masks and weights.
    """
    target = images[:, 0]
    height, width = target.shape[-2:]
    unwarped = unwarped_errors(images, settings.alpha)
    total, first = images.new_zeros(()), images.new_zeros(())
    for scale, disparity in enumerate(disparities):
        factor = 2**scale
        fine = disparity
        if scale:
            fine = interpolate(disparity, scale_factor=factor, mode="bilinear", align_corners=False)
        depth = 1 / fine[..., :height, :width]
        errors = warped_errors(depth, motions, images, intrinsics, settings.alpha, unwarped)
        error = minimum_over_sources(errors.unbind(1))
        if scale == 0:
            first = error.mean()
        if settings.auto_mask:
            mask = auto_mask(error, unwarped.unbind(1))
            error = torch.where(mask, error, minimum_over_sources(unwarped.unbind(1)))
        total = total + (error.mean() if weight is None else (error * weight).sum() / weight.sum().clamp(min=1e-6))
        if settings.smoothness:
            small = avg_pool2d(target, factor, ceil_mode=True)
            inner = disparity[..., : small.shape[-2], : small.shape[-1]]
            total = total + settings.smoothness / factor * smoothness(inner, small)
    return total / len(disparities), first


def weight_of_still(flow: Tensor, trusted: Tensor, rigid: Tensor, scale: float) -> Tensor:
    """Little where an object moves by itself: ``1 / (1 + (|flow - rigid| / scale)^2)``, the least over the sources.

    The idea that what the camera does not explain must not bend the depth is that of Dynamo-Depth (Sun and Hariharan,
    2023), here with classical flow.

    Args:
        flow: Optical flow (B, S, 2, H, W) to the sources.
        trusted: (B, S, 1, H, W) bool; the other pixels count fully.
        rigid: As ``flow``, of depth and motion.
        scale: Pixels that halve the weight.

    Returns:
        (B, 1, H, W).
    """
    squared = ((flow - rigid) ** 2).sum(2, keepdim=True) / scale**2
    return torch.where(trusted, 1 / (1 + squared), 1.0).amin(1)


def flow_distance(flow: Tensor, trusted: Tensor, rigid: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean distance in pixels of two flows over trusted pixels; arguments as in `weight_of_still` and its result."""
    share = trusted.to(flow) if weight is None else trusted * weight[:, None]
    distance = (((flow - rigid) ** 2).sum(2, keepdim=True) + 1e-6).sqrt()
    return (distance * share).sum() / share.sum().clamp(min=1e-6)


def motion_distance(motions: Tensor, teacher: Tensor, sure: Tensor, intrinsics: Tensor, depth: Tensor) -> Tensor:
    """How far motions are from a teacher's, in pixels by which they move the image at a depth.

    Args:
        motions: (B, S, 4, 4).
        teacher: The same, with translations in units of ``depth``.
        sure: Weights (B, S).
        intrinsics: (B, 3, 3).
        depth: A scalar.
    """
    turn = (motions[..., :3, :3] - teacher[..., :3, :3]).flatten(2)
    shift = motions[..., :3, 3] / depth - teacher[..., :3, 3]
    distance = sum((part.square().sum(-1) + 1e-8).sqrt() for part in (turn / math.sqrt(2), shift))
    pixels = intrinsics[:, 0, 0, None] * distance
    return (pixels * sure).sum() / sure.sum().clamp(min=1e-6)


def motion_errors(motions: np.ndarray, window: dict[str, Tensor]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of motions (S, 4, 4) in a window with the truth.

    Returns:
        Errors of the rotation and true rotations (S,), degrees, and the angles between true and found translations
        where the true one is not small, degrees (90 where none is found).
    """
    truth = window["truth"].double().numpy()
    turn = rotation_angle(np.swapaxes(motions[:, :3, :3], 1, 2) @ truth[:, :3, :3])
    found, true = motions[:, :3, 3], truth[:, :3, 3]
    lengths = np.linalg.norm(true, axis=1)
    moves = lengths > MOVES * float(window["depth"].median())
    product = (found * true).sum(1) / np.maximum(np.linalg.norm(found, axis=1) * lengths, 1e-9)
    angles = np.degrees(np.arccos(np.clip(product, -1, 1)))
    return turn, rotation_angle(truth[:, :3, :3]), angles[moves]

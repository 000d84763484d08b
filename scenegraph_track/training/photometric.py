"""The stage that teaches depth and camera motion by looking at one image from another (Godard et al., 2019).

A network that a phase freezes (see `phases`) gets no gradient, so that the optimiser leaves it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geometry.depth_net import DepthNet
from geometry.losses import ALPHA, minimum_over_sources
from geometry.pose_net import PoseNet
from scenegraph_track.evaluation.geometry import depth_figures, rotation_angle
from scenegraph_track.training.batches import endless_batches
from scenegraph_track.training.collapse import CollapseWatch, collapse_signs
from scenegraph_track.training.phases import phase_of
from scenegraph_track.training.photometric_losses import (
    flow_distance,
    flow_of_camera,
    motion_distance,
    unwarped_errors,
    weight_of_still,
    window_loss,
)
from scenegraph_track.training.photometric_settings import PhotometricLoss, PhotometricSettings
from scenegraph_track.training.stage import Stage
from scenegraph_track.training.weights import load_weights
from scenegraph_track.training.windows import draw_window, held_window, mirrored

MOVES = 0.01
"""True translation over the median depth from which its direction counts in the validation."""


class PhotometricStage(Stage):
    """Depth and motion from three frames: the other two explain the middle one."""

    Settings = PhotometricSettings
    unused_weights = True

    def __init__(self, settings: PhotometricSettings, seed: int) -> None:
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
        found = self.pose(pairs, batch["intrinsics"].repeat_interleave(count, 0), flow if self.pose.flow else None)
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

    def state(self) -> dict[str, Any]:
        """What the watch has seen."""
        return {"watch": self.watch.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """See `Stage.load_state`."""
        if "watch" in state:
            self.watch.load_state(state["watch"])

    def collapse(self, metrics: dict[str, float]) -> str | None:
        """See `CollapseWatch`."""
        found = watch_entry(self.watch, self.settings, self._step, metrics)
        return found if self.settings.collapse.on_collapse == "stop" else None


def watch_entry(
    watch: CollapseWatch, settings: PhotometricSettings, step: int, metrics: dict[str, float]
) -> str | None:
    """Show an entry of the log of this stage to a watch; entries of validations are passed over."""
    if "depth_variation" not in metrics:
        return None
    phase = phase_of(settings, step - 1)
    depth_steps = phase.depth_steps if phase.depth else 0
    return watch.see(step, metrics, depth_steps, phase.pose_steps)


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

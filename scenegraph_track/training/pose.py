"""The stage that teaches `PoseNet` the camera motion that several frames agree on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from geometry import optical_flow
from geometry.pose import axis_angle_from_rotation
from geometry.pose_net import PoseNet
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.evaluation.geometry import rotation_angle
from scenegraph_track.training.batches import Item, endless_batches
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.flow import colour_pair
from scenegraph_track.training.labels import LabelSettings, estimator, labels_of
from scenegraph_track.training.stage import Stage

LEAST_TRUSTED = 0.1
"""Scenes with a smaller share of trusted flow are left out: their motion was hardly seen."""


class PoseNetSettings(BaseModel):
    """Arguments of `PoseNet`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: list[int] = Field([16, 32, 64, 96, 128], description="of the convolutions, each halves the resolution")
    flow: bool = Field(True, description="whether optical flow is looked at")
    images: bool = Field(False, description="whether the images are")

    @model_validator(mode="after")
    def _something(self) -> PoseNetSettings:
        if not (self.flow or self.images):
            raise ValueError("expected flow, images or both to be looked at")
        return self


class PoseData(BaseModel):
    """How labels become samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(32, ge=1, description="pairs in a batch")
    colour: float = Field(0.3, ge=0, description="strength of the random changes of brightness and colour")
    noise: float = Field(0.02, ge=0, description="largest deviation of the noise added to an image")
    workers: int = Field(1, ge=0, description="processes that prepare batches")
    validation_clips: int = Field(40, ge=1, description="held-out worlds")


class PoseLoss(BaseModel):
    """What counts as an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation: float = Field(1.0, ge=0, description="weight of the error of the rotation over its size")
    translation: float = Field(0.5, ge=0, description="weight of the error of the translation over its size")
    direction: float = Field(
        0.5, ge=0, description="weight of the angle between the directions of translation, radians"
    )
    floor: float = Field(0.002, gt=0, description="size (radians; share of the median depth) added to the divisors")


class PoseStage(Stage):
    """Relative errors of rotation and translation against the fitted motions of several frames."""

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        labels: LabelSettings = LabelSettings()
        data: PoseData = PoseData()
        pose_net: PoseNetSettings = PoseNetSettings()
        loss: PoseLoss = PoseLoss()

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.net = PoseNet(**settings.pose_net.model_dump())
        self._held_out: list[tuple[Tensor, Tensor, Tensor, np.ndarray]] = []

    def modules(self) -> dict[str, nn.Module]:
        """The network by its name in the weights."""
        return {"pose": self.net}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        data = self.settings.data
        make = Pairs(labels_of(self.settings.labels, self.dry_run, rank, world_size), data)
        return endless_batches(make, self.seed, data.batch, data.workers, rank, world_size, start)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Relative errors of rotation and translation, and the angle between directions."""
        weights = self.settings.loss
        found = self.net(batch["images"], batch["intrinsics"], batch["flow"])[:, 0]
        truth, translates = batch["motion"], batch["translates"].flatten()
        turn = axis_angle_from_rotation(truth[:, :3, :3].transpose(1, 2) @ found[:, :3, :3]).norm(dim=-1)
        size = axis_angle_from_rotation(truth[:, :3, :3]).norm(dim=-1)
        shift, goal = found[:, :3, 3], truth[:, :3, 3]
        rotation = turn / (size + weights.floor)
        translation = (shift - goal).norm(dim=-1) / (goal.norm(dim=-1) + weights.floor)
        crossed = torch.linalg.cross(shift, goal).norm(dim=-1)
        direction = torch.atan2(crossed + 1e-9, (shift * goal).sum(-1))
        counts = translates / translates.sum().clamp(min=1)
        rotation = rotation.clamp(max=3).mean()
        translation, direction = (translation.clamp(max=3) * counts).sum(), (direction * counts).sum()
        total = weights.rotation * rotation + weights.translation * translation + weights.direction * direction
        return total, {"rotation": rotation, "translation": translation, "direction": direction}

    def validate(self) -> dict[str, float]:
        """Median rotation ratio and angle between directions on held-out worlds."""
        if not self._held_out:
            clips = 1 if self.dry_run else self.settings.data.validation_clips
            self._held_out = [_held_out(seed, self.settings.labels) for seed in range(clips)]
        turns, directions = [], []
        for images, intrinsics, flow, truth in self._held_out:
            inputs = (part[None].to(self.device) for part in (images, intrinsics, flow))
            found = self.net(*inputs)[0, 0].double().cpu().numpy()
            angle = rotation_angle(truth[:3, :3])
            if angle > 0.02:
                turns.append(rotation_angle(found[:3, :3].T @ truth[:3, :3]) / angle)
            length = np.linalg.norm(truth[:3, 3])
            if length > 1e-4:
                cosine = found[:3, 3] @ truth[:3, 3] / length / max(np.linalg.norm(found[:3, 3]), 1e-12)
                directions.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        return {"rotation_ratio": _median(turns), "translation_deg": _median(directions)}

    def collapse(self, metrics: dict[str, float]) -> str | None:
        """See `Stage.collapse`."""
        if metrics.get("val/rotation_ratio", 0.0) > 3:
            return "the rotations are worse than none"
        return None


def _median(values: list) -> float:
    return float(np.median(values)) if values else float("nan")


def _held_out(seed: int, labels: LabelSettings) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
    """Images (2, 3, H, W), intrinsics, flow (1, 3, H, W) and true motion of two held-out neighbouring frames."""
    clip = render(sample_scene("standard", "val", seed=seed, size=(labels.size, labels.size)))
    middle = len(clip) // 2
    frames = clip.frames[middle], clip.frames[middle + 1]
    a, b = (torch.from_numpy(frame.image).permute(2, 0, 1).contiguous() for frame in frames)
    found = optical_flow(a, b, estimator(labels.flow))
    truth = np.linalg.inv(frames[1].world_from_camera) @ frames[0].world_from_camera
    intrinsics = torch.from_numpy(clip.scene.camera.intrinsics).float()
    return torch.stack([a, b]).float() / 255, intrinsics, torch.cat([found.flow, found.consistent[None]])[None], truth


class Pairs:
    """Draws samples for `endless_batches` from labels.

    Args:
        labels: Labelled scenes.
        data: How they are varied.
    """

    def __init__(self, labels: Chunks[LabelSettings], data: PoseData) -> None:
        self.labels, self.data = labels, data
        seen = labels.arrays["trusted"].mean((1, 2))
        self.scenes = np.flatnonzero(seen >= LEAST_TRUSTED) if (seen >= LEAST_TRUSTED).any() else np.arange(len(labels))

    def __call__(self, rng: np.random.Generator) -> Item:
        """``images`` (1, 2, 3, H, W), ``intrinsics`` (1, 3, 3), ``flow`` (1, 1, 3, H, W), ``motion`` (1, 4, 4) and
        ``translates`` (1, 1) as a number; mirrored at random."""
        row = next(self.labels.rows([rng.choice(self.scenes)]))
        pixels = (row[name].transpose(1, 2, 0) for name in ("image", "other"))
        images = np.stack(colour_pair(rng, *pixels, self.data.colour, self.data.noise))
        flow = np.concatenate([row["flow"].astype(np.float32), row["trusted"][None].astype(np.float32)])
        k, motion = row["intrinsics"].astype(np.float64), row["motion"].astype(np.float64)
        height, width = flow.shape[1:]
        if rng.random() < 0.5:
            images, flow = images[..., ::-1], flow[..., ::-1] * np.array([-1, 1, 1], np.float32)[:, None, None]
            k, motion = mirrored(k, motion, 0, width)
        if rng.random() < 0.5:
            images, flow = images[..., ::-1, :], flow[:, ::-1] * np.array([1, -1, 1], np.float32)[:, None, None]
            k, motion = mirrored(k, motion, 1, height)
        arrays = {"images": images, "intrinsics": k, "flow": flow[None], "motion": motion}
        arrays["translates"] = np.array(float(row["translates"]))
        return {name: torch.from_numpy(np.ascontiguousarray(value, np.float32))[None] for name, value in arrays.items()}


def mirrored(k: np.ndarray, motion: np.ndarray, axis: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics and motion (4, 4) of a scene seen in a mirror.

    Args:
        k: (3, 3).
        motion: ``target_from_source``.
        axis: 0: left and right change places; 1: up and down.
        length: Pixels of the image along that axis.
    """
    flip = np.eye(4)
    flip[axis, axis] = -1
    k = k.copy()
    k[axis, 2] = length - k[axis, 2]
    return k, flip @ motion @ flip

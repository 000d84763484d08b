"""The stage that teaches `DepthNet` by triangulated depth, with and without a part of that depth given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import interpolate

from geometry.completion import complete_depth
from geometry.depth_net import DepthNet
from geometry.embedded import LearnedDepth
from geometry.losses import smoothness
from geometry.triangulation import VideoDepth, video_depth
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.evaluation.geometry import DepthFigures, depth_figures, mean_figures
from scenegraph_track.training.batches import Item, endless_batches
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.flow import colour_pair
from scenegraph_track.training.labels import LabelSettings, estimator, labels_of
from scenegraph_track.training.stage import Stage


class DepthNetSettings(BaseModel):
    """Arguments of `DepthNet`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: list[int] = Field([16, 32, 48, 64, 96], description="of the small encoder, 1/2 to 1/32 of the resolution")
    decoder: list[int] = Field([16, 24, 48, 64], description="of the decoder, 1/2 to 1/16")
    min_depth: float = Field(0.1, gt=0, description="bound of the depth, in the network's own scale")
    max_depth: float = Field(100.0, gt=0, description="the other bound")
    backbone: str | None = Field(None, description="a timm network in place of the small encoder")
    pretrained: bool = Field(False, description="fetch its weights")
    backbone_options: dict[str, Any] | None = None
    completes: bool = Field(True, description="whether depth that is known in part can be given")


class DepthData(BaseModel):
    """How labels become samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(16, ge=1, description="images in a batch")
    zoom: float = Field(1.5, ge=1, description="images are cut to a part and enlarged by at most this")
    colour: float = Field(0.3, ge=0, description="strength of the random changes of brightness and colour")
    noise: float = Field(0.02, ge=0, description="largest deviation of the noise added to an image")
    complete: float = Field(0.5, ge=0, le=1, description="share of the samples that are given a part of their depth")
    least: float = Field(0.1, ge=0, description="confidence under which a label does not count")
    coverage: float = Field(0.1, ge=0, le=1, description="share of sure pixels under which a scene is left out")
    workers: int = Field(1, ge=0, description="processes that prepare batches")
    validation_clips: int = Field(24, ge=1, description="held-out worlds")


class DepthLoss(BaseModel):
    """What counts as an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    levels: list[float] = Field([1.0, 0.5, 0.25, 0.12], description="weights, full resolution to 1/8")
    gradient: float = Field(0.5, ge=0, description="weight of the differences between near pixels")
    smoothness: float = Field(1e-3, ge=0, description="weight of the edge-aware smoothness; divided by 2 a level")


class DepthStage(Stage):
    """The mean absolute error of log depth, free of scale, weighted by the labels' confidence."""

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        labels: LabelSettings = LabelSettings()
        data: DepthData = DepthData()
        depth_net: DepthNetSettings = DepthNetSettings()
        loss: DepthLoss = DepthLoss()

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.net = DepthNet(**settings.depth_net.model_dump())
        self._held_out: list[tuple[Tensor, Tensor, VideoDepth, np.ndarray]] = []

    def modules(self) -> dict[str, nn.Module]:
        """The network by its name in the weights."""
        return {"depth": self.net}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        data = self.settings.data
        labels = labels_of(self.settings.labels, self.dry_run, rank, world_size)
        make = Samples(labels, data, self.settings.depth_net.completes)
        return endless_batches(make, self.seed, data.batch, data.workers, rank, world_size, start)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Errors of log depth at all scales, smoothness, and the error of samples without known depth."""
        settings = self.settings.loss
        known = batch["known"] if self.settings.depth_net.completes else None
        found = self.net(batch["image"], batch["intrinsics"], known)
        total = found[0].new_zeros(())
        errors = []
        for level, (disparity, weight) in enumerate(zip(found, settings.levels)):
            fine = disparity if level == 0 else _enlarged(disparity, 2**level, batch["image"].shape[-2:])
            error, gradient = log_depth_errors(fine, batch["depth"], batch["confidence"])
            total = total + weight * (error.mean() + settings.gradient * gradient)
            if settings.smoothness:
                total = total + weight * settings.smoothness / 2**level * smoothness(fine, batch["image"])
            errors.append(error.detach())
        alone = ~batch["known"][:, 1].flatten(1).any(1)
        return total, {"log_error": errors[0].mean(), "alone": errors[0][alone].sum() / alone.sum().clamp(min=1)}

    def validate(self) -> dict[str, float]:
        """Median-scaled figures of the network alone and of the video depth that it completes."""
        if not self._held_out:
            clips = 1 if self.dry_run else self.settings.data.validation_clips
            self._held_out = [_held_out(seed, self.settings.labels) for seed in range(clips)]
        network: list[DepthFigures] = []
        video: list[DepthFigures] = []
        learned = LearnedDepth(self.net)
        for image, intrinsics, found, truth in self._held_out:
            image, intrinsics = image.to(self.device), intrinsics.to(self.device)
            alone = learned(image[None].float() / 255, intrinsics[None])[0, 0]
            network.append(depth_figures(alone.cpu().numpy(), truth))
            video.append(depth_figures(complete_depth(found, image, intrinsics, learned).cpu().numpy(), truth))
        mean, joint = mean_figures(network), mean_figures(video)
        return {
            "abs_rel_network": mean.abs_rel,
            "delta1_network": mean.delta1,
            "abs_rel": joint.abs_rel,
            "delta1": joint.delta1,
        }

    def collapse(self, metrics: dict[str, float]) -> str | None:
        """See `Stage.collapse`."""
        if metrics.get("val/delta1_network", 1.0) < 0.02:
            return "the depth of single images agrees with the truth nowhere"
        return None


def _enlarged(disparity: Tensor, factor: int, size: torch.Size) -> Tensor:
    """At full resolution, without what was padded."""
    fine = interpolate(disparity, scale_factor=float(factor), mode="bilinear", align_corners=False)
    return fine[..., : size[0], : size[1]]


def _held_out(seed: int, labels: LabelSettings) -> tuple[Tensor, Tensor, VideoDepth, np.ndarray]:
    """Image, intrinsics, triangulated depth and true depth of a held-out frame."""
    clip = render(sample_scene("standard", "val", seed=seed, size=(labels.size, labels.size)))
    images = [torch.from_numpy(frame.image).permute(2, 0, 1).contiguous() for frame in clip.frames]
    intrinsics = torch.from_numpy(clip.scene.camera.intrinsics).float()
    middle = len(images) // 2
    found = video_depth(images, middle, intrinsics, estimator(labels.flow))
    return images[middle], intrinsics, found, clip.frames[middle].depth


def log_depth_errors(disparity: Tensor, depth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """How far log depth is from labels of unknown scale.

    Args:
        disparity: (B, 1, H, W) of the network.
        depth: (B, 1, H, W) labels, 0 where unknown.
        weight: (B, 1, H, W) of the labels.

    Returns:
        The weighted mean of ``|r - median(r)|`` with ``r = ln(depth) + ln(disparity)`` for each image (B,), and the
        mean of the differences of r between pixels 1, 2, 4 and 8 apart (MegaDepth, Li and Snavely, 2018).
    """
    weight = torch.where(depth > 0, weight, torch.zeros_like(weight))
    difference = disparity.log() + torch.where(depth > 0, depth, torch.ones_like(depth)).log()
    mass = weight.sum((1, 2, 3)).clamp(min=1e-6)
    centred = difference - _weighted_median(difference.detach(), weight)
    error = (weight * centred.abs()).sum((1, 2, 3)) / mass
    gradient = difference.new_zeros(())
    for step in (1, 2, 4, 8):
        for near, far in (
            (difference[..., step:], difference[..., :-step]),
            (difference[..., step:, :], difference[..., :-step, :]),
        ):
            along = near.shape[-1] != difference.shape[-1]
            both = weight[..., step:] * weight[..., :-step] if along else weight[..., step:, :] * weight[..., :-step, :]
            gradient = gradient + (both * (near - far).abs()).sum() / both.sum().clamp(min=1e-6) / 8
    return error, gradient


def _weighted_median(values: Tensor, weight: Tensor) -> Tensor:
    """(B, 1, 1, 1) of (B, 1, H, W)."""
    ordered, order = values.flatten(1).sort(1)
    mass = weight.flatten(1).gather(1, order).cumsum(1)
    place = torch.searchsorted(mass, mass[:, -1:] / 2).clamp(max=ordered.shape[1] - 1)
    return ordered.gather(1, place)[:, :, None, None]


class Samples:
    """Draws samples for `endless_batches` from labels.

    Args:
        labels: Labelled scenes.
        data: How they are varied.
        completes: Whether a part of the depth is given to some.
    """

    def __init__(self, labels: Chunks[LabelSettings], data: DepthData, completes: bool) -> None:
        self.labels, self.data, self.completes = labels, data, completes
        sure = (labels.arrays["confidence"] > 127).mean((1, 2))
        self.scenes = np.flatnonzero(labels.arrays["translates"] & (sure >= data.coverage))
        if not len(self.scenes):
            self.scenes = np.arange(len(labels))

    def __call__(self, rng: np.random.Generator) -> Item:
        """``image`` (1, 3, H, W) in [0, 1], ``intrinsics`` (1, 3, 3), ``depth``, ``confidence`` (1, 1, H, W), ``known``
        (1, 2, H, W)."""
        data = self.data
        row = next(self.labels.rows([rng.choice(self.scenes)]))
        depth, confidence = row["depth"].astype(np.float32), row["confidence"].astype(np.float32) / 255
        confidence = np.where((confidence >= data.least) & (depth > 0), confidence, 0)
        image, depth, confidence, intrinsics = zoom_and_mirror(rng, row, depth, confidence, data.zoom)
        known = np.zeros((2, *depth.shape), np.float32)
        if self.completes and rng.random() < data.complete:
            known = a_part(rng, depth, confidence)
        pixels = colour_pair(rng, image, image, data.colour, data.noise)[0]
        arrays = {"image": pixels, "intrinsics": intrinsics, "depth": depth[None], "confidence": confidence[None]}
        arrays["known"] = known
        return {name: torch.from_numpy(np.ascontiguousarray(value, np.float32))[None] for name, value in arrays.items()}


def zoom_and_mirror(
    rng: np.random.Generator, row: dict[str, np.ndarray], depth: np.ndarray, confidence: np.ndarray, largest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A random part of an image, enlarged to its size and mirrored or not, with the camera that would see this.

    Returns:
        Image (H, W, 3) uint8, depth and confidence (H, W), intrinsics (3, 3).
    """
    image, k = row["image"].transpose(1, 2, 0), row["intrinsics"].astype(np.float64)
    height, width = depth.shape
    zoom = float(np.exp(rng.uniform(0, np.log(largest))))
    high, wide = round(height / zoom), round(width / zoom)
    y, x = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
    window = slice(y, y + high), slice(x, x + wide)
    image = cv2.resize(np.ascontiguousarray(image[window]), (width, height), interpolation=cv2.INTER_LINEAR)
    depth, confidence = (
        cv2.resize(np.ascontiguousarray(m[window]), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        for m in (depth, confidence)
    )
    k = np.diag([width / wide, height / high, 1.0]) @ np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]]) @ k
    if rng.random() < 0.5:
        image, depth, confidence = image[:, ::-1], depth[:, ::-1], confidence[:, ::-1]
        k[0, 2] = width - k[0, 2]
    return image, depth, confidence, k


def a_part(rng: np.random.Generator, depth: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """A part of the depth as triangulation might give it: sure pixels outside of random blobs, with noise.

    Returns:
        (2, H, W) depth, 0 where it is not told, and confidence.
    """
    height, width = depth.shape
    coarse = int(rng.integers(2, 9))
    blobs = cv2.resize(rng.random((coarse, coarse)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    told = (confidence > rng.uniform(0.05, 0.8)) & (blobs > np.quantile(blobs, rng.uniform(0, 0.8)))
    spread = 0.3 * np.sqrt(1 / np.clip(confidence, 0.05, 1) - 1) * rng.uniform(0, 1)
    waves = cv2.resize(rng.normal(size=(16, 16)).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.stack([np.where(told, depth * np.exp(spread * waves), 0), np.where(told, confidence, 0)])

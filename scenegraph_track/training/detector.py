"""The stage that teaches `SlotDetector` what motion has cut out, and to find it where nothing moves."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from detectors.slot_detector import REACH, PixelVotes, SlotDetector, full_resolution
from geometry.camera import rigid_flow
from scenegraph_track.training.batches import Item, endless_batches
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.labels import LabelSettings, labels_of, preset_of
from scenegraph_track.training.object_labels import UNKNOWN, ObjectLabelSettings, object_labels
from scenegraph_track.training.stage import Stage

MOST = 12
"""Objects of an image that are looked at."""

_SMALLEST = 6
"""Pixels at 1/2 of the resolution."""


class DetectorData(BaseModel):
    """What the detector is shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(16, ge=1, description="images in a batch")
    crop: int = Field(112, ge=32, multiple_of=2, description="side of what is cut out of an image, pixels")
    zoom: float = Field(1.4, ge=1, description="largest factor by which an image is enlarged or reduced first")
    colour: float = Field(0.3, ge=0, description="strength of the random changes of brightness and colour")
    noise: float = Field(0.02, ge=0, description="largest deviation of the noise added to an image")
    motion_noise: float = Field(0.5, ge=0, description="largest deviation of smooth false motion, pixels")
    parallax: float = Field(0.15, ge=0, le=1, description="share of images of still_labels, where nothing moves")
    still: float = Field(0.4, ge=0, le=1, description="share of images without their motion")
    workers: int = Field(1, ge=0, description="processes that prepare batches")
    validation_clips: int = Field(8, ge=1, description="held-out worlds")
    validation_frames: int = Field(6, ge=2, description="of each of them")


class DetectorNet(BaseModel):
    """Arguments of `SlotDetector`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: tuple[int, ...] = (24, 48, 64, 96)
    dim: int = 24
    embedding: int = 8
    slots: int = 24
    iterations: int = 2
    threshold: float = 0.45
    handicap: float | None = 0.0
    backbone: str | None = None
    backbone_weights: str = "hub"


class DetectorLoss(BaseModel):
    """Weights of the losses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    object: float = Field(1.0, ge=0, description="is a pixel of an object")
    positive: float = Field(2.0, gt=0, description="weight of pixels of objects in it")
    negative: float = Field(0.35, gt=0, description="weight of the others where motion is not shown: some stand still")
    vote: float = Field(1.0, ge=0, description="where the middle of the object is")
    mask: float = Field(1.0, ge=0, description="which of the objects a pixel is of")
    scale: float = Field(0.1, ge=0, description="that the pixels of an object agree about its scale")


class DetectorStage(Stage):
    """Self-training on what moves: dense votes and the attention of slots, taught by motion segments."""

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        labels: ObjectLabelSettings = ObjectLabelSettings()
        still_labels: LabelSettings | None = None
        data: DetectorData = DetectorData()
        detector_net: DetectorNet = DetectorNet()
        loss: DetectorLoss = DetectorLoss()

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.net = SlotDetector(**settings.detector_net.model_dump())

    def modules(self) -> dict[str, nn.Module]:
        """The network by its name in the weights."""
        return {"detector": self.net}

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        data = self.settings.data
        labels = object_labels(self.settings.labels, self.dry_run, rank, world_size)
        still = None
        if self.settings.still_labels is not None and data.parallax > 0:
            still = StillScenes(self.settings.still_labels, self.dry_run, rank, world_size)
        make = partial(draw_image, labels=labels, still=still, data=data)
        return endless_batches(make, self.seed, data.batch, data.workers, rank, world_size, start)

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of the losses, see `DetectorLoss`."""
        weights = self.settings.loss
        found = self.net(batch["image"], batch["residual"])
        labels = batch["labels"][:, 1::2, 1::2]
        known, objects = labels != UNKNOWN, (labels > 0) & (labels != UNKNOWN)
        still = batch["residual"].isfinite().flatten(1).logical_not().all(1)[:, None, None]
        weight = torch.where(objects, weights.positive, torch.where(still, weights.negative, 1.0)) * known
        error = binary_cross_entropy_with_logits(found.objectness, objects.float(), weight, reduction="sum")
        parts = {"object": error / weight.sum(), **self._grouping(found, labels)}
        total = sum(getattr(weights, name) * value for name, value in parts.items())
        return total, {name: value.detach() for name, value in parts.items()}

    def _grouping(self, found: PixelVotes, labels: Tensor) -> dict[str, Tensor]:
        """Losses of the votes, the scale and the masks of the objects that are known."""
        numbers = torch.arange(1, MOST + 1, device=labels.device)
        masks = (labels[:, None] == numbers[:, None, None]).flatten(2)  # B, K, N
        images, objects = (masks.sum(2) >= _SMALLEST).nonzero(as_tuple=True)
        if not len(images):
            zero = found.objectness.sum() * 0
            return {"vote": zero, "mask": zero, "scale": zero}
        own = masks[images, objects].float()  # M, N
        share = own / own.sum(1, keepdim=True)
        height, width = labels.shape[1:]
        y, x = torch.meshgrid(torch.arange(height) * 2 + 1.0, torch.arange(width) * 2 + 1.0, indexing="ij")
        pixels = torch.stack([x, y], -1).flatten(0, 1).to(share)
        middles = found.middles.flatten(2).transpose(1, 2)[images]  # M, N, 2
        looks = torch.cat([found.log_scale[:, None], found.embedding], 1).flatten(2).transpose(1, 2)[images]
        apart = smooth_l1_loss(middles / REACH, (share @ pixels)[:, None].expand_as(middles) / REACH, reduction="none")
        vote = (apart.sum(-1) * share).sum(1).mean()
        at, like = ((share[..., None] * values).sum(1, keepdim=True) for values in (middles, looks))
        scale = ((looks[..., 0] - like[..., 0]).square() * share).sum(1).mean()
        logit = self.net.attention(middles, looks, at, like)[:, 0]  # M, N; log of the attention, at most 0
        others = ((labels.flatten(1) > 0) & (labels.flatten(1) != UNKNOWN))[images].float() - own
        missed = -(logit * share).sum(1)
        taken = -(1 - logit.exp() + 1e-4).log() * others
        mask = (missed + taken.sum(1) / others.sum(1).clamp(min=1) * (others.sum(1) > 0)).mean()
        return {"vote": vote, "mask": mask, "scale": scale}

    def validate(self) -> dict[str, float]:
        """FG-ARI and mBO of frames of held-out worlds, in percent, with motion and without."""
        from scenegraph_track.evaluation.objects import best_overlaps, foreground_ari, overlap_table

        scores: dict[str, list[float]] = {}
        for image, residual, truth in self._held_out:
            for name, motion in (("", residual), ("_still", None)):
                found = segment_image(
                    self.net, image.to(self.device), None if motion is None else motion.to(self.device)
                )
                table = overlap_table(truth, found, (int(truth.max()) + 1, int(found.max()) + 1))
                scores.setdefault(f"fg_ari{name}", []).append(foreground_ari(table))
                scores.setdefault(f"mbo{name}", []).extend(best_overlaps(table))
        return {name: 100 * float(np.nanmean(values)) for name, values in scores.items()}

    @cached_property
    def _held_out(self) -> list[tuple[Tensor, Tensor, np.ndarray]]:
        """Images, their residuals and true objects: the last of a few frames of each held-out world."""
        from scenegraph_track.data.worlds import render, sample_scene
        from scenegraph_track.evaluation.estimators import Choice, load_estimators
        from scenegraph_track.evaluation.object_cues import clip_cues

        data, found = self.settings.data, []
        used = load_estimators(Choice(None, None, ()))
        for seed in range(1 if self.dry_run else data.validation_clips):
            world = render(sample_scene("standard", "val", seed=seed, size=(128, 128), frames=data.validation_frames))
            images = [torch.from_numpy(np.ascontiguousarray(f.image.transpose(2, 0, 1))) for f in world.frames]
            intrinsics = torch.from_numpy(world.scene.camera.intrinsics).float()
            last = clip_cues(images, intrinsics, used.flow, used.depth)[-1]
            instance = world.frames[-1].instance.astype(np.int64)
            truth = np.where(instance <= len(world.scene.objects), instance, 0)
            if truth.any() and last.residual is not None:
                found.append((images[-1].float() / 255, last.residual.float(), truth))
        return found


def segment_image(net: SlotDetector, image: Tensor, residual: Tensor | None) -> np.ndarray:
    """Labels (H, W) of the slots that an image shows, 0 for none."""
    slots = net.detect(image, residual)
    if not len(slots):
        return np.zeros(tuple(image.shape[1:]), np.int64)
    best, number = full_resolution(slots.masks, (int(image.shape[1]), int(image.shape[2]))).max(0)
    return torch.where(best > 0.3, number + 1, 0).cpu().numpy()


class StillScenes:
    """Images of worlds in which nothing moves but the camera, with the residual that a wrong depth leaves.

    Args:
        settings: Labels of the stage ``depth``; only those of the preset "static" are used.
        few: See `Chunks`.
        rank: See `Chunks`.
        world_size: See `Chunks`.
    """

    def __init__(self, settings: LabelSettings, few: bool, rank: int, world_size: int) -> None:
        labels = labels_of(settings, few, rank, world_size).arrays
        chosen = [
            k for k in range(len(labels["image"])) if labels["translates"][k] and preset_of(k, settings) == "static"
        ]
        self.images = labels["image"][chosen]
        self.residuals = np.stack([_left_over(labels, k) for k in chosen]) if chosen else np.zeros((0, 2, 1, 1))

    def __len__(self) -> int:
        return len(self.images)

    def row(self, index: int) -> dict[str, np.ndarray]:
        """An item like those of `object_labels`, without objects."""
        shape = self.images.shape[2:]
        return {
            "image": self.images[index],
            "residual": self.residuals[index][None],
            "labels": np.zeros(shape, np.uint8),
        }


def _left_over(labels: dict[str, np.ndarray], index: int) -> np.ndarray:
    """(2, H, W) float16, what depth and motion leave of the flow."""
    depth = torch.from_numpy(labels["depth"][index].astype(np.float32))
    depth = torch.where(depth > 0, depth, depth[depth > 0].median())
    motion, intrinsics = (torch.from_numpy(labels[name][index])[None].float() for name in ("motion", "intrinsics"))
    return (labels["flow"][index] - rigid_flow(depth[None, None], motion, intrinsics)[0].numpy()).astype(np.float16)


def draw_image(rng: np.random.Generator, labels: Chunks[Any], still: StillScenes | None, data: DetectorData) -> Item:
    """An image with its residual and labels, zoomed, cropped, mirrored and coloured at random.

    An image of `StillScenes` never comes without its residual: what stands still there may well be an object.

    Returns:
        ``image`` (1, 3, C, C) in [0, 1], ``residual`` (1, 2, C, C), NaN where there is no motion to be seen, and
        ``labels`` (1, C, C) int64.
    """
    import cv2

    parallax = still is not None and len(still) > 0 and rng.random() < data.parallax
    row = still.row(int(rng.integers(len(still)))) if parallax else next(labels.rows([int(rng.integers(len(labels)))]))
    way = int(rng.integers(len(row["residual"])))
    image = row["image"].transpose(1, 2, 0)
    residual = row["residual"][way].astype(np.float32).transpose(1, 2, 0)
    side = image.shape[0]
    zoom = float(np.exp(rng.uniform(-1, 1) * np.log(data.zoom)))
    size = max(round(side * zoom), data.crop)
    x, y = (int(v) for v in rng.integers(0, size - data.crop + 1, 2))
    window = (slice(y, y + data.crop), slice(x, x + data.crop))
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < side else cv2.INTER_LINEAR)[window]
    residual = cv2.resize(residual, (size, size), interpolation=cv2.INTER_LINEAR)[window] * np.float32(size / side)
    marks = cv2.resize(row["labels"], (size, size), interpolation=cv2.INTER_NEAREST)[window].astype(np.int64)
    residual = residual * np.float32(rng.choice([-1, 1])) + _false_motion(rng, residual.shape, data.motion_noise)
    if rng.random() < 0.5:
        image, residual, marks = image[:, ::-1], residual[:, ::-1] * np.float32([-1, 1]), marks[:, ::-1]
    if not parallax and rng.random() < data.still:
        residual = np.full_like(residual, np.nan)
    return {
        "image": torch.from_numpy(_coloured(rng, image, data))[None],
        "residual": torch.from_numpy(np.ascontiguousarray(residual.transpose(2, 0, 1)))[None],
        "labels": torch.from_numpy(np.ascontiguousarray(marks))[None],
    }


def _false_motion(rng: np.random.Generator, shape: tuple[int, ...], most: float) -> np.ndarray:
    """Smooth motion (H, W, 2) as a wrong depth makes it, of one direction and a strength drawn from [0, most]."""
    import cv2

    coarse = rng.normal(0, 1, (int(rng.integers(2, 9)),) * 2).astype(np.float32)
    strength = cv2.resize(coarse, shape[1::-1], interpolation=cv2.INTER_CUBIC) * np.float32(rng.uniform(0, most) ** 2)
    angle = rng.uniform(0, 2 * np.pi)
    return strength[..., None] * np.array([np.cos(angle), np.sin(angle)], np.float32)


def _coloured(rng: np.random.Generator, image: np.ndarray, data: DetectorData) -> np.ndarray:
    """float32 (3, H, W) in [0, 1] of another exposure, contrast, colour and noise."""
    gain, contrast, gamma = np.exp(rng.normal(0, data.colour / 2, 3))
    tint = np.exp(rng.normal(0, data.colour / 2, 3))
    order = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)
    values = (image[..., order].astype(np.float32) / 255) ** np.float32(gamma)
    values = ((values - 0.5) * contrast + 0.5) * (gain * tint)
    values = values + rng.normal(0, 1, values.shape) * rng.uniform(0, data.noise)
    return np.ascontiguousarray(np.clip(values, 0, 1).astype(np.float32).transpose(2, 0, 1))

"""What the surface network is shown: stretches of clips in which the objects of the first frame are followed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from scenegraph_track.data.covers import crossed, put, stuck
from scenegraph_track.errors import UserError
from scenegraph_track.occlusion.sight import both_ways
from scenegraph_track.training.batches import Item
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.occlusion_data import ATTEMPTS
from scenegraph_track.training.point_data import MAP_STRIDE, PointClipSettings, noisy
from scenegraph_track.training.target_data import coloured, drawn_colours

COVERED = 255
"""Number in the maps of objects where something is put in front."""


class SurfaceData(BaseModel):
    """What is cut out of the clips."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(2, ge=1, description="stretches in a batch")
    frames: int = Field(12, ge=2, description="consecutive frames of a stretch")
    objects: int = Field(6, ge=1, description="most objects of a stretch")
    visible: float = Field(0.6, ge=0, le=1, description="least visible part of an object in the first frame")
    smallest: float = Field(10.0, ge=1, description="least side of its box then, pixels")
    hidden: float = Field(0.7, ge=0, le=1, description="share of stretches that prefer objects which come to be hidden")
    jitter: float = Field(0.03, ge=0, description="deviation of the given boxes, in their sides")
    colour: float = Field(0.3, ge=0, description="strength of the random changes of brightness and colour")
    noise: float = Field(0.02, ge=0, description="largest deviation of the noise added to an image")
    crossed: float = Field(0.3, ge=0, le=1, description="share of stretches that something is moved across")
    covered: float = Field(0.6, ge=0, le=1, description="share of stretches in which something sticks to an object")
    veiled: float = Field(0.2, ge=0, le=1, description="share of what is put there that can be seen through")
    flow: str = Field("dis_sparse", description="optical flow that carries surfaces along")
    workers: int = Field(1, ge=0, description="processes that prepare batches")
    validation_clips: int = Field(24, ge=1, description="held-out worlds")


def draw_surfaces(rng: np.random.Generator, clips: Chunks[PointClipSettings], data: SurfaceData) -> Item:
    """One stretch of T frames with ``data.objects`` rows of objects, of which the first ``count`` count.

    Returns:
        ``images`` (1, T, 3, H, W) uint8; ``flows`` (1, T - 1, 4, H, W); ``instance`` (1, T, h, w) numbers of objects
        from 1, `COVERED` where something is put in front; ``count`` (1,); ``objects`` (1, O) their numbers; ``given``
        (1, O, 4) boxes in the first frame as told; ``boxes`` (1, O, T, 4) whole boxes and ``fraction`` (1, O, T)
        visible parts.
    """
    for _ in range(ATTEMPTS):
        clip = next(clips.rows([int(rng.integers(len(clips)))]))
        total = len(clip["images"])
        if total < data.frames:
            raise UserError(f"data.frames: expected at most the {total} frames of a clip, found {data.frames}")
        start = int(rng.integers(total - data.frames + 1))
        order = np.arange(start, start + data.frames)[:: 1 if rng.random() < 0.5 else -1]
        objects = _chosen(rng, clip, order, data)
        if len(objects):
            other = next(clips.rows([int(rng.integers(len(clips)))]))["images"][0]
            return _sample(rng, clip, other, order, objects, data)
    raise UserError("point clips: expected objects that can be seen, found none")


def _chosen(rng: np.random.Generator, clip: dict[str, NDArray], order: NDArray, data: SurfaceData) -> NDArray[np.int64]:
    """Numbers from 0 of objects that are seen in the first frame."""
    boxes, visible = clip["boxes"][order[0]], clip["visible"][order]
    sides = (boxes[:, 2:] - boxes[:, :2]).min(-1)
    objects = rng.permutation(np.flatnonzero((visible[0] >= data.visible) & (sides >= data.smallest)))
    if rng.random() < data.hidden:
        objects = objects[np.argsort(visible[:, objects].min(0) >= 0.5, kind="stable")]
    return objects[: data.objects]


def _sample(
    rng: np.random.Generator,
    clip: dict[str, NDArray],
    other: NDArray[np.uint8],
    order: NDArray,
    objects: NDArray[np.int64],
    data: SurfaceData,
) -> Item:
    images, instance, visible, boxes = (clip[name][order].copy() for name in ("images", "instance", "visible", "boxes"))
    masks = np.zeros(images.shape[:3], np.uint8)
    if rng.random() < data.crossed:
        images, masks = put(rng, images, other, crossed(rng, images, other)[1], data.veiled)
    if rng.random() < data.covered:
        block = stuck(rng, boxes[:, int(rng.choice(objects))], 0, images.shape[1:3])
        images, more = put(rng, images, other[::-1], block, data.veiled)
        masks |= more
    small = masks[:, MAP_STRIDE // 2 :: MAP_STRIDE, MAP_STRIDE // 2 :: MAP_STRIDE] > 0
    shown = instance[None] == objects[:, None, None, None] + 1  # O, T, h, w
    left = 1 - (shown & small).sum((2, 3)) / np.maximum(shown.sum((2, 3)), 1)
    instance[small] = COVERED

    colours, deviation = drawn_colours(rng, data.colour), 255 * data.noise * rng.random() ** 2
    images = np.stack([noisy(rng, coloured(rng, image, colours, data.colour), deviation) for image in images])
    frames = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    first = boxes[0, objects]
    given = first + rng.normal(0, data.jitter, first.shape) * np.tile(first[:, 2:] - first[:, :2], 2)
    rows = np.minimum(np.arange(data.objects), len(objects) - 1)  # the last again, where there are fewer

    def filled(values: NDArray, kind: type = np.float32) -> torch.Tensor:
        return torch.from_numpy(values[rows].astype(kind))[None]

    return {
        "images": frames[None],
        "flows": torch.stack([both_ways(a, b, data.flow) for a, b in pairwise(frames)])[None],
        "instance": torch.from_numpy(instance)[None],
        "count": torch.tensor([len(objects)]),
        "objects": filled(objects + 1, np.int64),
        "given": filled(given),
        "boxes": filled(boxes[:, objects].transpose(1, 0, 2)),
        "fraction": filled(visible[:, objects].T * left),
    }

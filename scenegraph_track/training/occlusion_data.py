"""What OccuSolver is shown: stretches of clips in which the objects of one frame are followed by points."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from geometry.camera import sample
from scenegraph_track.data.covers import covered_at, crossed, put, stuck
from scenegraph_track.errors import UserError
from scenegraph_track.occlusion.object_points import box_priors
from scenegraph_track.occlusion.sight import both_ways
from scenegraph_track.training.batches import Item
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.point_data import MAP_STRIDE, PointClipSettings, noisy
from scenegraph_track.training.target_data import coloured, drawn_colours

ATTEMPTS = 50
"""Clips that are looked at for one with objects whose points are known."""

AGREEMENT = (1.5, 0.05)
"""Pixels, and share of the way, within which a point has to come back to count as seen."""


class OcclusionData(BaseModel):
    """What is cut out of the clips."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(12, ge=3, description="consecutive frames of a sample")
    objects: int = Field(6, ge=1, description="objects of a sample")
    points: int = Field(16, ge=1, description="points of an object")
    least: int = Field(4, ge=1, description="different points that an object must have")
    visible: float = Field(0.5, ge=0, le=1, description="least visible part of an object where it is first shown")
    prior: float = Field(0.7, ge=0, le=1, description="share of samples in which the objects' places are told")
    colour: float = Field(0.3, ge=0, description="strength of the random changes of brightness and colour")
    noise: float = Field(0.02, ge=0, description="largest deviation of the noise added to an image")
    crossed: float = Field(0.3, ge=0, le=1, description="share of samples that something is moved across")
    covered: float = Field(0.5, ge=0, le=1, description="share of samples in which something sticks to an object")
    veiled: float = Field(0.2, ge=0, le=1, description="share of what is put there that can be seen through")
    labels: Literal["exact", "agreement"] = Field(
        "exact", description="truth of the worlds, or agreement of optical flow there and back, as for real videos"
    )
    flow: str = Field("dis_sparse", description="optical flow that the tracker starts from")
    workers: int = Field(1, ge=0, description="processes that prepare batches")
    validation_clips: int = Field(12, ge=1, description="held-out worlds")


def draw_objects(rng: np.random.Generator, clips: Chunks[PointClipSettings], data: OcclusionData) -> Item:
    """One sample of O objects with P points in T frames.

    Returns:
        ``images`` (1, T, 3, H, W) uint8; ``flows`` (1, T - 1, 4, H, W); ``queries`` (1, O, P, 3); ``seen`` (1, O, P, T)
        whether each point can be seen, ``member`` (1, O, P) whether it lies on its object; ``fraction`` (1, O, T)
        visible parts; ``priors`` (1, O, h, w) and ``told`` (1,), whether they are.
    """
    for _ in range(ATTEMPTS):
        clip = next(clips.rows([int(rng.integers(len(clips)))]))
        found = _chosen(rng, clip, data)
        if found is not None:
            other = next(clips.rows([int(rng.integers(len(clips)))]))["images"][0]
            return _sample(rng, clip, other, data, *found)
    raise UserError("point clips: expected objects with points on them, found none")


def _chosen(
    rng: np.random.Generator, clip: dict[str, NDArray], data: OcclusionData
) -> tuple[NDArray, int, NDArray] | None:
    """Frames in order, which of them shows the objects first, and their numbers (O,) from 0."""
    total, frames = len(clip["images"]), data.frames
    ways: list[tuple[int, int]] = []
    for lead in (int(rng.integers(min(4, frames - 2))), 0):  # frames before the one in which the points are chosen
        ways = [
            (int(frame), way)
            for frame in np.unique(clip["queries"][:, 0]).astype(int)
            for way in (1, -1)
            if 0 <= frame - way * lead < total and 0 <= frame + way * (frames - 1 - lead) < total
        ]
        if ways:
            break
    if not ways:
        return None
    reference, way = ways[int(rng.integers(len(ways)))]
    order = reference + way * (np.arange(frames) - lead)
    here = clip["queries"][:, 0] == reference
    objects = [
        k
        for k in range(clip["boxes"].shape[1])
        if (here & (clip["chosen_for"] == k + 1)).sum() >= data.least and clip["visible"][reference, k] >= data.visible
    ]
    if not objects:
        return None
    return order, lead, rng.choice(objects, data.objects, replace=len(objects) < data.objects)


def _sample(
    rng: np.random.Generator,
    clip: dict[str, NDArray],
    other: NDArray[np.uint8],
    data: OcclusionData,
    order: NDArray,
    first: int,
    objects: NDArray,
) -> Item:
    images, instance, fraction = (clip[name][order].copy() for name in ("images", "instance", "visible"))
    reference = int(order[first])
    rows = []
    for k in objects:
        own = np.flatnonzero((clip["queries"][:, 0] == reference) & (clip["chosen_for"] == k + 1))
        rows.append(rng.choice(own, data.points, replace=len(own) < data.points))
    chosen = np.stack(rows)  # O, P
    tracks = clip["tracks"][order][:, chosen].transpose(1, 2, 0, 3)  # O, P, T, 2
    seen = clip["seen"][order][:, chosen].transpose(1, 2, 0)
    member = clip["owner"][chosen] == objects[:, None] + 1

    masks = np.zeros(images.shape[:3], np.uint8)
    if rng.random() < data.crossed:
        images, masks = put(rng, images, other, crossed(rng, images, other)[1], data.veiled)
    if rng.random() < data.covered:
        boxes = clip["boxes"][order, int(rng.choice(objects))]
        images, more = put(rng, images, other[::-1], stuck(rng, boxes, first, images.shape[1:3]), data.veiled)
        masks |= more
    flat = tracks.reshape(-1, *tracks.shape[2:])
    seen &= ~covered_at(masks, flat).reshape(seen.shape)
    small = masks[:, MAP_STRIDE // 2 :: MAP_STRIDE, MAP_STRIDE // 2 :: MAP_STRIDE]
    left = np.ones((len(objects), len(order)), np.float32)
    for number, k in enumerate(objects):
        shown = instance == k + 1
        left[number] = 1 - (shown & (small > 0)).sum((1, 2)) / np.maximum(shown.sum((1, 2)), 1)
    visible = fraction[:, objects].T * left

    colours, deviation = drawn_colours(rng, data.colour), 255 * data.noise * rng.random() ** 2
    images = np.stack([noisy(rng, coloured(rng, image, colours, data.colour), deviation) for image in images])
    frames = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    flows = torch.stack([both_ways(a, b, data.flow) for a, b in pairwise(frames)])
    points = tracks[:, :, first]
    if data.labels == "agreement":
        agreed = agreement(*flows.split(2, 1), points.reshape(-1, 2), first).reshape(seen.shape)
        seen = agreed & ~covered_at(masks, flat).reshape(seen.shape)
        visible = seen.mean(1)
    told = rng.random() < data.prior
    return {
        "images": frames[None],
        "flows": flows[None],
        "queries": torch.from_numpy(np.concatenate([np.full((*chosen.shape, 1), first), points], -1)).float()[None],
        "seen": torch.from_numpy(seen)[None],
        "member": torch.from_numpy(member)[None],
        "fraction": torch.from_numpy(visible).float()[None],
        "priors": _priors(rng, clip, reference, objects, images.shape[1:3])[None],
        "told": torch.tensor([told]),
    }


def _priors(
    rng: np.random.Generator, clip: dict[str, NDArray], frame: int, objects: NDArray, size: tuple[int, int]
) -> torch.Tensor:
    """(O, h, w) masks of the objects in a frame, or Gaussians in their boxes, as a tracker's response has them."""
    if rng.random() < 0.5:
        return torch.from_numpy(np.stack([clip["instance"][frame] == k + 1 for k in objects])).float()
    return box_priors(torch.from_numpy(clip["boxes"][frame, objects]).float(), size)


def agreement(forward: torch.Tensor, backward: torch.Tensor, points: NDArray, first: int) -> NDArray[np.bool_]:
    """Which points are seen, as far as optical flow tells: there and back they return to where they were.

    A label for videos without any; once lost, a point stays so.

    Args:
        forward: (T - 1, 2, H, W) flow from each frame to the next.
        backward: (T - 1, 2, H, W) from the next back.
        points: (N, 2) pixels of frame ``first``.
        first: Number of the frame in which all are seen.

    Returns:
        (N, T); false before ``first``.
    """
    place = torch.from_numpy(np.asarray(points, np.float32))
    seen = np.zeros((len(points), len(forward) + 1), bool)
    seen[:, first] = True
    size = torch.tensor(forward.shape[:1:-1])

    def at(flow: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        return sample(flow[None], where.T[None, :, :, None])[0, :, :, 0].T

    for t in range(first, len(forward)):
        there = place + at(forward[t], place)
        back = there + at(backward[t], there)
        way = (there - place).norm(dim=1)
        agrees = (back - place).norm(dim=1) < torch.clamp(AGREEMENT[1] * way, min=AGREEMENT[0])
        inside = ((there >= 0) & (there < size)).all(1)
        seen[:, t + 1] = seen[:, t] & (agrees & inside).numpy()
        place = there
    return seen

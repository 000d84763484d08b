"""What target models are shown without labels: pasted objects, and proposals of a detector to follow there and back."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from scenegraph_track.errors import UserError
from scenegraph_track.pretraining.paste import Cutout, PasteSettings, cut_out_object, cut_out_patch, pasted, recoloured
from scenegraph_track.target.views import cut_array, jittered, to_view, view_of_box
from scenegraph_track.training.batches import Item
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.target_data import (
    TargetClipSettings,
    TargetData,
    coloured,
    drawn_colours,
    make_target_clip,
    random_clip,
    spoilt,
    target_views,
)

NAME = "free_clips"
"""Of the files."""

PROPOSALS = 12
"""Of a frame that are kept, those of the highest presence."""

_ATTEMPTS = 50
"""Clips that are looked at for one with a proposal."""


class FreeClipSettings(TargetClipSettings):
    """Which clips are rendered and searched for objects, once, and kept; their truth is not looked at."""

    folder: str = Field("runs/free_clips", description="where the clips are kept, and found again")
    detector: str = Field("embedded", description="the detector that ships, or weights of another")


class CycleData(BaseModel):
    """How targets are followed there and back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(2, ge=1, description="in which a target is looked for on the way there")
    presence: float = Field(0.6, ge=0, le=1, description="least presence of a proposal that is followed")
    cutout_presence: float = Field(0.5, ge=0, le=1, description="least presence of a proposal that is cut out")
    smallest: float = Field(12.0, ge=1, description="least mean side of a proposal, pixels")
    border: float = Field(2.0, ge=0, description="least distance of a proposal from the image's border, pixels")


def make_free_clip(index: int, settings: FreeClipSettings) -> dict[str, NDArray]:
    """The clip of a number: the images of `make_target_clip`, and what a detector finds in three of them.

    Returns:
        ``images`` (T, H, W, 3) uint8; ``frames`` (3,), the first, middle and last; for these ``labels`` (3, H, W)
        uint8, 0 for none, ``boxes`` (3, P, 4) float32 and ``presence`` (3, P), 0 where there are fewer proposals.
    """
    return {**found_objects(make_target_clip(index, settings)["images"], settings.detector)}


def found_objects(images: NDArray[np.uint8], weights: str) -> dict[str, NDArray]:
    """What `make_free_clip` gives, of any images (T, H, W, 3)."""
    from scenegraph_track.discovery.video import objects_of

    net = _detector(weights)
    count, height, width = images.shape[:3]
    frames = np.array([0, count // 2, count - 1])
    labels = np.zeros((3, height, width), np.uint8)
    boxes, presence = np.zeros((3, PROPOSALS, 4), np.float32), np.zeros((3, PROPOSALS), np.float32)
    for row, frame in enumerate(frames):
        found = objects_of(net, torch.from_numpy(images[frame]).permute(2, 0, 1).float() / 255)
        order = found.presence.argsort(descending=True, stable=True)[:PROPOSALS]
        numbers = torch.zeros(len(found), dtype=torch.int64)
        numbers[order] = torch.arange(1, len(order) + 1)
        labels[row] = found.labels(numbers).numpy()
        for number, place in enumerate(order.tolist()):
            mask = labels[row] == number + 1
            if mask.any():
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                boxes[row, number] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
                presence[row, number] = float(found.presence[place])
    return {"images": images, "frames": frames, "labels": labels, "boxes": boxes, "presence": presence}


@lru_cache(maxsize=1)
def _detector(weights: str):
    from detectors.embedded import slot_detector

    return slot_detector(None if weights == "embedded" else weights)


def free_clips(
    settings: FreeClipSettings, few: bool = False, rank: int = 0, world_size: int = 1
) -> Chunks[FreeClipSettings]:
    """The clips of a folder in memory, one row a clip; see `Chunks`."""
    return Chunks(settings, make_free_clip, NAME, few, rank, world_size)


def draw_free_target(
    rng: np.random.Generator,
    clips: Chunks[FreeClipSettings],
    data: TargetData,
    cycle: CycleData,
    paste: PasteSettings,
    size: int,
) -> Item:
    """A pasted target as of `draw_target`, and a proposal to follow there and back.

    Returns:
        Besides what `draw_target` gives: ``frames`` (1, 1 + K, 3, H, W) uint8, ``first`` (1, 4) its box in the first
        of them; ``views`` (1, 2, 3, S, S) uint8 of that frame and the boxes in them, ``view_boxes`` (1, 2, 4).
    """
    return {**_pasted_target(rng, clips, data, cycle, paste, size), **_proposal(rng, clips, data, cycle, size)}


def _pasted_target(
    rng: np.random.Generator,
    clips: Chunks[FreeClipSettings],
    data: TargetData,
    cycle: CycleData,
    paste: PasteSettings,
    size: int,
) -> Item:
    for _ in range(_ATTEMPTS):
        count = int(rng.integers(paste.objects[0], paste.objects[1] + 1))
        cutouts: list[Cutout] = []
        for _ in range(count):
            cutouts.append(_cutout(rng, clips, cycle, paste))
            if rng.random() < paste.twins:
                cutouts.append(recoloured(rng, cutouts[-1]))
        images = random_clip(rng, clips)["images"]
        chosen = np.sort(rng.permutation(len(images))[: data.tests + 2])  # as many as there are views
        clip = pasted(rng, images[chosen], cutouts, paste)
        item = target_views(rng, clip, data, size)
        if item is not None:
            return item
    raise UserError("pasted clips: expected objects that can be seen, found none; lower data.visible or data.smallest")


def _cutout(
    rng: np.random.Generator, clips: Chunks[FreeClipSettings], cycle: CycleData, paste: PasteSettings
) -> Cutout:
    row = random_clip(rng, clips)
    which = int(rng.integers(len(row["frames"])))
    image = row["images"][row["frames"][which]]
    good = np.flatnonzero(_usable(row, which, cycle, cycle.cutout_presence))
    if len(good) == 0 or rng.random() < paste.patches:
        return cut_out_patch(rng, image, paste.sides)
    return cut_out_object(image, row["labels"][which] == rng.choice(good) + 1)


def _usable(row: dict[str, NDArray], which: int, cycle: CycleData, presence: float) -> NDArray[np.bool_]:
    """Which proposals of a frame are sure enough, large enough and away from the border."""
    boxes = row["boxes"][which]
    height, width = row["images"].shape[1:3]
    limit = np.array([width, height]) - cycle.border
    inside = (boxes[:, :2] >= cycle.border).all(1) & (boxes[:, 2:] <= limit).all(1)
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
    return (row["presence"][which] >= presence) & inside & (sides >= cycle.smallest)


def _proposal(
    rng: np.random.Generator, clips: Chunks[FreeClipSettings], data: TargetData, cycle: CycleData, size: int
) -> Item:
    for _ in range(_ATTEMPTS):
        row = random_clip(rng, clips)
        which = int(rng.integers(len(row["frames"])))
        good = np.flatnonzero(_usable(row, which, cycle, cycle.presence))
        if len(good):
            break
    else:
        raise UserError("free clips: expected proposals, found none; lower cycle.presence or cycle.smallest")
    box, first = row["boxes"][which, rng.choice(good)].astype(float), int(row["frames"][which])
    count = len(row["images"])
    ways = [range(first + 1, count), range(first - 1, -1, -1)]
    way = max(ways, key=len) if min(map(len, ways)) < cycle.frames else ways[int(rng.integers(2))]
    steps = np.sort(rng.choice(len(way), cycle.frames, replace=len(way) < cycle.frames))
    colours = drawn_colours(rng, data.colour)
    frames = [coloured(rng, row["images"][index], colours, data.colour) for index in (first, *(way[s] for s in steps))]
    views, boxes = [], []
    for _ in range(2):
        factor = float(np.exp(rng.uniform(*np.log(data.factors))))
        view = view_of_box(jittered(box, rng, *data.test_jitter), factor, size)
        again = coloured(rng, frames[0], (np.zeros(6), np.arange(3)), 2 * data.colour)
        views.append(spoilt(rng, cut_array(again, view), data))
        boxes.append(to_view(box, view))
    return {
        "frames": torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2).copy())[None],
        "first": torch.from_numpy(box).float()[None],
        "views": torch.from_numpy(np.stack(views).transpose(0, 3, 1, 2).copy())[None],
        "view_boxes": torch.from_numpy(np.stack(boxes)).float()[None],
    }

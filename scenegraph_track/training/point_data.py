"""What point trackers are shown: rendered clips with exact tracks of points on objects and around them."""

from __future__ import annotations

from itertools import count, pairwise
from typing import Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from scenegraph_track.data.covers import covered_at, crossed
from scenegraph_track.data.worlds import Scene, render
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.clips import visible_parts, whole_boxes
from scenegraph_track.occlusion.sight import both_ways
from scenegraph_track.training.batches import Item
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.drawn_worlds import (
    ClipSettings,
    Folder,
    Frames,
    Presets,
    Scenes,
    drawn_preset,
    drawn_scene,
)
from scenegraph_track.training.target_data import coloured, drawn_colours

NAME = "point_clips"
"""Of the files."""

_ATTEMPTS = 20
"""Seeds that are tried for a world."""

MAP_STRIDE = 4
"""Of the maps that tell which object is seen."""


class PointClipSettings(ClipSettings):
    """Which clips are rendered, once, and kept."""

    folder: Folder = "runs/point_clips"
    scenes: Scenes = 1280
    presets: Presets = Field({"standard": 0.8, "easy": 0.1, "long_occlusion": 0.1})
    size: tuple[int, int] = Field((192, 192), description="width and height of the images, pixels")
    frames: Frames = 16
    references: int = Field(4, ge=1, description="frames of a clip in which points are chosen; the first is one")
    points: int = Field(80, ge=2, description="points chosen in each of them, five eighths in boxes of objects")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.references > self.frames:
            raise ValueError(f"references: expected at most {self.frames}, the frames of a clip")
        return self


class PointData(BaseModel):
    """What is cut out of the clips."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(1, ge=1, description="clips in a batch")
    frames: int = Field(8, ge=3, description="consecutive frames of a sample")
    points: int = Field(64, ge=1, description="points of a sample")
    colour: float = Field(0.3, ge=0, description="strength of the random changes of brightness and colour")
    noise: float = Field(0.02, ge=0, description="largest deviation of the noise added to an image")
    zoom: float = Field(0.25, ge=0, description="deviation of the logarithm of the scale of a sample")
    shift: float = Field(3.0, ge=0, description="deviation of the drift of the view, pixels a frame")
    pasted: float = Field(0.3, ge=0, le=1, description="share of samples that something flat is moved across")
    flow: str = Field("dis_sparse", description="optical flow that the tracker starts from")
    workers: int = Field(1, ge=0, description="processes that prepare batches")
    validation_clips: int = Field(12, ge=1, description="held-out worlds")


def make_point_clip(index: int, settings: PointClipSettings) -> dict[str, NDArray]:
    """The clip of a number, T frames with Q points and room for K objects.

    Returns:
        ``images`` (T, H, W, 3) uint8; ``queries`` (Q, 3) float32 of frame, x, y; ``tracks`` (T, Q, 2) float32 in
        pixels; ``seen`` (T, Q) bool; ``owner`` (Q,) the object of a point from 1, 0 for all else; ``chosen_for`` (Q,)
        the object in whose box it was chosen, 0 for none; ``boxes`` (T, K, 4) amodal, cut at the image; ``visible``
        (T, K) visible fractions; ``instance`` (T, H / 4, W / 4) uint8, which object is seen there.
    """
    rng = np.random.default_rng((settings.seed, index, 11))
    clip = render(_drawn_scene(rng, drawn_preset(rng, settings.presets), settings))
    objects = len(clip.scene.objects)
    boxes, visible = whole_boxes(clip), visible_parts(clip)
    references = [0, *(1 + rng.permutation(settings.frames - 1)[: settings.references - 1])]
    drawn = [_chosen_points(rng, boxes[t], visible[t], settings) for t in references]
    queries = np.concatenate([np.column_stack([np.full(len(p), t), p]) for t, (p, _) in zip(references, drawn)])
    tracks, seen = clip.track_points(queries)
    frames, columns, rows = queries.astype(int).T
    instance = np.stack([frame.instance for frame in clip.frames])
    owner = instance[frames, rows, columns]
    kept = min(objects, settings.objects)
    room = ((0, 0), (0, settings.objects - kept))
    middle = slice(MAP_STRIDE // 2, None, MAP_STRIDE)
    return {
        "images": np.stack([frame.image for frame in clip.frames]),
        "queries": queries.astype(np.float32),
        "tracks": tracks,
        "seen": seen,
        "owner": np.where(owner <= kept, owner, 0).astype(np.uint8),
        "chosen_for": np.concatenate([objects for _, objects in drawn]).astype(np.uint8),
        "boxes": np.pad(boxes[:, :kept], (*room, (0, 0))),
        "visible": np.pad(visible[:, :kept], room),
        "instance": np.where(instance <= kept, instance, 0)[:, middle, middle].astype(np.uint8),
    }


def _drawn_scene(rng: np.random.Generator, preset: str, settings: PointClipSettings) -> Scene:
    """A world of a kind; the next one where there is none for a seed, as of long occlusions in short clips."""
    for attempt in count():
        try:
            return drawn_scene(rng, preset, settings.size, settings.frames)
        except UserError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError


def _chosen_points(
    rng: np.random.Generator, boxes: NDArray, visible: NDArray, settings: PointClipSettings
) -> tuple[NDArray, NDArray]:
    """Points (Q, 2) of one frame, and the objects (Q,) from 1 in whose boxes they were chosen, 0 for none."""
    width, height = settings.size
    points = rng.uniform(0, (width, height), (settings.points, 2))
    objects = np.zeros(settings.points, int)
    sides = (boxes[:, 2:] - boxes[:, :2]).min(1) if len(boxes) else np.zeros(0)
    seen = np.flatnonzero((visible > 0.2) & (sides >= 4))[: settings.objects]
    seen = seen[seen < settings.objects]
    if len(seen):
        inside = settings.points * 5 // 8
        objects[:inside] = rng.choice(seen, inside) + 1
        box = boxes[objects[:inside] - 1]
        points[:inside] = rng.uniform(box[:, :2], box[:, 2:])
    return np.clip(points, 0, np.array([width, height]) - 1e-2), objects


def point_clips(
    settings: PointClipSettings, few: bool = False, rank: int = 0, world_size: int = 1
) -> Chunks[PointClipSettings]:
    """The clips of a folder in memory, one row a clip; see `Chunks`."""
    return Chunks(settings, make_point_clip, NAME, few, rank, world_size)


def draw_points(rng: np.random.Generator, clips: Chunks[PointClipSettings], data: PointData) -> Item:
    """One sample: a stretch of a clip, forward or backward in time, seen through a drifting view, with its points.

    Returns:
        ``images`` (1, T, 3, H, W) uint8; ``flows`` (1, T - 1, 4, H, W) float32, there and back;
        ``queries`` (1, N, 3) of frame, x, y; ``tracks`` (1, N, T, 2) pixels, ``seen`` and ``counted`` (1, N, T).
    """
    clip = next(clips.rows([int(rng.integers(len(clips)))]))
    total = len(clip["images"])
    length = min(data.frames, total)
    start = int(rng.integers(total - length + 1))
    order = np.arange(start, start + length)[:: 1 if rng.random() < 0.5 else -1]
    tracks, seen = clip["tracks"][order].swapaxes(0, 1), clip["seen"][order].T  # N, T
    images, tracks, inside = _viewed(rng, clip["images"][order], tracks, data)
    seen = seen & inside
    if rng.random() < data.pasted:
        other = next(clips.rows([int(rng.integers(len(clips)))]))["images"][0]
        images, masks = crossed(rng, images, other)
        covered = covered_at(masks, tracks)
        seen = seen & ~covered
    colours = drawn_colours(rng, data.colour)
    deviation = 255 * data.noise * rng.random() ** 2
    images = np.stack([noisy(rng, coloured(rng, image, colours, data.colour), deviation) for image in images])
    known = np.isfinite(tracks).all(-1)
    early = seen & (np.arange(length) < max(2, length * 5 // 8))
    possible = np.flatnonzero(early.any(1))
    if not len(possible):
        raise UserError("point clips: expected points that can be seen, found none")
    chosen = rng.choice(possible, data.points, replace=len(possible) < data.points)
    first = np.where(rng.random(data.points) < 0.5, early[chosen].argmax(1), _random_true(rng, early[chosen]))
    tracks, seen, known = tracks[chosen], seen[chosen], known[chosen]
    queries = np.column_stack([first, tracks[np.arange(data.points), first]])
    frames = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    flows = torch.stack([both_ways(a, b, data.flow) for a, b in pairwise(frames)])
    return {
        "images": frames[None],
        "flows": flows[None],
        "queries": torch.from_numpy(queries).float()[None],
        "tracks": torch.from_numpy(np.nan_to_num(tracks)).float()[None],
        "seen": torch.from_numpy(seen)[None],
        "counted": torch.from_numpy(known & (np.arange(length) > first[:, None]))[None],
    }


def _random_true(rng: np.random.Generator, flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A random true column of each row."""
    return (rng.random(flags.shape) * flags).argmax(1)


def noisy(rng: np.random.Generator, pixels: NDArray[np.uint8], deviation: float) -> NDArray[np.uint8]:
    """An image with noise, in grey values."""
    if deviation < 0.5:
        return pixels
    noise = rng.standard_normal(pixels.shape, np.float32) * np.float32(deviation)
    return np.clip(pixels + noise + 0.5, 0, 255).astype(np.uint8)


def _viewed(
    rng: np.random.Generator, images: NDArray[np.uint8], tracks: NDArray, data: PointData
) -> tuple[NDArray[np.uint8], NDArray, NDArray[np.bool_]]:
    """Images (T, H, W, 3) and tracks (N, T, 2) through a window that drifts, mirrored or not; which are inside."""
    frames, height, width = images.shape[:3]
    scale = float(np.exp(abs(rng.normal(0, data.zoom))))
    room = np.array([width, height]) * (1 - 1 / scale)
    corner = rng.uniform(0, 1, 2) * room
    steps = np.arange(frames)[:, None] - (frames - 1) / 2
    corners = np.clip(corner + steps * rng.normal(0, data.shift, 2), 0, room)
    mirrored = rng.random(2) < (0.5, 0.2)
    seen = []
    for image, (x, y) in zip(images, corners):
        matrix = np.array([[scale, 0, -scale * x + (scale - 1) / 2], [0, scale, -scale * y + (scale - 1) / 2]])
        view = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        view = view[:, ::-1] if mirrored[0] else view
        seen.append(view[::-1] if mirrored[1] else view)
    tracks = (tracks - corners) * scale
    limit = np.array([width, height])
    tracks = np.where(mirrored, limit - tracks, tracks)
    with np.errstate(invalid="ignore"):
        inside = ((tracks >= 0) & (tracks < limit)).all(-1)
    return np.ascontiguousarray(np.stack(seen)), tracks, inside

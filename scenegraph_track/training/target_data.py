"""What target models are shown: views of objects of rendered worlds, a few remembered ones and some to find them in."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from scenegraph_track.data.worlds import render
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.clips import visible_parts, whole_boxes
from scenegraph_track.target.views import cut_array, jittered, to_view, view_of_box
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

NAME = "target_clips"
"""Of the files."""

ABSENT = 0.02
"""Visible part below which a target cannot be found."""

_ATTEMPTS = 50
"""Targets that are looked at for one that is seen well enough."""


class TargetClipSettings(ClipSettings):
    """Which clips are rendered, once, and kept."""

    folder: Folder = "runs/target_clips"
    scenes: Scenes = 1536
    presets: Presets = Field({"standard": 0.85, "easy": 0.15})
    frames: Frames = 10
    frame_rates: list[float] = Field([3.0, 4.0, 6.0, 8.0], description="of the clips, drawn from")


class TargetData(BaseModel):
    """What is cut out of the clips."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(16, ge=1, description="targets in a batch")
    tests: int = Field(2, ge=1, description="views that each target is looked for in")
    single: float = Field(0.3, ge=0, le=1, description="share of targets of which one view is remembered, not two")
    factors: tuple[float, float] = Field((4.0, 5.0), description="sides of a view in sides of the target, drawn from")
    wide: float = Field(0.25, ge=0, le=1, description="share of targets with views of any scale, as in whole frames")
    wide_factors: tuple[float, float] = Field((2.5, 9.0), description="of those views")
    memory_jitter: tuple[float, float] = Field((1.0, 0.15), description="of centre and scale of remembered views")
    test_jitter: tuple[float, float] = Field((3.0, 0.4), description="of centre and scale of the others")
    visible: float = Field(0.6, ge=0, le=1, description="least visible part in a remembered view")
    seen: float = Field(0.25, ge=0, le=1, description="least visible part in a view that the target is to be found in")
    absent: float = Field(0.1, ge=0, le=1, description="share of views in which it is hidden, where there are such")
    smallest: float = Field(8.0, ge=1, description="least mean side of a target, pixels")
    colour: float = Field(0.3, ge=0, description="strength of the random changes of brightness and colour")
    noise: float = Field(0.03, ge=0, description="largest deviation of the noise added to a view")
    blur: float = Field(0.2, ge=0, le=1, description="share of views that are blurred")
    workers: int = Field(1, ge=0, description="processes that prepare batches")
    validation_clips: int = Field(16, ge=1, description="held-out worlds")
    validation_frames: int = Field(36, ge=2, description="of each of them")


def make_target_clip(index: int, settings: TargetClipSettings) -> dict[str, NDArray]:
    """The clip of a number.

    Returns:
        ``images`` (T, H, W, 3) uint8; ``boxes`` (T, K, 4) float32, the objects' whole extents cut at the image, and
        ``visible`` (T, K) float32, for ``settings.objects`` K; 0 where there are fewer objects.
    """
    rng = np.random.default_rng((settings.seed, index, 7))
    preset, rate = drawn_preset(rng, settings.presets), float(rng.choice(settings.frame_rates))
    clip = render(drawn_scene(rng, preset, settings.size, settings.frames, rate))
    boxes, visible = whole_boxes(clip), visible_parts(clip)
    count = boxes.shape[1]
    if count > settings.objects:
        chosen = np.sort(rng.permutation(count)[: settings.objects])
        boxes, visible = boxes[:, chosen], visible[:, chosen]
    missing = settings.objects - boxes.shape[1]
    return {
        "images": np.stack([frame.image for frame in clip.frames]),
        "boxes": np.pad(boxes, ((0, 0), (0, missing), (0, 0))),
        "visible": np.pad(visible, ((0, 0), (0, missing))),
    }


def target_clips(
    settings: TargetClipSettings, few: bool = False, rank: int = 0, world_size: int = 1
) -> Chunks[TargetClipSettings]:
    """The clips of a folder in memory, one row a clip; see `Chunks`."""
    return Chunks(settings, make_target_clip, NAME, few, rank, world_size)


def draw_target(rng: np.random.Generator, clips: Chunks[TargetClipSettings], data: TargetData, size: int) -> Item:
    """One target: two remembered views and some in which it is to be found, all mirrored and coloured alike.

    Args:
        rng: What is drawn from.
        clips: Of `target_clips`.
        data: How views are drawn.
        size: Pixels of a view.

    Returns:
        ``memory`` (1, 2, 3, S, S) and ``test`` (1, t, 3, S, S) uint8; their boxes (1, 2, 4) and (1, t, 4), pixels of
        the view; ``valid`` (1, 2), whether a view is remembered; ``present`` (1, t), whether the target can be seen.
    """
    for _ in range(_ATTEMPTS):
        item = target_views(rng, random_clip(rng, clips), data, size)
        if item is not None:
            return item
    raise UserError("target clips: expected objects that can be seen, found none; lower data.visible or data.smallest")


def random_clip(rng: np.random.Generator, clips: Chunks) -> dict[str, NDArray]:
    """One of the clips."""
    return next(clips.rows([int(rng.integers(len(clips)))]))


def target_views(rng: np.random.Generator, clip: dict[str, NDArray], data: TargetData, size: int) -> Item | None:
    """Views of a target of one clip, see `draw_target`; None where no object is seen well enough."""
    drawn = _drawn(rng, clip, data)
    if drawn is None:
        return None
    target, frames, tests = drawn
    wide = rng.random() < data.wide
    low, high = data.wide_factors if wide else data.factors
    factor = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    colours, mirrors = drawn_colours(rng, data.colour), rng.random(3) < (0.5, 0.25, 0.25)
    side = None
    views: dict[str, list[NDArray]] = {"memory": [], "test": []}
    boxes: dict[str, list[NDArray]] = {"memory": [], "test": []}
    for name, numbers, (centre, spread) in (
        ("memory", frames, data.memory_jitter),
        ("test", tests, data.test_jitter),
    ):
        for frame in numbers:
            box = clip["boxes"][frame, target]
            view = view_of_box(jittered(box, rng, centre, spread), factor, size)
            side = side or view.side
            if wide:
                view = replace(view, side=side)
            image = coloured(rng, clip["images"][frame], colours, data.colour)
            pixels, there = _mirrored(cut_array(image, view), to_view(box.astype(float), view), mirrors)
            views[name].append(spoilt(rng, pixels, data))
            boxes[name].append(there)
    return {
        **{name: torch.from_numpy(np.stack(some).transpose(0, 3, 1, 2).copy())[None] for name, some in views.items()},
        **{f"{name}_boxes": torch.from_numpy(np.stack(some)).float()[None] for name, some in boxes.items()},
        "valid": torch.tensor([[True, rng.random() >= data.single]]),
        "present": torch.from_numpy(clip["visible"][tests, target] > ABSENT)[None],
    }


def _drawn(
    rng: np.random.Generator, clip: dict[str, NDArray], data: TargetData
) -> tuple[int, list[int], list[int]] | None:
    """An object of a clip, two frames to remember and frames to find it in; forward or backward in time."""
    sides = np.sqrt((clip["boxes"][..., 2:] - clip["boxes"][..., :2]).prod(-1))  # T, K
    clear = (clip["visible"] >= data.visible) & (sides >= data.smallest)
    targets = np.flatnonzero(clear.any(0))
    if not len(targets):
        return None
    target = int(rng.choice(targets))
    visible, large = clip["visible"][:, target], sides[:, target] >= data.smallest
    seen = np.flatnonzero((visible >= min(data.seen, data.visible)) & large)
    hidden = np.flatnonzero((visible <= ABSENT) & large)
    frames = rng.choice(np.flatnonzero(clear[:, target]), 2)
    first = frames.min() if rng.random() < 0.5 else frames.max()
    last = frames.sum() - first
    beyond = seen[seen >= last] if last >= first else seen[seen <= last]
    tests = [
        int(rng.choice(hidden if len(hidden) and rng.random() < data.absent else beyond)) for _ in range(data.tests)
    ]
    return target, [int(first), int(last)], tests


def drawn_colours(rng: np.random.Generator, strength: float) -> tuple[NDArray, NDArray]:
    """Logarithms of gain, contrast, gamma and tint (6,), and an order of the channels, for all views of a target."""
    order = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)
    return rng.normal(0, strength / 2, 6), order


def coloured(
    rng: np.random.Generator, pixels: NDArray[np.uint8], colours: tuple[NDArray, NDArray], strength: float
) -> NDArray[np.uint8]:
    """Another exposure, contrast and colour; a fifth of it of this view alone."""
    logarithms, order = colours
    change = np.exp(logarithms + rng.normal(0, strength / 10, 6))
    gain, contrast, gamma, tint = change[0], change[1], change[2], change[3:]
    level = (np.arange(256) / 255) ** gamma
    table = ((level - 0.5) * contrast + 0.5)[:, None] * (gain * tint)
    table = np.clip(table * 255 + 0.5, 0, 255).astype(np.uint8)[None]
    return cv2.LUT(np.ascontiguousarray(pixels[..., order]), table)


def spoilt(rng: np.random.Generator, pixels: NDArray[np.uint8], data: TargetData) -> NDArray[np.uint8]:
    """Blur and noise."""
    if rng.random() < data.blur:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.5, 2.0))
    deviation = 255 * data.noise * rng.random() ** 2
    if deviation < 0.5:
        return pixels
    noise = rng.standard_normal(pixels.shape, np.float32) * np.float32(deviation)
    return np.clip(pixels + noise + 0.5, 0, 255).astype(np.uint8)


def _mirrored(pixels: NDArray[np.uint8], box: NDArray, mirrors: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """The view mirrored left to right, upside down, and at its diagonal."""
    size = len(pixels)
    across, down, diagonal = mirrors
    if across:
        pixels, box = pixels[:, ::-1], np.array([size - box[2], box[1], size - box[0], box[3]])
    if down:
        pixels, box = pixels[::-1], np.array([box[0], size - box[3], box[2], size - box[1]])
    if diagonal:
        pixels, box = pixels.transpose(1, 0, 2), box[[1, 0, 3, 2]]
    return np.ascontiguousarray(pixels), box

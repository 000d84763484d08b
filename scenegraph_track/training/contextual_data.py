"""What the contextual association is trained on: a first frame with one box, and whole frames without any."""

from __future__ import annotations

from functools import lru_cache
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.single_clips import SingleClip, SingleWorlds
from scenegraph_track.target.one_stream_follow import OneStreamFollowSettings, OneStreamSettings
from scenegraph_track.target.views import View, cut_array, jittered, to_view, view_of_box
from scenegraph_track.training.batches import Item
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.target_data import TargetClipSettings, coloured, drawn_colours

VIEWS = 2
"""Local views of the first frame in which the target is looked for on the way back (SSTrack)."""

_ATTEMPTS = 50
"""Clips that are looked at for a target that is seen well enough."""


class ContextualData(BaseModel):
    """What is drawn from the clips."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(8, ge=2, description="targets in a batch")
    frames: int = Field(2, ge=1, description="whole frames that a target is followed through before the way back")
    whole: int = Field(112, ge=8, description="side of whole frames in pixels, padded to squares")
    jitter: tuple[float, float] = Field((2.0, 0.25), description="of centre and scale of the local views")
    visible: float = Field(0.6, ge=0, le=1, description="least visible part in the first frame")
    smallest: float = Field(10.0, ge=1, description="least mean side of a target, pixels")
    colour: float = Field(0.1, ge=0, description="strength of the random changes of brightness and colour")
    workers: int = Field(1, ge=0, description="processes that prepare batches")
    validation_clips: int = Field(16, ge=1, description="held-out worlds")
    validation_frames: int = Field(36, ge=2, description="of each of them")


def whole_view(size: tuple[int, int], side: int) -> View:
    """The view of a whole image of ``size`` (W, H), padded to a square at its right or lower end."""
    longer = float(max(size))
    return View((longer / 2, longer / 2), longer, side)


def draw_contextual(
    rng: np.random.Generator,
    clips: Chunks[TargetClipSettings],
    data: ContextualData,
    net: OneStreamSettings,
    following: OneStreamFollowSettings,
) -> Item:
    """One target: its first frame, and frames of some later (or earlier) times.

    Args:
        rng: What is drawn from.
        clips: Of `target_clips`.
        data: How frames and views are drawn.
        net: Sizes of views.
        following: Factors of views.

    Returns:
        Of the first frame, uint8: ``template`` (1, 1, 3, Z, Z), ``whole`` (1, 1, 3, L, L) and the jittered ``views``
        (1, 2, 3, S, S), with ``template_box``, ``whole_box`` (1, 1, 4) and ``view_boxes`` (1, 2, 4), pixels of the
        view.  Of the others, uint8: ``frames`` (1, K, 3, H, W) and ``later`` (1, K, 3, L, L), the same as whole views.
        What is only measured with: ``true_boxes`` (1, K, 4), pixels of the image, and ``seen`` (1, K) whether the
        target can be seen there.
    """
    row, target, first, later = _drawn(rng, clips, data)
    colours = drawn_colours(rng, data.colour)
    image, *others = (coloured(rng, row["images"][frame], colours, data.colour) for frame in (first, *later))
    again = coloured(rng, row["images"][first], colours, data.colour)
    box = row["boxes"][first, target].astype(float)
    around = whole_view((image.shape[1], image.shape[0]), data.whole)
    own = view_of_box(box, following.template_factor, net.template)
    views = [view_of_box(jittered(box, rng, *data.jitter), following.factor, net.search) for _ in range(VIEWS)]
    return {
        "template": _shown([cut_array(image, own)])[None],
        "template_box": torch.from_numpy(to_view(box, own)).float()[None, None],
        "whole": _shown([cut_array(again, around)])[None],
        "whole_box": torch.from_numpy(to_view(box, around)).float()[None, None],
        "views": _shown([cut_array(again, view) for view in views])[None],
        "view_boxes": torch.from_numpy(np.stack([to_view(box, view) for view in views])).float()[None],
        "frames": _shown(others)[None],
        "later": _shown([cut_array(other, around) for other in others])[None],
        "true_boxes": torch.from_numpy(row["boxes"][later, target])[None],
        "seen": torch.from_numpy(row["visible"][later, target] >= 0.25)[None],
    }


def _drawn(
    rng: np.random.Generator, clips: Chunks[TargetClipSettings], data: ContextualData
) -> tuple[dict[str, NDArray], int, int, NDArray[np.int64]]:
    """A clip, an object of it, a frame in which it is clear and, in order, frames on one side of that."""
    for _ in range(_ATTEMPTS):
        row = next(clips.rows([int(rng.integers(len(clips)))]))
        length = len(row["images"])
        if length <= data.frames:
            raise UserError(f"data.frames: expected fewer than the {length} frames of a clip, found {data.frames}")
        order = np.arange(length) if rng.random() < 0.5 else np.arange(length)[::-1]
        sides = np.sqrt((row["boxes"][..., 2:] - row["boxes"][..., :2]).prod(-1))  # T, K
        clear = ((row["visible"] >= data.visible) & (sides >= data.smallest))[order[: length - data.frames]]
        if not clear.any():
            continue
        target = int(rng.choice(np.flatnonzero(clear.any(0))))
        place = int(rng.choice(np.flatnonzero(clear[:, target])))
        later = np.sort(rng.choice(np.arange(place + 1, length), data.frames, replace=False))
        return row, target, int(order[place]), order[later]
    raise UserError("target clips: expected objects that can be seen, found none; lower data.visible or data.smallest")


def _shown(images: list[NDArray[np.uint8]]) -> torch.Tensor:
    """(N, 3, H, W) of N images."""
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())


@lru_cache(maxsize=1)
def held_out_targets(worlds: int, size: tuple[int, int], frames: int) -> list[SingleClip]:
    """Targets of held-out worlds (split ``val``); worlds without any do not count."""
    source, found = SingleWorlds("standard", "val", worlds, size, frames), []
    for number in count():
        clips = source.single_clips(number)
        found += clips
        worlds -= len(clips) > 0
        if worlds <= 0:
            return found
    return found

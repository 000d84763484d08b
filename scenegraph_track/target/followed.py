"""Targets that are followed: what is known of them in one frame, and how it becomes what is known in the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from scenegraph_track.target.memory import MemoryRules, TargetMemory, Verdict, memory_tokens
from scenegraph_track.target.network import TargetNetwork
from scenegraph_track.target.predictor import Filters, MemoryTokens


class FollowSettings(BaseModel):
    """How a target is followed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    factor: float = Field(4.5, gt=1, description="side of a view in mean sides of the target")
    hann: float = Field(0.5, ge=0, le=1, description="preference for the middle of the view: 1 is a Hann window")
    interval: int = Field(5, ge=1, description="frames from one remembered view to the next, at least")
    resizing: float = Field(0.3, gt=0, le=1, description="part of a change of width and height that is believed")
    margin: float = Field(4.0, gt=0, description="pixels of a box that stay in the image")
    widening: float = Field(1.1, ge=1, description="growth of the view with each frame without the target")
    widest: float = Field(2.0, ge=1, description="of it, at most")
    everywhere: int = Field(5, ge=0, description="frames between searches of the whole image for a lost one; 0: none")
    longest: int = Field(512, ge=32, description="pixels of the longer side of the whole image, at most")
    found_again: float = Field(0.5, description="score from which it counts as found outside its usual view")
    patience: int = Field(30, ge=0, description="frames without the target after which it counts as absent")
    memory: MemoryRules = MemoryRules()


@dataclass(frozen=True, eq=False)
class Followed:
    """N targets in one frame.

    Args:
        boxes: (N, 4) xyxy pixels of the image; where a target is not found, the box of the frame before.
        scores: (N,) of the responses; 1 in the first frame.
        verdicts: N.
        memories: N.
        filters: As predicted from the memories; None for a network that sees the current features.
        remembered: N numbers of frames since the newest view was remembered.
        lost: N numbers of frames without the target, since it was last found.
    """

    boxes: Tensor
    scores: Tensor
    verdicts: tuple[Verdict, ...]
    memories: tuple[TargetMemory, ...]
    filters: Filters | None
    remembered: tuple[int, ...]
    lost: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.boxes)


def told(network: TargetNetwork, memories: Sequence[TargetMemory], boxes: Tensor) -> Followed:
    """The state in a frame in which the boxes (N, 4) were told."""
    count = len(boxes)
    sure, none, filters = (Verdict.SURE,) * count, (0,) * count, _filters(network, memories)
    return Followed(boxes, boxes.new_ones(count), sure, tuple(memories), filters, none, none)


def believed(before: Tensor, boxes: Tensor, shape: torch.Size, settings: FollowSettings) -> Tensor:
    """Boxes in their places with sides between those before and their own, as logarithms, cut at the image.

    Args:
        before: (N, 4) xyxy.
        boxes: (N, 4) found.
        shape: Of the images, (..., H, W).
        settings: ``resizing`` and ``margin``.
    """
    middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    half = (before[:, 2:] - before[:, :2]).pow(1 - settings.resizing) * sides.pow(settings.resizing) / 2
    limit = boxes.new_tensor([shape[-1], shape[-2]])
    low = torch.minimum((middle - half).clamp(min=0), limit - settings.margin)
    high = torch.maximum(torch.minimum(middle + half, limit), low + settings.margin)
    return torch.cat([low, high], 1)


def to_remember(settings: FollowSettings, state: Followed, found: Sequence[Verdict]) -> list[int]:
    """The targets that were and are surely seen and of which no view was remembered lately, longest ago first."""
    ages = [age + 1 for age in state.remembered]
    sure = [row for row, one in enumerate(found) if one == Verdict.SURE and not state.lost[row]]
    return sorted((row for row in sure if ages[row] >= settings.interval), key=lambda row: -ages[row])


def concluded(
    network: TargetNetwork,
    settings: FollowSettings,
    state: Followed,
    boxes: Tensor,
    scores: Tensor,
    found: Sequence[Verdict],
    views: Mapping[int, tuple[Tensor, Tensor]],
) -> Followed:
    """The state in the next frame with some views remembered.

    Args:
        network: In evaluation mode.
        settings: How to follow.
        state: In the frame before.
        boxes: (N, 4).
        scores: (N,).
        found: N.
        views: Features (D, h, w) and box (4,) in them, by numbers of targets.
    """
    memories, ages, filters = list(state.memories), [age + 1 for age in state.remembered], state.filters
    for row, view in views.items():
        memories[row], ages[row] = memories[row].added(*view, settings.memory.views), 0
    if filters is not None and views:
        rows, new = list(views), _filters(network, [memories[row] for row in views])
        classification, box = filters.classification.clone(), filters.box.clone()
        classification[rows], box[rows] = new.classification, new.box
        filters = Filters(classification, box)
    lost = tuple(n + 1 if one == Verdict.NOT_FOUND else 0 for n, one in zip(state.lost, found))
    return Followed(boxes, scores, tuple(found), tuple(memories), filters, tuple(ages), lost)


def tokens_of(network: TargetNetwork, memories: Sequence[TargetMemory]) -> MemoryTokens:
    """The memories of N targets for the predictor of a network."""
    return memory_tokens(memories, network.stride, network.unit, network.settings.sigma)


def _filters(network: TargetNetwork, memories: Sequence[TargetMemory]) -> Filters | None:
    return None if network.settings.sees_current else network.filters(tokens_of(network, memories))

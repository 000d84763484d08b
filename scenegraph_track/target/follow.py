"""Following targets from frame to frame, each with a view of its own that goes where it was last seen.

The bare loop: no search after a loss, no re-detection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from scenegraph_track.target.heads import decode, hann_window
from scenegraph_track.target.memory import MemoryRules, TargetMemory, Verdict, memory_tokens, verdicts
from scenegraph_track.target.network import TargetNetwork
from scenegraph_track.target.predictor import Filters
from scenegraph_track.target.views import View, cut, to_view, view_of_box


class FollowSettings(BaseModel):
    """How a target is followed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    factor: float = Field(4.5, gt=1, description="side of a view in mean sides of the target")
    hann: float = Field(0.5, ge=0, le=1, description="preference for the middle of the view: 1 is a Hann window")
    interval: int = Field(5, ge=1, description="frames from one remembered view to the next, at least")
    margin: float = Field(4.0, gt=0, description="pixels of a box that stay in the image")
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
    """

    boxes: Tensor
    scores: Tensor
    verdicts: tuple[Verdict, ...]
    memories: tuple[TargetMemory, ...]
    filters: Filters | None
    remembered: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.boxes)


@torch.no_grad()
def start_following(network: TargetNetwork, settings: FollowSettings, images: Tensor, boxes: Tensor) -> Followed:
    """The state in the first frame.

    Args:
        network: In evaluation mode.
        settings: How to follow.
        images: (N, 3, H, W) in [0, 1], or (1, 3, H, W) for all targets.
        boxes: (N, 4) xyxy pixels.
    """
    views = _views(boxes, settings, network)
    features = network.features(cut(images, views))
    memories = [TargetMemory.started(*pair) for pair in zip(features, to_view(boxes, views))]
    scores, sure = boxes.new_ones(len(boxes)), (Verdict.SURE,) * len(boxes)
    return Followed(boxes, scores, sure, tuple(memories), _filters(network, memories), (0,) * len(boxes))


@torch.no_grad()
def follow(
    network: TargetNetwork,
    settings: FollowSettings,
    state: Followed,
    images: Tensor,
    visibility: Tensor | None = None,
) -> Followed:
    """The state in the next frame.

    Args:
        network: In evaluation mode.
        settings: As before.
        state: In the frame before.
        images: As for `start_following`.
        visibility: (N,) visible parts, NaN where unknown, where something else judges them.
    """
    rules = settings.memory
    views = _views(state.boxes, settings, network)
    features = network.features(cut(images, views))
    filters = state.filters
    if filters is None:
        filters = network.filters(_tokens(network, state.memories), features)
    size = (features.shape[2], features.shape[3])
    prior = 1 - settings.hann + settings.hann * hann_window(size, features)
    response = network.respond(filters, features, prior)
    inside = decode(response, network.stride, network.unit)
    sizes = to_view(state.boxes, views)
    found = verdicts(response, sizes[:, 2:] - sizes[:, :2], network.stride, rules, visibility)
    there = torch.tensor([verdict != Verdict.NOT_FOUND for verdict in found], device=features.device)
    boxes = _kept_inside(decode(response, network.stride, network.unit, views), images.shape, settings.margin)
    boxes = torch.where(there[:, None], boxes, state.boxes)

    memories, ages = list(state.memories), [age + 1 for age in state.remembered]
    changed = [k for k, verdict in enumerate(found) if verdict == Verdict.SURE and ages[k] >= settings.interval]
    for k in changed:
        memories[k], ages[k] = memories[k].added(features[k], inside[k], rules.views), 0
    known = state.filters
    if known is not None and changed:
        known = _replaced(known, changed, _filters(network, [memories[k] for k in changed]))
    return Followed(boxes, response.peaks, tuple(found), tuple(memories), known, tuple(ages))


def _views(boxes: Tensor, settings: FollowSettings, network: TargetNetwork) -> list[View]:
    return [view_of_box(box, settings.factor, network.settings.view) for box in boxes.tolist()]


def _tokens(network: TargetNetwork, memories: Sequence[TargetMemory]):
    return memory_tokens(memories, network.stride, network.unit, network.settings.sigma)


def _filters(network: TargetNetwork, memories: Sequence[TargetMemory]) -> Filters | None:
    return None if network.settings.sees_current else network.filters(_tokens(network, memories))


def _replaced(filters: Filters, rows: list[int], by: Filters | None) -> Filters:
    assert by is not None
    classification, box = filters.classification.clone(), filters.box.clone()
    classification[rows], box[rows] = by.classification, by.box
    return Filters(classification, box)


def _kept_inside(boxes: Tensor, shape: torch.Size, margin: float) -> Tensor:
    """Boxes cut at the image, of which at least a margin of pixels stays in it."""
    height, width = shape[-2:]
    limit = boxes.new_tensor([width, height])
    low = torch.minimum(boxes[:, :2].clamp(min=0), limit - margin)
    high = torch.maximum(torch.minimum(boxes[:, 2:], limit), low + margin)
    return torch.cat([low, high], 1)

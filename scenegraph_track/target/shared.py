"""Following many targets in the features of whole images: the backbone runs once for all of them.

A target is looked for in a window of these features, at the scale of the image, and not in a view of its own: far
cheaper for many targets, worse for small ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.target.followed import (
    Followed,
    FollowSettings,
    believed,
    concluded,
    to_remember,
    told,
)
from scenegraph_track.target.heads import Response, decode
from scenegraph_track.target.memory import TargetMemory, Verdict, frame_memories, verdicts
from scenegraph_track.target.network import TargetNetwork


@torch.no_grad()
def start_shared(network: TargetNetwork, image: Tensor, boxes: Tensor) -> Followed:
    """The state in the first frame.

    Args:
        network: In evaluation mode.
        image: (1, 3, H, W) in [0, 1].
        boxes: (N, 4) xyxy pixels.

    Raises:
        UserError: The network sees the current features: its filters are those of one frame, and not to be shared.
    """
    if network.settings.sees_current:
        raise UserError("target models: expected a network without sees_current to follow targets in shared features")
    return told(network, _memories(network, network.features(image)[0], boxes), boxes)


@torch.no_grad()
def follow_shared(
    network: TargetNetwork, settings: FollowSettings, state: Followed, image: Tensor, renewed: int = 4
) -> Followed:
    """The state in the next frame.

    Args:
        network: In evaluation mode.
        settings: How to follow.
        state: In the frame before.
        image: (1, 3, H, W) in [0, 1].
        renewed: Targets that a new view is remembered of in one frame, and that get new filters, at most; the others
            wait for theirs.
    """
    features, filters = network.features(image)[0], state.filters
    assert filters is not None
    due = [lost > 0 and settings.everywhere > 0 and lost % settings.everywhere == 0 for lost in state.lost]
    prior = _windows(state, settings, network.stride, features, due)
    score = network.scores(filters, features).masked_fill(prior == 0, -torch.inf)
    cells = torch.where(score > 0, score * prior, score).flatten(1).argmax(1)
    response = Response(score, cells, network.tower.at(filters.box, features, cells))
    found = verdicts(response, state.boxes[:, 2:] - state.boxes[:, :2], network.stride, settings.memory)
    weak = [far and peak < settings.found_again for far, peak in zip(due, response.peaks.tolist())]
    found = [Verdict.NOT_FOUND if low else verdict for low, verdict in zip(weak, found)]
    there = torch.tensor([verdict != Verdict.NOT_FOUND for verdict in found], device=features.device)
    new = believed(state.boxes, decode(response, network.stride, network.unit), image.shape, settings)
    boxes = torch.where(there[:, None], new, state.boxes)
    some = to_remember(settings, state, found)[:renewed]
    views = {row: (one.features[0], one.boxes[0]) for row, one in zip(some, _memories(network, features, boxes[some]))}
    return concluded(network, settings, state, boxes, response.peaks, found, views)


def _memories(network: TargetNetwork, features: Tensor, boxes: Tensor) -> list[TargetMemory]:
    return frame_memories(features, boxes, network.stride, network.settings.view // network.stride)


def _windows(state: Followed, settings: FollowSettings, stride: int, features: Tensor, due: list[bool]) -> Tensor:
    """What the scores (N, h, w) count for: most in the middles of the last boxes, nothing outside their views.

    The windows of lost targets grow; those of targets that are due for it are the whole image.
    """
    boxes = state.boxes
    sides = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
    growth = boxes.new_tensor([min(settings.widening**lost, settings.widest) for lost in state.lost])
    reach = (
        (settings.factor / 2 * sides * growth).clamp(min=stride).masked_fill(boxes.new_tensor(due).bool(), torch.inf)
    )
    window = []
    for axis, cells in ((1, features.shape[1]), (0, features.shape[2])):
        middle = (boxes[:, axis] + boxes[:, axis + 2]) / 2
        away = ((torch.arange(cells, device=boxes.device) + 0.5) * stride - middle[:, None]).abs() / reach[:, None]
        window.append((1 + torch.cos(torch.pi * away)) / 2 * (away < 1))
    hann = window[0][:, :, None] * window[1][:, None]
    return (1 - settings.hann + settings.hann * hann) * (hann > 0)

"""Following targets from frame to frame, each with a view of its own that goes where it was last seen.

A lost target is looked for in a view that grows, and now and then in the whole image, at the scale it is known at.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.target.followed import (
    Followed,
    FollowSettings,
    believed,
    concluded,
    to_remember,
    tokens_of,
    told,
)
from scenegraph_track.target.heads import decode, hann_window
from scenegraph_track.target.memory import MemoryRules, TargetMemory, Verdict, verdicts
from scenegraph_track.target.network import TargetNetwork
from scenegraph_track.target.search import grown, scaled, whole_view
from scenegraph_track.target.views import View, cut, cut_array, to_image, to_view, view_of_box


@torch.no_grad()
def start_following(network: TargetNetwork, settings: FollowSettings, images: Tensor, boxes: Tensor) -> Followed:
    """The state in the first frame.

    Args:
        network: In evaluation mode.
        settings: How to follow.
        images: (N, 3, H, W) in [0, 1] or uint8, or (1, 3, H, W) for all targets.
        boxes: (N, 4) xyxy pixels.
    """
    views = _views(boxes, settings, network)
    features = network.features(_cut(images, range(len(boxes)), views))
    return told(network, [TargetMemory.started(*pair) for pair in zip(features, to_view(boxes, views))], boxes)


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
    boxes, scores = state.boxes.clone(), torch.full_like(state.boxes[:, 0], torch.nan)
    found, views = [Verdict.NOT_FOUND] * len(state), {}
    for look in _looks(network, settings, state, images, visibility):
        there = torch.tensor([verdict != Verdict.NOT_FOUND for verdict in look.verdicts], device=boxes.device)
        new = believed(boxes[look.rows], look.boxes, images.shape, settings)
        boxes[look.rows] = torch.where(there[:, None], new, boxes[look.rows])
        scores[look.rows] = torch.where(there | scores[look.rows].isnan(), look.peaks, scores[look.rows])
        for k, row in enumerate(look.rows):
            if look.verdicts[k] != Verdict.NOT_FOUND:
                found[row] = look.verdicts[k]
            if found[row] == Verdict.SURE:
                views[row] = look.features[k], look.inside[k]
    due = to_remember(settings, state, found)
    return concluded(network, settings, state, boxes, scores, found, {row: views[row] for row in due})


@dataclass(frozen=True, eq=False)
class _Look:
    """What n targets find in features.

    Args:
        rows: Of the targets.
        features: (n, D, h, w), or (1, D, h, w) of all of them.
        inside: (n, 4) boxes, pixels of the views.
        boxes: (n, 4) the same, pixels of the image.
        peaks: (n,) scores.
        verdicts: n.
    """

    rows: list[int]
    features: Tensor
    inside: Tensor
    boxes: Tensor
    peaks: Tensor
    verdicts: list[Verdict]


def _looks(
    network: TargetNetwork, settings: FollowSettings, state: Followed, images: Tensor, visibility: Tensor | None
) -> Iterator[_Look]:
    """All targets in views round their boxes; then, in the whole image, those that are lost and due for that."""
    usual = _views(state.boxes, settings, network)
    growth = [min(settings.widening**lost, settings.widest) for lost in state.lost]
    views = [grown(view, by, network.stride) for view, by in zip(usual, growth)]
    missing = []
    for rows in _alike(view.size for view in views):
        some = [views[row] for row in rows]
        features = network.features(_cut(images, rows, some))
        prior = 1 - settings.hann + settings.hann * hann_window((features.shape[2], features.shape[3]), features)
        look = _look(network, settings.memory, state, rows, features, some, prior, visibility)
        for k, row in enumerate(rows):
            if look.peaks[k] < settings.found_again and _outside(look.boxes[k], usual[row]):
                look.verdicts[k] = Verdict.NOT_FOUND
        yield look
        missing += [row for row, verdict in zip(rows, look.verdicts) if verdict == Verdict.NOT_FOUND]
    due = [row for row in missing if settings.everywhere and (state.lost[row] + 1) % settings.everywhere == 0]
    wholes = [whole_view(usual[row], (images.shape[3], images.shape[2]), settings.longest) for row in due]
    strict = {"not_found": settings.found_again, "confident": torch.inf}  # no view is seen that could be remembered
    for chosen in _alike(view.size for view in wholes):
        rows, whole = [due[k] for k in chosen], wholes[chosen[0]]
        features = network.features(scaled(images if len(images) == 1 else images[rows], whole))
        rules = settings.memory.model_copy(update=strict)
        yield _look(network, rules, state, rows, features, [whole] * len(rows), None, visibility)


def _look(
    network: TargetNetwork,
    rules: MemoryRules,
    state: Followed,
    rows: list[int],
    features: Tensor,
    views: Sequence[View],
    prior: Tensor | None,
    visibility: Tensor | None,
) -> _Look:
    """What targets find in the features (n, D, h, w) or (1, D, h, w) of their views."""
    if state.filters is None:
        filters = network.filters(tokens_of(network, [state.memories[row] for row in rows]), features)
    else:
        filters = state.filters[torch.tensor(rows, device=features.device)]
    response = network.respond(filters, features, prior)
    known = None if visibility is None else visibility[rows]
    before = to_view(state.boxes[rows], views)
    found = verdicts(response, before[:, 2:] - before[:, :2], network.stride, rules, known)
    inside = decode(response, network.stride, network.unit)
    return _Look(rows, features, inside, to_image(inside, views), response.peaks, found)


def _outside(box: Tensor, view: View) -> bool:
    """Whether the middle of a box (4,) lies outside a view."""
    left, top, right, bottom = box.tolist()
    x, y = view.centre
    return max(abs(left + right - 2 * x), abs(top + bottom - 2 * y)) > view.side


def _alike(keys: Iterable[Hashable]) -> list[list[int]]:
    """The numbers of equal keys together."""
    groups: dict[Hashable, list[int]] = {}
    for number, key in enumerate(keys):
        groups.setdefault(key, []).append(number)
    return list(groups.values())


def _cut(images: Tensor, rows: Sequence[int], views: Sequence[View]) -> Tensor:
    """The views (n, 3, S, S) of some targets."""
    if images.dtype != torch.uint8:
        return cut(images if len(images) == 1 else images[list(rows)], views)
    each = images.permute(0, 2, 3, 1).contiguous().numpy()
    pieces = [cut_array(each[row if len(each) > 1 else 0], view) for row, view in zip(rows, views)]
    return torch.from_numpy(np.stack(pieces)).permute(0, 3, 1, 2).float() / 255


def _views(boxes: Tensor, settings: FollowSettings, network: TargetNetwork) -> list[View]:
    return [view_of_box(box, settings.factor, network.settings.view) for box in boxes.tolist()]

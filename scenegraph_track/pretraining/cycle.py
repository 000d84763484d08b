"""There and back: a target is looked for in later frames, and from there in its own frame again (SSTrack, AAAI 2025).

On the way there targets are looked for in whole frames, without gradient; boxes are cut from the graph and the memory
begins anew there.  On the way back they are looked for in views of the first frame by what was seen at those boxes
alone, where the first box says whether they are found.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scenegraph_track.target.heads import decode
from scenegraph_track.target.network import TargetNetwork
from scenegraph_track.target.views import View, cut, to_view, view_of_box


@dataclass(frozen=True, eq=False)
class Reached:
    """Where B targets were found on the way there, in K frames.

    Args:
        boxes: (B, K, 4) xyxy, pixels of the frames, without gradient.
        scores: (B, K) of their peaks.
    """

    boxes: Tensor
    scores: Tensor


@torch.no_grad()
def way_there(network: TargetNetwork, frames: Tensor, boxes: Tensor, smallest: float = 4.0) -> Reached:
    """Look for targets in whole frames by what their first frame shows.

    Args:
        network: Of a kind that does not see the current features.
        frames: (B, 1 + K, 3, H, W) in [0, 1], the first one with the given boxes.
        boxes: (B, 4) xyxy pixels.
        smallest: Least side of a found box that stays in the image, pixels.
    """
    targets, count, _, height, width = frames.shape
    features = network.features(frames.flatten(0, 1)).unflatten(0, (targets, count))
    valid = torch.ones(targets, 1, dtype=torch.bool, device=frames.device)
    filters = network.filters(network.tokens(features[:, :1], boxes[:, None], valid)).repeated(count - 1)
    response = network.respond(filters, features[:, 1:].flatten(0, 1))
    found = decode(response, network.stride, network.unit)
    limit = found.new_tensor([width, height])
    low = torch.minimum(found[:, :2].clamp(min=0), limit - smallest)
    high = torch.maximum(torch.minimum(found[:, 2:], limit), low + smallest)
    whole = torch.cat([low, high], 1)
    return Reached(whole.unflatten(0, (targets, -1)), response.peaks.unflatten(0, (targets, -1)))


def views_there(frames: Tensor, boxes: Tensor, factor: float, size: int) -> tuple[Tensor, Tensor]:
    """Views of found boxes for the way back.

    Args:
        frames: (B, K, 3, H, W).
        boxes: (B, K, 4).
        factor: Side of a view in mean sides of its box.
        size: Pixels of a view.

    Returns:
        Views (B, K, 3, S, S), and the boxes (B, K, 4) in them.
    """
    count = boxes.shape[1]
    flat = boxes.flatten(0, 1)
    views: list[View] = [view_of_box(box, factor, size) for box in flat.tolist()]
    pixels = cut(frames.flatten(0, 1), views)
    return pixels.unflatten(0, (-1, count)), to_view(flat, views).unflatten(0, (-1, count))

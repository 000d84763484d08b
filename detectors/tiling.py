"""Any detector on overlapping tiles and on the whole image, for objects that are small in it."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor

from detectors.errors import DetectorError
from detectors.proposals import Proposals

CUT = 1.0
"""Pixels from the border of a tile within which a box counts as cut by it."""


def tile_windows(size: tuple[int, int], tiles: int | tuple[int, int] = 2, overlap: float = 0.25) -> list[Tensor]:
    """Windows of one size that cover an image.

    Args:
        size: (H, W) of the image.
        tiles: Rows and columns of tiles, or one number for both.
        overlap: Share of a tile's side that it has in common with the next.

    Returns:
        (4,) int64 xyxy windows, row by row.
    """
    rows, columns = (tiles, tiles) if isinstance(tiles, int) else tiles
    if min(rows, columns) < 1 or not 0 <= overlap < 1:
        raise DetectorError(f"expected at least one tile and an overlap in [0, 1), found {tiles} and {overlap}")
    if rows > size[0] or columns > size[1]:
        raise DetectorError(f"an image of {size[0]} x {size[1]} pixels has no room for {rows} x {columns} tiles")

    def starts(length: int, count: int) -> tuple[list[int], int]:
        side = min(ceil(length / (count - (count - 1) * overlap)), length)
        return [round(i * (length - side) / max(count - 1, 1)) for i in range(count)], side

    (tops, height), (lefts, width) = starts(size[0], rows), starts(size[1], columns)
    return [torch.tensor([x, y, x + width, y + height]) for y in tops for x in lefts]


def detect_in_tiles(
    detector: Callable[..., Proposals],
    image: Tensor,
    *maps: Tensor | None,
    tiles: int | tuple[int, int] = 2,
    overlap: float = 0.25,
    whole: bool = True,
    least_iou: float = 0.5,
    least_covered: float = 0.8,
) -> Proposals:
    """Run a detector on tiles and on the whole image, and join what it finds.

    An object cut by a tile's border is left to the neighbour tile or to the whole; what is found twice is kept once
    (`suppress`).  A detector that resizes its input, or whose grid is of a fixed size, sees a tile finer than the
    whole; one of a fixed stride must enlarge the tile itself.

    Args:
        detector: ``detector(image, *maps) -> Proposals`` in the pixels of what it is given.
        image: (3, H, W).
        maps: (..., H, W) further inputs of the same size (flow, depth), cut alike, or None.
        tiles: Rows and columns of tiles, or one number for both.
        overlap: Share of a tile's side in common with the next; objects up to that size are whole in some tile.
        whole: Also run on the whole image; without it objects larger than the overlap may be missed.
        least_iou: Overlap from which two proposals are the same.
        least_covered: Share of a mask inside a better one from which it is part of that.

    Returns:
        Proposals in the pixels of the image, best score first.
    """
    size = image.shape[-2], image.shape[-1]
    if any(m is not None and tuple(m.shape[-2:]) != size for m in maps):
        raise DetectorError(f"expected maps of the image's size {size}")
    found = [detector(image, *maps)] if whole else []
    for window in tile_windows(size, tiles, overlap):
        left, top, right, bottom = window.tolist()
        if (left, top, right, bottom) == (0, 0, size[1], size[0]) and whole:
            continue
        cuts = [None if m is None else m[..., top:bottom, left:right] for m in (image, *maps)]
        found.append(_placed(detector(*cuts), window, size))
    return suppress(Proposals.join(found), least_iou, least_covered)


def suppress(proposals: Proposals, least_iou: float = 0.5, least_covered: float = 0.8) -> Proposals:
    """Greedy suppression of what was found twice.

    In the order of the scores a proposal is dropped where its IoU with a kept one of its class reaches ``least_iou``.
    With masks it is that of the masks, and one that lies inside a kept mask for ``least_covered`` is dropped too; boxes
    alone may lie inside another without being the same.

    Args:
        proposals: In any order.
        least_iou: From which two are the same.
        least_covered: Share of a mask inside a better one.

    Returns:
        Those kept, best score first.
    """
    proposals = proposals[proposals.scores.argsort(descending=True, stable=True)]
    if len(proposals) < 2:
        return proposals
    shared, area = _overlaps(proposals)
    same = shared >= least_iou * (area[:, None] + area - shared).clamp(min=1e-9)
    if proposals.masks is not None:
        same |= shared >= least_covered * area.clamp(min=1e-9)  # column inside row
    if proposals.classes is not None:
        same &= proposals.classes[:, None] == proposals.classes
    same, keep = same.cpu(), torch.ones(len(proposals), dtype=torch.bool)
    for row in range(len(proposals)):
        if keep[row]:
            keep[row + 1 :] &= ~same[row, row + 1 :]
    return proposals[keep.to(proposals.boxes.device)]


def _overlaps(proposals: Proposals) -> tuple[Tensor, Tensor]:
    """Areas of intersection (N, N) and own areas (N,) of the masks, or of the boxes where there are none."""
    if proposals.masks is not None:
        flat = proposals.masks.flatten(1).float()
        shared = flat @ flat.T
        return shared, shared.diagonal()
    boxes = proposals.boxes
    inner = torch.minimum(boxes[:, None, 2:], boxes[:, 2:]) - torch.maximum(boxes[:, None, :2], boxes[:, :2])
    return inner.clamp(min=0).prod(-1), (boxes[:, 2:] - boxes[:, :2]).prod(-1)


def _placed(proposals: Proposals, window: Tensor, size: tuple[int, int]) -> Proposals:
    """Proposals of a tile in the pixels of the image, without those that the tile's border cuts."""
    height, width = size
    left, top, right, bottom = window.tolist()
    if proposals.masks is not None and tuple(proposals.masks.shape[1:]) != (bottom - top, right - left):
        found = tuple(proposals.masks.shape[1:])
        raise DetectorError(f"the detector gave masks of {found} pixels for a tile of {(bottom - top, right - left)}")
    boxes = proposals.boxes + proposals.boxes.new_tensor([left, top, left, top])
    x1, y1, x2, y2 = boxes.unbind(1)
    cut = (x1 < left + CUT) & (left > 0) | (x2 > right - CUT) & (right < width)
    cut |= (y1 < top + CUT) & (top > 0) | (y2 > bottom - CUT) & (bottom < height)
    masks = proposals.masks
    if masks is not None:
        masks = torch.nn.functional.pad(masks, (left, width - right, top, height - bottom))
    return Proposals(**{**vars(proposals), "boxes": boxes, "masks": masks})[~cut]

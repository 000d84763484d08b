"""What a target's cells are taught, and what a memory is told: Gaussian maps, distances to the box, positive cells.

Cell (i, j) of a grid is the square of ``stride`` pixels at (i, j) * ``stride``; its middle stands for it.  Boxes are
xyxy in pixels of the view or image that the grid covers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cell_middles(size: tuple[int, int], stride: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels of the middles of cells: x (w,) and y (h,), on the device and of the type of ``like``."""
    height, width = size
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) * stride
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) * stride
    return x, y


def gaussian_maps(
    boxes: Tensor, size: tuple[int, int], stride: float, sigma: float | Tensor, snapped: bool = False
) -> Tensor:
    """Gaussian maps round the middles of boxes.

    Args:
        boxes: (..., 4).
        size: (h, w) cells.
        stride: Pixels of a cell.
        sigma: Standard deviation in cells; (...) for one a box.
        snapped: Whether the peak is moved to the middle of its cell, where the map is then exactly 1.

    Returns:
        (..., h, w) in [0, 1].
    """
    x, y = cell_middles(size, stride, boxes)
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    if snapped:
        middle = ((middle / stride).floor() + 0.5) * stride
    away_x = (x - middle[..., :1]) / stride
    away_y = (y - middle[..., 1:]) / stride
    spread = torch.as_tensor(sigma, dtype=boxes.dtype, device=boxes.device)[..., None]
    return (-(away_y**2) / (2 * spread**2)).exp()[..., :, None] * (-(away_x**2) / (2 * spread**2)).exp()[..., None, :]


def heat_maps(boxes: Tensor, size: tuple[int, int], stride: float, overlap: float = 0.7) -> Tensor:
    """Gaussian maps as wide as the box may be off (CenterNet; sigma = (2 r + 1) / 6), exactly 1 in the middle's cell.

    Args:
        boxes: (..., 4).
        size: (h, w) cells.
        stride: Pixels of a cell.
        overlap: Least IoU of a box whose corners are off by the radius r.

    Returns:
        (..., h, w) in [0, 1].
    """
    sides = (boxes[..., 2:] - boxes[..., :2]) / stride
    return gaussian_maps(boxes, size, stride, (2 * corner_radius(sides, overlap).floor() + 1) / 6, snapped=True)


def corner_radius(sides: Tensor, overlap: float) -> Tensor:
    """How far corners may move along both axes so that the IoU with the box stays at ``overlap`` (CornerNet, sec. 3.2).

    The smallest of three cases: both corners move alike, both inwards, both outwards.

    Args:
        sides: (..., 2) of boxes.
        overlap: IoU in (0, 1).

    Returns:
        (...) in units of the sides.
    """
    total, area = sides.sum(-1), sides.prod(-1)
    alike = (total - (total**2 - 4 * area * (1 - overlap) / (1 + overlap)).clamp(min=0).sqrt()) / 2
    inwards = (total - (total**2 - 4 * area * (1 - overlap)).clamp(min=0).sqrt()) / 4
    outwards = ((total**2 + 4 * area * (1 - overlap) / overlap).sqrt() - total) / 4
    return torch.minimum(torch.minimum(alike, inwards), outwards)


def ltrb_maps(boxes: Tensor, size: tuple[int, int], stride: float, unit: float) -> Tensor:
    """Distances of the cells' middles to the left, top, right and bottom side of a box; negative beyond a side.

    Args:
        boxes: (..., 4).
        size: (h, w) cells.
        stride: Pixels of a cell.
        unit: Pixels that count as 1: the side of a view.

    Returns:
        (..., 4, h, w).
    """
    x, y = cell_middles(size, stride, boxes)
    left, top, right, bottom = (side[..., None, None] for side in boxes.unbind(-1))
    x, y = x.expand(size), y[:, None].expand(size)
    return torch.stack([x - left, y - top, right - x, bottom - y], -3) / unit


def positive_cells(boxes: Tensor, size: tuple[int, int], stride: float, radius: float = 1.0) -> Tensor:
    """Cells that are to give the box: in the box and near its middle (FCOS' centre sampling), at least the nearest one.

    Args:
        boxes: (..., 4).
        size: (h, w) cells.
        stride: Pixels of a cell.
        radius: Largest distance from the middle along either axis, in cells.

    Returns:
        (..., h, w) bool; none where the middle lies outside the grid.
    """
    inside = (ltrb_maps(boxes, size, stride, 1.0) > 0).all(-3)
    x, y = cell_middles(size, stride, boxes)
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    away_x, away_y = (x - middle[..., :1]).abs() / stride, (y - middle[..., 1:]).abs() / stride
    near = (away_y <= radius)[..., :, None] & (away_x <= radius)[..., None, :]
    nearest = (away_y <= 0.5)[..., :, None] & (away_x <= 0.5)[..., None, :]
    return (inside & near) | nearest

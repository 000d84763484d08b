"""Features of images for point tracking, and their correlation with those of the points."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu, normalize, pad

from geometry.layers import SLOPE, Convolutions, initialise, pad_to, standardised

STRIDE = 4
"""Of the finest features, pixels."""

LEVELS = 3
"""Of the pyramid, each half the resolution of the one before."""

REACH = 3
"""Cells round a position that are compared, at each level."""

AROUND = 1
"""Cells round a point that describe it, at each level."""

_SHARP = 4.0
"""Factor of the products of unit vectors."""


class PointEncoder(nn.Module):
    """Features at a quarter of the resolution: a small convolutional network with one coarser branch.

    Args:
        channels: At 1/2, at 1/4 and at 1/8 of the resolution.
        dim: Of the features.
    """

    def __init__(self, channels: tuple[int, int, int] = (24, 48, 64), dim: int = 48) -> None:
        super().__init__()
        self.first = Convolutions(3, channels[0], channels[0], stride=2)
        self.second = Convolutions(channels[0], channels[1], channels[1], stride=2)
        self.third = Convolutions(channels[1], channels[2], channels[2], stride=2)
        self.mixed = nn.Conv2d(channels[1] + channels[2], channels[1], 3, 1, 1)
        self.out = nn.Conv2d(channels[1], dim, 1)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Features of unit length (B, D, h, w) of images (B, 3, H, W) in [0, 1]; h and w are rounded up."""
        whole = standardised(pad_to(images, STRIDE)).contiguous(memory_format=torch.channels_last)  # faster
        quarter = self.second(self.first(whole))
        coarse = interpolate(self.third(quarter), quarter.shape[-2:], mode="bilinear", align_corners=False)
        found = self.out(leaky_relu(self.mixed(torch.cat([quarter, coarse], 1)), SLOPE))
        return normalize(found - found.mean((2, 3), keepdim=True), dim=1)


class Level(NamedTuple):
    """One resolution of the features of F frames, ready to be looked up.

    Args:
        rows: (F * (h + 2 m) * (w + 2 m), D), row by row, with a margin of m zeros.
        size: (h, w).
    """

    rows: Tensor
    size: tuple[int, int]


_MARGIN = REACH + 2


def pyramid(features: Tensor) -> list[Level]:
    """`LEVELS` resolutions of features (F, D, h, w)."""
    levels = []
    for number in range(LEVELS):
        if number:
            features = avg_pool2d(features, 2, ceil_mode=True)
        padded = pad(features.permute(0, 2, 3, 1), (0, 0, *(_MARGIN,) * 4))
        levels.append(Level(padded.reshape(-1, padded.shape[-1]), (features.shape[2], features.shape[3])))
    return levels


def _lattice(level: Level, frames: Tensor, cells: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Features (..., (2 r + 2)^2, D) of the cells round positions, and where between them the positions lie (..., 2).

    Args:
        level: To look up.
        frames: (...) numbers of the frames.
        cells: (..., 2) x and y in cells, the middle of the first at 0.
        reach: r.
    """
    height, width = level.size
    limit = cells.new_tensor([width, height])
    cells = torch.minimum(cells.nan_to_num(-9.0).clamp(min=-2.0), limit + 1)
    base = cells.floor()
    fraction = cells - base
    offsets = torch.arange(-reach, reach + 2, device=cells.device)
    x = (base[..., 0].long()[..., None] + offsets + _MARGIN).clamp(0, width + 2 * _MARGIN - 1)
    y = (base[..., 1].long()[..., None] + offsets + _MARGIN).clamp(0, height + 2 * _MARGIN - 1)
    row = (frames[..., None] * (height + 2 * _MARGIN) + y) * (width + 2 * _MARGIN)
    index = row[..., :, None] + x[..., None, :]
    found = level.rows.index_select(0, index.flatten())
    return found.view(*index.shape[:-2], -1, found.shape[-1]), fraction


def _blended(values: Tensor, fraction: Tensor) -> Tensor:
    """Values (..., s, s, C) on a lattice, between whose points the positions lie (..., 2): (..., s - 1, s - 1, C)."""
    fx, fy = fraction[..., 0, None, None, None], fraction[..., 1, None, None, None]
    rows = torch.lerp(values[..., :-1, :, :], values[..., 1:, :, :], fy)
    return torch.lerp(rows[..., :-1, :], rows[..., 1:, :], fx)


def _cells(positions: Tensor, level: int) -> Tensor:
    """Pixels to cells of a level, the middle of the first at 0."""
    return positions / (STRIDE * 2**level) - 0.5


def describe(levels: list[Level], frames: Tensor, positions: Tensor) -> Tensor:
    """What points look like: (N, L, 9, D) features round positions (N, 2) in pixels of frames (N,)."""
    described = []
    for number, level in enumerate(levels):
        found, fraction = _lattice(level, frames, _cells(positions, number), AROUND)
        side = 2 * AROUND + 2
        blended = _blended(found.unflatten(-2, (side, side)), fraction)
        described.append(blended.flatten(-3, -2))
    return torch.stack(described, -3)


def correlate(levels: list[Level], frames: Tensor, positions: Tensor, descriptions: Tensor) -> Tensor:
    """Scalar products of points with what is round their supposed positions.

    Each of the cells that describe a point is compared with each cell round the position (LocoTrack, Cho et al., 2024),
    so that not only alike texture but the same arrangement of it is found.

    Args:
        levels: Of `pyramid`.
        frames: (..., T) numbers of the frames.
        positions: (..., T, 2) pixels; no gradient reaches them.
        descriptions: (..., L, 9, D) of `describe`.

    Returns:
        (..., T, L, 9 * 49).
    """
    positions = positions.detach()
    found = []
    for number, level in enumerate(levels):
        around, fraction = _lattice(level, frames, _cells(positions, number), REACH)
        products = around.flatten(-3, -2) @ (_SHARP * descriptions[..., number, :, :]).transpose(-1, -2)
        side = 2 * REACH + 2
        found.append(_blended(products.unflatten(-2, (-1, side, side)), fraction).flatten(-3))
    return torch.stack(found, -2)


def aligned(products: Tensor) -> Tensor:
    """How well the surroundings of a point fit at each shift: the products of cells that lie alike, summed.

    Args:
        products: (..., L, 9 * 49) of `correlate`.

    Returns:
        (..., L, 25) of the shifts by up to two cells, row by row.
    """
    side, around = 2 * REACH + 1, 2 * AROUND + 1
    table = products.unflatten(-1, (side, side, around**2))
    count = side - 2 * AROUND
    parts = [table[..., y : y + count, x : x + count, y * around + x] for y in range(around) for x in range(around)]
    return torch.stack(parts, -1).sum(-1).flatten(-2)


def shifts(device: torch.device) -> Tensor:
    """(25, 2) x and y of the shifts of `aligned`, cells."""
    steps = torch.arange(-(REACH - AROUND), REACH - AROUND + 1, dtype=torch.float32, device=device)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)

"""Edge-aware averaging of uncertain inverse depth.

Inverse depth is linear in the pixel on every plane, so that a symmetric average does not bend it.  A few passes with a
5 x 5 kernel of growing spacing reach far at little cost (the "a trous" scheme).  A neighbour counts by its information,
by how much its colour is alike, and by how well the two inverse depths agree within their deviations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_KERNEL = np.array([1, 4, 6, 4, 1]) / 16


def _shift(field: NDArray, row: int, column: int) -> NDArray:
    """The neighbour at an offset, with repeated borders."""
    height, width = field.shape[:2]
    rows = np.clip(np.arange(height) + row, 0, height - 1)
    columns = np.clip(np.arange(width) + column, 0, width - 1)
    return field[rows[:, None], columns]


def smooth_inverse_depth(
    w: NDArray,
    deviation: NDArray,
    guide: NDArray | None,
    spacings: tuple[int, ...] = (1, 2, 4),
    colour: float = 0.08,
    agreement: float = 2.0,
    correlated: float = 6.0,
) -> tuple[NDArray, NDArray]:
    """Average inverse depth where neighbours are likely of one surface.

    Args:
        w: (H, W) inverse depth, of any sign.
        deviation: (H, W) its standard deviation, infinite where there is none.
        guide: (H, W, C) image in [0, 1], or None.
        spacings: Pixels between the kernel's taps, one pass each.
        colour: Difference of colour that counts as an edge.
        agreement: Deviations of difference that count as an edge.
        correlated: Pixels whose flow errors are alike, along each axis; the result's deviation allows for them.

    Returns:
        The smoothed inverse depth and its deviation.
    """
    information = 1 / deviation**2
    for spacing in spacings:
        total, mass = np.zeros_like(w), np.zeros_like(w)
        variance = 1 / np.maximum(information, 1e-30)
        for i, row in enumerate(range(-2, 3)):
            for j, column in enumerate(range(-2, 3)):
                offset = row * spacing, column * spacing
                other, theirs = _shift(w, *offset), _shift(information, *offset)
                difference = (other - w) ** 2 / (agreement**2 * (variance + 1 / np.maximum(theirs, 1e-30)))
                if guide is not None:
                    difference = difference + ((_shift(guide, *offset) - guide) ** 2).sum(-1) / colour**2
                weight = _KERNEL[i] * _KERNEL[j] * np.exp(-0.5 * difference) * theirs
                total += weight * other
                mass += weight
        w = np.where(mass > 0, total / np.maximum(mass, 1e-30), w)
        gain = np.clip((2.0 * spacing / correlated) ** 2, 1.0, None)
        information = mass * gain
    return w, 1 / np.sqrt(np.maximum(information, 1e-30))

"""Edge-aware averaging of uncertain inverse depth.

Inverse depth is linear in the pixel on every plane, so that a symmetric average does not bend it.  A few passes with a
5 x 5 kernel of growing spacing reach far at little cost (the "a trous" scheme).  A neighbour counts by its information,
by how much its colour is alike, and by how well the two inverse depths agree within their deviations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_KERNEL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
SPACINGS = (1, 2, 4)
"""Pixels between the taps of the kernel, one pass each."""

CORRELATED = 6.0
"""Pixels whose flow errors are alike."""


def smooth_inverse_depth(
    w: NDArray,
    deviation: NDArray,
    guide: NDArray | None,
    spacings: tuple[int, ...] = SPACINGS,
    colour: float = 0.08,
    agreement: float = 2.0,
    correlated: float = CORRELATED,
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
        The smoothed inverse depth and its deviation, float32.
    """
    w, information = w.astype(np.float32), (1 / deviation**2).astype(np.float32)
    height, width = w.shape
    channels = () if guide is None else tuple(np.float32(guide[..., c] / colour) for c in range(guide.shape[2]))
    for spacing in spacings:
        total, mass = np.zeros_like(w), np.zeros_like(w)
        variance = 1 / np.maximum(information, 1e-30)
        padded = [np.pad(field, 2 * spacing, mode="edge") for field in (w, information, variance, *channels)]
        for i, top in enumerate(range(0, 5 * spacing, spacing)):
            for j, left in enumerate(range(0, 5 * spacing, spacing)):
                there = slice(top, top + height), slice(left, left + width)
                other, theirs, uncertain, *colours = (field[there] for field in padded)
                difference = np.square(other - w)
                difference /= agreement**2 * (variance + uncertain)
                if channels:
                    apart = np.square(colours[0] - channels[0])
                    for shifted, channel in zip(colours[1:], channels[1:]):
                        apart += np.square(shifted - channel)
                    difference += apart
                difference *= -0.5
                weight = np.exp(difference, out=difference)
                weight *= _KERNEL[i] * _KERNEL[j]
                weight *= theirs
                mass += weight
                weight *= other
                total += weight
        w = np.where(mass > 0, total / np.maximum(mass, 1e-30), w)
        gain = np.clip((2.0 * spacing / correlated) ** 2, 1.0, None)
        information = mass * gain
    return w, 1 / np.sqrt(np.maximum(information, 1e-30))

"""Tileable noise and mip pyramids."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def lattice_noise(rng: np.random.Generator, size: int, across: int, down: int) -> NDArray[np.float32]:
    """One octave of smooth noise: (size, size) in about [0, 1], tileable, ``across`` x ``down`` random cells."""
    across, down = min(across, size), min(down, size)
    grid = rng.random((down, across), dtype=np.float32)
    rows, columns = np.arange(-2, down + 2) % down, np.arange(-2, across + 2) % across
    step_x, step_y = size // across, size // down
    big = cv2.resize(
        grid[rows[:, None], columns], ((across + 4) * step_x, (down + 4) * step_y), interpolation=cv2.INTER_CUBIC
    )
    return big[2 * step_y : 2 * step_y + size, 2 * step_x : 2 * step_x + size]


def fractal_noise(
    rng: np.random.Generator, size: int, cells: int, octaves: int, persistence: float = 0.55, stretch: int = 1
) -> NDArray[np.float32]:
    """Multi-octave noise, tileable.

    Args:
        rng: Source of randomness.
        size: Side in texels, a power of two.
        cells: Random cells across the first octave, a power of two; each octave doubles it.
        octaves: How many octaves, ended early at one cell per texel.
        persistence: Amplitude of an octave relative to the one before.
        stretch: How many times longer than wide the grains are (a power of two).

    Returns:
        (size, size) float32, stretched to exactly [0, 1].
    """
    total = np.zeros((size, size), np.float32)
    weight = 1.0
    for octave in range(octaves):
        across = cells << octave
        if across > size:
            break
        total += np.float32(weight) * lattice_noise(rng, size, across, max(1, across // stretch))
        weight *= persistence
    low, high = float(total.min()), float(total.max())
    return (total - np.float32(low)) * np.float32(1.0 / max(high - low, 1e-6))


def step(field: NDArray, edge: float, texels: float) -> NDArray[np.float32]:
    """A soft threshold of ``field`` at ``edge``: 0 below, 1 above, a ramp of ``1 / texels`` of the field's unit."""
    return np.clip((field - np.float32(edge)) * np.float32(texels) + np.float32(0.5), 0.0, 1.0, dtype=np.float32)


def pyramid(texture: NDArray[np.uint8], smallest: int = 8) -> tuple[NDArray[np.uint8], ...]:
    """Mip levels by area averaging, the given texture first, each half the side of the one before."""
    levels = [np.ascontiguousarray(texture)]
    while min(levels[-1].shape[:2]) > smallest:
        height, width = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return tuple(levels)

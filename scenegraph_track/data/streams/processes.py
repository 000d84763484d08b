"""Random processes in time that the simulator is made of."""

from __future__ import annotations

import numpy as np


def smooth_noise(rng: np.random.Generator, times: np.ndarray, scale: float, channels: int) -> np.ndarray:
    """Return smooth random curves of about unit variance (cubic through normal knots).

    Args:
        rng: Source of randomness.
        times: Increasing times in seconds, shape (T,), from 0 on.
        scale: Distance of the knots in seconds.
        channels: Number of independent curves C.

    Returns:
        Values, shape (T, C).
    """
    place = times / scale
    knots = rng.standard_normal((int(place[-1]) + 4, channels))
    index = place.astype(int)
    u = (place - index)[:, None]
    before, a, b, after = (knots[index + k] for k in range(4))
    slope_a, slope_b = (b - before) / 2, (after - a) / 2
    cubic = (2 * u - 3) * u * u
    return a * (1 + cubic) - b * cubic + slope_a * u * (1 - u) ** 2 - slope_b * u * u * (1 - u)


def autoregressive(
    rng: np.random.Generator, frames: int, correlation_frames: np.ndarray, channels: int | None = None
) -> np.ndarray:
    """Return first-order autoregressive noise of unit variance.

    Args:
        rng: Source of randomness.
        frames: Number of frames T.
        correlation_frames: Frames after which the correlation has fallen to 1/e, shape (C,) or (P, 1).
        channels: If given, the processes are (P, channels).

    Returns:
        Values, shape (T, C) or (T, P, channels).
    """
    keep = np.exp(-1 / np.maximum(correlation_frames, 1e-6))
    shape = keep.shape if channels is None else (keep.shape[0], channels)
    values = rng.standard_normal((frames, *shape))
    fresh = np.sqrt(1 - keep**2)
    values[1:] *= fresh
    for t in range(1, frames):
        values[t] += keep * values[t - 1]
    return values

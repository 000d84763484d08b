"""Constant-velocity Kalman filters for many tracks at once, and the bank that fits its noise to the sequence.

Position and velocity of one coordinate form a filter with state covariance ``[[a, b], [b, c]]``, kept as its three
numbers.  With white acceleration of density ``q^2`` the prediction over ``dt`` is::

    x' = x + v dt            a' = a + 2 b dt + c dt^2 + q^2 dt^3 / 3
    v' = v                   b' = b + c dt + q^2 dt^2 / 2
                             c' = c + q^2 dt

(Bar-Shalom, Li, Kirubarajan, *Estimation with Applications to Tracking and Navigation*, section 6.2).
"""

from __future__ import annotations

import numpy as np

BANK = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Process noise of the filters of the bank, as multiples of ``MotionSettings.acceleration``."""

HORIZON = 0.4
"""Seconds ahead over which the filters of the bank are compared: about the length of a short occlusion."""

_PRIOR_COUNT = 20.0
_PRIOR_SLOPE = 0.008
_WORST = 0.5


def predict(
    position: np.ndarray, velocity: np.ndarray, covariance: np.ndarray, noise: np.ndarray, dt: float
) -> tuple[np.ndarray, np.ndarray]:
    """Move filters ahead by ``dt`` seconds.

    Args:
        position: (..., 2) pixels.
        velocity: (..., 2) pixels per second.
        covariance: (..., 3) shared by both axes.
        noise: (...,) standard deviation of the acceleration, pixels / s^1.5.
        dt: Seconds.

    Returns:
        The new position and covariance; the velocity stays.
    """
    a, b, c = covariance[..., 0], covariance[..., 1], covariance[..., 2]
    q = noise * noise
    moved = np.stack([a + dt * (2 * b + dt * c) + q * (dt**3 / 3), b + dt * c + q * (dt**2 / 2), c + q * dt], axis=-1)
    return position + velocity * dt, moved


def update(
    position: np.ndarray, velocity: np.ndarray, covariance: np.ndarray, measured: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correct filters by measured positions.

    Args:
        position: (..., 2) pixels.
        velocity: (..., 2) pixels per second.
        covariance: (..., 3).
        measured: (..., 2) pixels.
        noise: (...,) standard deviation of the measurement in pixels.

    Returns:
        The corrections of position and velocity, both (..., 2), and the new covariance (..., 3).
    """
    a, b, c = covariance[..., 0], covariance[..., 1], covariance[..., 2]
    total = a + noise * noise
    gain, gain_velocity = a / total, b / total
    innovation = measured - position
    new = np.stack([a * (1 - gain), b * (1 - gain), c - gain_velocity * b], axis=-1)
    return gain[..., None] * innovation, gain_velocity[..., None] * innovation, new


def start_errors() -> np.ndarray:
    """(G,) what the filters' errors count before anything was seen: a weak preference for the middle of the bank."""
    middle = len(BANK) // 2
    return _PRIOR_COUNT * _PRIOR_SLOPE * np.abs(np.arange(len(BANK)) - middle).astype(np.float64)


def chosen_filter(errors: np.ndarray) -> int:
    """The filter of the bank whose predictions were nearest to what was then detected."""
    return int(errors.argmin())


def prediction_errors(
    mark: np.ndarray, mark_velocity: np.ndarray, elapsed: np.ndarray, measured: np.ndarray, height: np.ndarray
) -> np.ndarray:
    """How far each filter's old prediction is from what was detected, summed over tracks.

    Args:
        mark: (M, G, 2) centres some time ago.
        mark_velocity: (M, G, 2) velocities then, pixels per second.
        elapsed: (M,) seconds since.
        measured: (M, 2) detected centres now.
        height: (M,) heights of the objects in pixels.

    Returns:
        (G,) sums of errors in heights; one track's error counts at most 0.5.
    """
    there = mark + mark_velocity * elapsed[:, None, None]
    error = np.abs(measured[:, None] - there).max(-1) / height[:, None]
    return np.minimum(error, _WORST).sum(0)

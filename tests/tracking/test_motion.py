"""The Kalman filters against plain matrices, and the bank that adapts to the sequence."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.config import TrackerSettings, load_config
from scenegraph_track.tracking import motion
from scenegraph_track.tracking.reference import associate, start_state
from scenegraph_track.tracking.situation import prepare


def textbook(x: np.ndarray, p: np.ndarray, q: float, r: float, steps: list[tuple[float, np.ndarray | None]]):
    """Constant velocity in the plane, state (x, y, vx, vy), with 4x4 matrices."""
    h = np.eye(2, 4)
    for dt, measured in steps:
        f = np.eye(4)
        f[0, 2] = f[1, 3] = dt
        noise = q**2 * np.kron([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]], np.eye(2))
        x, p = f @ x, f @ p @ f.T + noise
        if measured is not None:
            gain = p @ h.T @ np.linalg.inv(h @ p @ h.T + r**2 * np.eye(2))
            x, p = x + gain @ (measured - h @ x), (np.eye(4) - gain @ h) @ p
    return x, p


def test_equals_the_textbook_filter() -> None:
    # Three tracks at once, with uneven steps and missing measurements.
    rng = np.random.default_rng(0)
    times = rng.uniform(0.02, 0.5, 30)
    steps = [(dt, None if k % 4 == 3 else rng.normal(size=(3, 2)) * 20) for k, dt in enumerate(times)]
    q, r = np.array([0.5, 3.0, 20.0]), np.array([1.0, 4.0, 0.2])
    position, velocity = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    covariance = np.tile([25.0, 2.0, 9.0], (3, 1))
    before = position, velocity
    for dt, measured in steps:
        position, covariance = motion.predict(position, velocity, covariance, q, dt)
        if measured is not None:
            by, by_velocity, covariance = motion.update(position, velocity, covariance, measured, r)
            position, velocity = position + by, velocity + by_velocity
    for k in range(3):
        start = np.concatenate([before[0][k], before[1][k]])
        p = np.kron([[25.0, 2.0], [2.0, 9.0]], np.eye(2))
        own = [(dt, None if m is None else m[k]) for dt, m in steps]
        x, p = textbook(start, p, q[k], r[k], own)
        assert np.allclose(np.concatenate([position[k], velocity[k]]), x, rtol=1e-9)
        assert np.allclose(covariance[k], [p[0, 0], p[0, 2], p[2, 2]], rtol=1e-9)
        assert np.allclose(covariance[k], [p[1, 1], p[1, 3], p[3, 3]], rtol=1e-9)


def test_two_small_steps_are_one_large_step() -> None:
    # The process noise is that of a continuous model, so that frame rate does not matter.
    position, velocity, covariance = np.zeros((1, 2)), np.ones((1, 2)), np.array([[4.0, 1.0, 2.0]])
    half, halved = motion.predict(position, velocity, covariance, np.array([3.0]), 0.1)
    twice = motion.predict(half, velocity, halved, np.array([3.0]), 0.1)
    once = motion.predict(position, velocity, covariance, np.array([3.0]), 0.2)
    assert all(np.allclose(a, b) for a, b in zip(twice, once))
    same, kept = motion.predict(position, velocity, covariance, np.array([3.0]), 0.0)
    assert np.array_equal(same, position) and np.array_equal(kept, covariance)


def test_covariance_stays_positive_over_a_long_life() -> None:
    position, velocity, covariance = np.zeros((1, 2)), np.zeros((1, 2)), np.array([[1.0, 0.0, 1.0]])
    for _ in range(2000):
        position, covariance = motion.predict(position, velocity, covariance, np.array([0.01]), 0.04)
        _, _, covariance = motion.update(position, velocity, covariance, position, np.array([5.0]))
    a, b, c = covariance[0]
    assert a > 0 and c > 0 and a * c > b * b


def test_start_prefers_the_middle_of_the_bank() -> None:
    assert motion.chosen_filter(motion.start_errors()) == len(motion.BANK) // 2


def test_prediction_errors_are_in_heights_and_bounded() -> None:
    mark = np.zeros((1, 2, 2))
    velocity = np.array([[[10.0, 0.0], [0.0, 0.0]]])
    errors = motion.prediction_errors(mark, velocity, np.array([0.5]), np.array([[5.0, 0.0]]), np.array([50.0]))
    assert errors == pytest.approx([0.0, 0.1])
    far = motion.prediction_errors(mark, velocity, np.array([0.5]), np.array([[5e6, 0.0]]), np.array([50.0]))
    assert far == pytest.approx([0.5, 0.5])


def bank_after(path: np.ndarray, noise: float, settings: TrackerSettings, seed: int = 0) -> int:
    """The filter that is chosen after six objects, far apart, moved along ``path`` (T, 6, 2) at 25 frames/s."""
    rng = np.random.default_rng(seed)
    state = start_state()
    for t, centre in enumerate(path):
        centre = centre + rng.normal(scale=noise, size=centre.shape)
        half = np.array([20, 50])
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        state, _ = associate(prepare(state, settings, t / 25, boxes, np.full(6, 0.9)))
    assert state.next_id == 7  # nobody was lost
    return motion.chosen_filter(state.filter_errors)


def walkers() -> np.ndarray:
    t = np.arange(200)[:, None, None] / 25
    start = np.stack([np.arange(6) * 800.0, np.full(6, 500.0)], axis=-1)
    return start + t * np.array([[60, 5], [-60, 0], [40, -5], [-40, 5], [50, 0], [-50, 0]])


def dancers() -> np.ndarray:
    # Turning round within a second: constant velocity holds for moments only.
    t = np.arange(200)[:, None] / 25
    phase = np.arange(6)
    swing = np.stack([30 * np.sin(4 * t + phase), 10 * np.cos(3.2 * t + 2 * phase)], axis=-1)
    return np.stack([np.arange(6) * 800.0, np.full(6, 500.0)], axis=-1) + swing


def test_bank_is_calm_for_straight_walkers_and_quick_for_dancers() -> None:
    settings = load_config().tracker
    middle = len(motion.BANK) // 2
    assert bank_after(walkers(), 3.0, settings) < middle < bank_after(dancers(), 0.5, settings)


def test_bank_stays_in_the_middle_when_told_not_to_adapt() -> None:
    settings = load_config("reference", ["tracker.motion.adapt=false"]).tracker
    middle = len(motion.BANK) // 2
    assert bank_after(walkers(), 3.0, settings) == bank_after(dancers(), 0.5, settings) == middle

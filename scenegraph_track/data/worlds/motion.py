"""Ways to move: displacement along and across a heading, height above the ground, and deformation, all over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Curve = Callable[[NDArray], NDArray]


@dataclass(frozen=True)
class Track:
    """A way to move, before it is placed in the world.

    Args:
        word: A key of `PATHS`, or "still".
        family: A family of that word, or "still".
        plane: Times (T,) in seconds to (T, 2) metres ahead and to the left of the heading.
        lift: Times (T,) to (T,) metres above the resting height, at least 0.
        turns: Whether the body turns with the path's direction.
    """

    word: str
    family: str
    plane: Curve
    lift: Curve
    turns: bool = False


def _along(distance: Curve) -> Curve:
    return lambda t: np.stack([distance(t), np.zeros_like(t)], -1)


def _ground(t: NDArray) -> NDArray:
    return np.zeros_like(t)


def _stops(rng: np.random.Generator, speed: float, duration: float, count: int) -> Curve:
    """Distance travelled with ``count`` stops that begin and end within 0.3 s."""
    centres = np.sort(rng.uniform(0.1, 0.9, count)) * duration
    lengths = rng.uniform(0.15, 0.35, count) * duration / max(1.0, count / 2)
    clock = np.linspace(-duration, 2 * duration, 600)
    rate = np.ones_like(clock)
    for centre, length in zip(centres, lengths):
        rate *= np.clip((np.abs(clock - centre) - length / 2) / 0.15, 0, 1)
    travelled = np.concatenate([[0], np.cumsum(rate[:-1] * np.diff(clock))]) * speed
    return lambda t: np.interp(t, clock, travelled)


def _zigzag(t: NDArray, period: float) -> NDArray:
    """Triangle wave between 0 and 1 with rounded corners."""
    phase = 2 * np.pi * t / period
    return 0.5 - np.arcsin(0.97 * np.cos(phase)) / np.arcsin(0.97) / 2


def sample_track(rng: np.random.Generator, word: str, family: str, speed: float, duration: float) -> Track:
    """Draw a way to move.

    Args:
        rng: Source of randomness.
        word: A key of `PATHS`, or "still".
        family: A family of that word, or "still".
        speed: Usual speed, metres per second.
        duration: Length of the clip in seconds: stops and turns fall inside it.

    Returns:
        The motion, defined for all times.
    """
    u, period = rng.uniform, rng.uniform(1.6, 4.0)
    phase, side = u(0, 2 * np.pi), rng.choice([-1.0, 1.0])
    lift: Curve = _ground
    turns = False
    match family:
        case "straight":
            plane = _along(lambda t: speed * t)
        case "accelerating":
            gain = speed * side * u(0.3, 0.6) / max(duration, 1.0)
            plane = _along(lambda t: speed * t + gain * (t - duration / 2) ** 2)
        case "pulsing":
            plane = _along(lambda t: speed * (t + 0.8 * period / (2 * np.pi) * np.sin(2 * np.pi * t / period + phase)))
        case "arc":
            radius, turns = side * u(1.0, 4.0), True
            plane = lambda t: radius * np.stack([np.sin(speed * t / radius), 1 - np.cos(speed * t / radius)], -1)  # noqa: E731
        case "s_curve":
            sway, turns = side * u(0.2, 0.5) * speed * period / (2 * np.pi), True
            plane = lambda t: np.stack([speed * t, sway * np.sin(2 * np.pi * t / period)], -1)  # noqa: E731
        case "loop":
            radius, turns = side * u(0.5, 1.2), True
            plane = lambda t: np.stack(  # noqa: E731
                [radius * np.sin(speed * t / radius) + 0.3 * speed * t, radius * (1 - np.cos(speed * t / radius))], -1
            )
        case "one_stop" | "two_stops" | "random_stops":
            count = {"one_stop": 1, "two_stops": 2, "random_stops": 4}[family]
            plane = _along(_stops(rng, 1.4 * speed, duration, count))
        case "hops" | "long_hops" | "damped_hops":
            plane = _along(lambda t: speed * t)
            beat = u(0.45, 0.7) if family == "hops" else u(0.8, 1.1)
            height = min(9.81 / 8 * beat**2, 0.9)
            decay = u(0.15, 0.4) if family == "damped_hops" else 0.0
            lift = lambda t: (  # noqa: E731
                height * np.exp(-decay * np.abs(t)) * (1 - (2 * ((t / beat + phase) % 1) - 1) ** 2)
            )
        case "there_and_back":
            turn = duration * u(0.35, 0.65)
            plane = _along(lambda t: speed * (turn - np.sqrt((t - turn) ** 2 + 0.02)))
        case "shuttle":
            span = speed * period / 2
            plane = _along(lambda t: span * 0.5 * np.sin(2 * np.pi * t / period + phase))
        case "zigzag":
            plane = lambda t: np.stack([speed * t, 0.9 * side * _zigzag(t + phase, period / 2)], -1)  # noqa: E731
        case _:
            word, family = "still", "still"
            plane = lambda t: np.zeros((*t.shape, 2))  # noqa: E731
    return Track(word, family, plane, lift, turns)


def delayed(track: Track, seconds: float) -> Track:
    """The same motion some time later: what a follower does."""
    return Track(
        track.word, track.family, lambda t: track.plane(t - seconds), lambda t: track.lift(t - seconds), track.turns
    )


def sample_bend(rng: np.random.Generator, times: NDArray, height: float) -> NDArray[np.float64]:
    """Swaying of a flat body, (T, 2) metres of shear and of curve at its top; the foot stays where it is."""
    hertz = rng.uniform(0.3, 1.1, 2)
    amount = height * np.array([rng.uniform(0.04, 0.14), rng.uniform(0.04, 0.16)])
    return amount * np.sin(2 * np.pi * (hertz * times[:, None] + rng.random(2)))


def sample_squash(rng: np.random.Generator, times: NDArray) -> NDArray[np.float64]:
    """Breathing of a body: (T, 3) factors about 1 along its axes, keeping the volume."""
    wave = rng.uniform(0.03, 0.10) * np.sin(2 * np.pi * (rng.uniform(0.4, 1.4) * times + rng.random()))
    return np.stack([1 + wave, 1 / (1 + wave) ** 2, 1 + wave], -1)

"""Procedural textures of objects: a pattern of two colours, rich enough to be tracked, tileable."""

from __future__ import annotations

import colorsys
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.families import COLOURS
from scenegraph_track.data.worlds.noise import fractal_noise, step

_LETTERS = "ABCDEFGHKLMNPRSTUVXYZ"
_WORDS = ("GO", "TAXI", "CAFE", "BUS", "OPEN", "ZOO", "HELLO", "EXIT", "SALE", "NORTH", "FLY", "MUSIC")


def named_colour(rng: np.random.Generator, name: str) -> NDArray[np.float32]:
    """A random RGB colour in [0, 255] that people call ``name`` (a key of `COLOURS`)."""
    (h0, s0, v0), (h1, s1, v1) = COLOURS[name]
    hue, saturation, value = rng.uniform(h0, h1), rng.uniform(s0, s1), rng.uniform(v0, v1)
    return np.array(colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value), np.float32) * 255


def companion_colour(rng: np.random.Generator, colour: NDArray, name: str) -> NDArray[np.float32]:
    """A second colour for the pattern that stands out and does not change the name of the object's colour."""
    if name == "white":
        return np.full(3, rng.uniform(60, 150), np.float32) * rng.uniform(0.9, 1.0, 3).astype(np.float32)
    if name == "black":
        return np.full(3, rng.uniform(130, 205), np.float32) * rng.uniform(0.9, 1.0, 3).astype(np.float32)
    luminance = float(colour @ np.array([0.3, 0.59, 0.11], np.float32))
    if luminance > 140 or (luminance > 80 and rng.random() < 0.4):
        return colour * np.float32(rng.uniform(0.25, 0.5))
    return colour + (255 - colour) * np.float32(rng.uniform(0.55, 0.85))


def sample_texture(rng: np.random.Generator, family: str, colour: str, size: int) -> NDArray[np.uint8]:
    """Draw one texture.

    Args:
        rng: Source of randomness.
        family: A family of a word of `PATTERNS`.
        colour: A key of `COLOURS`: what covers most of the texture.
        size: Side in texels, a power of two.

    Returns:
        (size, size, 3) uint8 RGB, tileable.
    """
    main = named_colour(rng, colour)
    other = companion_colour(rng, main, colour)
    field = _FIELDS[family](rng, size)
    blend = main + (other - main) * field[..., None]
    strength = rng.uniform(0.10, 0.34)
    grain = fractal_noise(rng, size, int(rng.choice([4, 8])), 4, 0.75)
    blend *= (1 + np.float32(strength) * (2 * grain - 1))[..., None]
    if colour == "black":
        blend += (18 * grain)[..., None]
    return np.clip(blend, 0, 255).astype(np.uint8)


@lru_cache(maxsize=8)
def _grid(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Texel coordinates in [0, 1): x as a row, y as a column."""
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    return axis[None, :], axis[:, None]


def _wave(phase: NDArray, duty: float, softness: float) -> NDArray[np.float32]:
    """A periodic bar of width ``duty`` in each unit of ``phase``."""
    distance = np.abs(phase - np.floor(phase) - np.float32(0.5))
    return 1 - step(distance, duty / 2, softness)


def _turn(rng: np.random.Generator, field: NDArray) -> NDArray:
    return field.T if rng.random() < 0.5 else field


def _grain(rng: np.random.Generator, size: int) -> NDArray:
    return 0.25 * fractal_noise(rng, size, 8, 4, 0.8)


def _brushed(rng: np.random.Generator, size: int) -> NDArray:
    return 0.4 * _turn(rng, fractal_noise(rng, size, 16, 3, 0.8, stretch=16))


def _mottled(rng: np.random.Generator, size: int) -> NDArray:
    return 0.45 * fractal_noise(rng, size, 4, 2) ** 2


def _straight_stripes(rng: np.random.Generator, size: int) -> NDArray:
    x, y = _grid(size)
    count = int(rng.integers(3, 7))
    field = _wave(count * x + np.float32(rng.random()) + 0 * y, rng.uniform(0.3, 0.5), size / count / 2)
    return _turn(rng, field)


def _paired_stripes(rng: np.random.Generator, size: int) -> NDArray:
    x, y = _grid(size)
    count = int(rng.integers(2, 5))
    phase = count * x + np.float32(rng.random()) + 0 * y
    wide, narrow = _wave(phase, 0.28, size / count / 2), _wave(phase + np.float32(0.33), 0.1, size / count / 2)
    return _turn(rng, np.maximum(wide, narrow))


def _diagonal_stripes(rng: np.random.Generator, size: int) -> NDArray:
    x, y = _grid(size)
    a, b = int(rng.integers(2, 5)), int(rng.integers(2, 5)) * int(rng.choice([-1, 1]))
    return _wave(a * x + b * y, rng.uniform(0.3, 0.5), size / np.hypot(a, b) / 2)


def _wavy_stripes(rng: np.random.Generator, size: int) -> NDArray:
    x, y = _grid(size)
    count, bends = int(rng.integers(3, 6)), int(rng.integers(1, 4))
    sway = np.float32(rng.uniform(0.2, 0.45)) * np.sin(2 * np.pi * (bends * y + np.float32(rng.random())))
    return _turn(rng, _wave(count * x + sway, rng.uniform(0.3, 0.5), size / count / 2.5))


def _squares(rng: np.random.Generator, size: int) -> NDArray:
    x, y = _grid(size)
    n, m = int(rng.integers(2, 5)), int(rng.integers(2, 5))
    product = np.sin(2 * np.pi * n * x) * np.sin(2 * np.pi * m * y)
    return step(product, 0.05, size / n / 6)


def _bricks(rng: np.random.Generator, size: int) -> NDArray:
    x, y = _grid(size)
    rows = 2 * int(rng.integers(2, 4))
    row = np.floor(rows * y)
    across = rows // 2 * x + np.float32(0.5) * (row % 2)
    return np.maximum(_wave(rows * y + 0 * x, 0.16, size / rows / 2), _wave(across, 0.1, size / rows))


def _diamonds(rng: np.random.Generator, size: int) -> NDArray:
    x, y = _grid(size)
    n = int(rng.integers(2, 4))
    product = np.sin(2 * np.pi * n * (x + y)) * np.sin(2 * np.pi * n * (x - y))
    return step(product, 0.05, size / n / 8)


def _triangles(rng: np.random.Generator, size: int) -> NDArray:
    x, y = _grid(size)
    n = int(rng.integers(2, 5))
    fx, fy = (n * x) % 1, (n * y) % 1
    return step(fx - fy, 0.0, size / n / 1.5)


def _stamp(rng: np.random.Generator, size: int, centres: NDArray, radii: NDArray, ring: bool) -> NDArray:
    """Disks or rings with wrap-round, ``centres`` and ``radii`` in units of the tile."""
    canvas = np.zeros((size, size), np.uint8)
    for centre, radius in zip(centres, radii):
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                x, y = (centre[0] + dx) * size, (centre[1] + dy) * size
                if -radius * size < x < size * (1 + radius) and -radius * size < y < size * (1 + radius):
                    thickness = max(1, round(radius * size * 0.45)) if ring else -1
                    where = (round(x * 16), round(y * 16))
                    cv2.circle(canvas, where, round(radius * size * 16), 255, thickness, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def _lattice(rng: np.random.Generator) -> NDArray:
    n = int(rng.integers(2, 5))
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).reshape(-1, 2) + 0.5
    grid[:, 0] += 0.5 * (grid[:, 1] // 1 % 2) if n % 2 == 0 else 0.0
    return (grid / n) % 1


def _dots(rng: np.random.Generator, size: int) -> NDArray:
    centres = _lattice(rng)
    radius = rng.uniform(0.2, 0.32) / np.sqrt(len(centres))
    return _stamp(rng, size, centres, np.full(len(centres), radius), False)


def _random_dots(rng: np.random.Generator, size: int) -> NDArray:
    count = int(rng.integers(6, 14))
    return _stamp(rng, size, rng.random((count, 2)), rng.uniform(0.04, 0.11, count), False)


def _rings(rng: np.random.Generator, size: int) -> NDArray:
    centres = _lattice(rng)
    return _stamp(rng, size, centres, np.full(len(centres), rng.uniform(0.25, 0.3) / np.sqrt(len(centres))), True)


def _patches(rng: np.random.Generator, size: int) -> NDArray:
    return step(fractal_noise(rng, size, 4, 1), 0.62, size / 12)


def _clouds(rng: np.random.Generator, size: int) -> NDArray:
    return fractal_noise(rng, size, 2, 5) ** 1.5


def _camouflage(rng: np.random.Generator, size: int) -> NDArray:
    noise = fractal_noise(rng, size, 4, 2)
    return 0.45 * step(noise, 0.5, size / 10) + 0.55 * step(noise, 0.68, size / 10)


def _veins(rng: np.random.Generator, size: int) -> NDArray:
    ridge = 1 - np.abs(2 * fractal_noise(rng, size, 2, 4) - 1)
    return step(ridge, 0.86, 9)


def _swirls(rng: np.random.Generator, size: int) -> NDArray:
    x, y = _grid(size)
    warp = fractal_noise(rng, size, 2, 3)
    return 0.5 + 0.5 * np.sin(2 * np.pi * (int(rng.integers(1, 3)) * x + int(rng.integers(1, 3)) * y + 2.5 * warp))


def _linear_gradient(rng: np.random.Generator, size: int) -> NDArray:
    x, y = _grid(size)
    return _turn(rng, np.abs(2 * ((x + np.float32(rng.uniform(-0.1, 0.1))) % 1) - 1) + 0 * y) ** 1.2


def _radial_gradient(rng: np.random.Generator, size: int) -> NDArray:
    x, y = _grid(size)
    return np.clip(1.3 * np.hypot(x - np.float32(0.5), y - np.float32(0.5)) / 0.7, 0, 1) ** 1.3


def _banded_gradient(rng: np.random.Generator, size: int) -> NDArray:
    x, y = _grid(size)
    return _turn(rng, np.float32(0.9) * ((int(rng.integers(2, 4)) * y + 0 * x) % 1))


def _text(rng: np.random.Generator, size: int, lines: list[str], scale: float) -> NDArray:
    canvas = np.zeros((size, size), np.uint8)
    font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX]))
    thickness = max(1, round(size / 32))
    for row, line in enumerate(lines):
        (width, height), _ = cv2.getTextSize(line, font, 1.0, 1)
        fit = min(scale * size / width, 0.62 * size / len(lines) / height)
        x = round((size - width * fit) / 2)
        y = round((row + 0.5) * size / len(lines) + height * fit / 2)
        cv2.putText(canvas, line, (x, y), font, fit, 255, thickness, cv2.LINE_AA)
    return canvas.astype(np.float32) / 255


def _digits(rng: np.random.Generator, size: int) -> NDArray:
    rows = int(rng.integers(1, 3))
    return _text(rng, size, [str(rng.integers(1, 100)) for _ in range(rows)], 0.75)


def _letters(rng: np.random.Generator, size: int) -> NDArray:
    rows = int(rng.integers(1, 4))
    return _text(rng, size, ["".join(rng.choice(list(_LETTERS), 2)) for _ in range(rows)], 0.75)


def _words(rng: np.random.Generator, size: int) -> NDArray:
    rows = int(rng.integers(2, 4))
    return _text(rng, size, [str(rng.choice(_WORDS)) for _ in range(rows)], 0.85)


_FIELDS = {
    "grain": _grain,
    "brushed": _brushed,
    "mottled": _mottled,
    "straight_stripes": _straight_stripes,
    "paired_stripes": _paired_stripes,
    "diagonal_stripes": _diagonal_stripes,
    "wavy_stripes": _wavy_stripes,
    "squares": _squares,
    "bricks": _bricks,
    "diamonds": _diamonds,
    "triangles": _triangles,
    "dots": _dots,
    "random_dots": _random_dots,
    "rings": _rings,
    "patches": _patches,
    "clouds": _clouds,
    "camouflage": _camouflage,
    "veins": _veins,
    "swirls": _swirls,
    "linear_gradient": _linear_gradient,
    "radial_gradient": _radial_gradient,
    "banded_gradient": _banded_gradient,
    "digits": _digits,
    "letters": _letters,
    "words": _words,
}
"""How each texture family mixes the second colour into the first: (size, size) in [0, 1]."""

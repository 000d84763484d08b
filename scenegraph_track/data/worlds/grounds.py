"""Tiles of the surroundings: floors, walls, roads, fields, facades, backdrops and sky."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.noise import fractal_noise, step

Tile = NDArray[np.float32]


def _tone(rng: np.random.Generator, *rgb: float, spread: float = 14.0) -> NDArray[np.float32]:
    return np.clip(np.array(rgb) + rng.normal(0, spread) + rng.normal(0, spread / 2.5, 3), 8, 245).astype(np.float32)


def _mix(a: NDArray, b: NDArray, field: NDArray) -> Tile:
    return a + (b - a) * field[..., None]


def _grained(rng: np.random.Generator, tile: Tile, strength: float, cells: int = 16) -> Tile:
    size = tile.shape[0]
    coarse, fine = fractal_noise(rng, size, 2, 3), fractal_noise(rng, size, cells, 5, 0.8)
    return tile * (1 + np.float32(strength) * (1.2 * fine + 0.8 * coarse - 1.0))[..., None]


def _cells(
    rng: np.random.Generator, size: int, across: int, down: int, shift: float, joint: float, vary: float
) -> tuple[NDArray, NDArray]:
    """A bond of rectangular cells: (brightness of each cell about 1, mask of the joints), both (size, size)."""
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    y = axis * down
    row = y.astype(np.int32)
    x = axis[None, :] * across + (row[:, None] * np.float32(shift)) % 1
    column = x.astype(np.int32) % across
    shade = (1 + vary * rng.standard_normal((down, across))).astype(np.float32)
    edge_x = np.minimum(x % 1, 1 - x % 1) / np.float32(across)
    edge_y = (np.minimum(y % 1, 1 - y % 1) / np.float32(down))[:, None]
    joints = 1 - step(np.minimum(edge_x, edge_y), joint / 2, size / 1.5)
    return shade[row[:, None], column], joints


def _bonded(
    rng: np.random.Generator,
    size: int,
    colour: NDArray,
    across: int,
    down: int,
    shift: float,
    joint: float,
    vary: float,
) -> Tile:
    shade, joints = _cells(rng, size, across, down, shift, joint, vary)
    base = colour * shade[..., None]
    return _mix(base, colour * np.float32(rng.choice([0.45, 0.6, 1.3])), joints)


def _planks(rng: np.random.Generator, size: int, short: bool = False) -> Tile:
    wood = _tone(rng, *((158, 112, 70) if rng.random() < 0.6 else (110, 76, 52)))
    grain = fractal_noise(rng, size, 64 if size > 128 else 32, 3, 0.8, stretch=32).T
    down = 16 if short else 8
    tile = _bonded(rng, size, wood, 8 if short else 2, down, 0.5 if short else 0.37, 0.005, 0.13)
    return _grained(rng, tile * (0.82 + 0.36 * grain)[..., None], 0.22)


def _speckled(
    rng: np.random.Generator, size: int, base: NDArray, specks: int, strength: float, spread: float = 38.0
) -> Tile:
    tile = np.broadcast_to(base, (size, size, 3)).astype(np.float32)
    for _ in range(specks):
        chips = fractal_noise(rng, size, 64, 1)
        tile = _mix(tile, _tone(rng, *base, spread=spread), step(chips, 0.74, 12))
    return _grained(rng, tile, strength)


def _carpet(rng: np.random.Generator, size: int) -> Tile:
    base, accent = _tone(rng, *rng.uniform(60, 170, 3)), _tone(rng, *rng.uniform(40, 200, 3))
    ornament = step(np.abs(fractal_noise(rng, size, 8, 2) - 0.5), 0.11, size / 16)
    return _grained(rng, _mix(accent, base, ornament), 0.4, 64)


def _tiles(rng: np.random.Generator, size: int) -> Tile:
    n = int(rng.choice([6, 8, 10]))
    tile = _bonded(rng, size, _tone(rng, 178, 168, 155), n, n, 0.0, 0.006, 0.10)
    return _grained(rng, tile, 0.35, 8)


def _slabs(rng: np.random.Generator, size: int) -> Tile:
    return _grained(rng, _bonded(rng, size, _tone(rng, 140, 138, 130), 4, 6, 0.5, 0.008, 0.12), 0.5)


def _plain_wall(rng: np.random.Generator, size: int) -> Tile:
    colour = _tone(
        rng, *rng.choice([[196, 188, 170], [150, 170, 178], [182, 150, 130], [160, 176, 146], [205, 200, 196]])
    )
    stain = step(fractal_noise(rng, size, 4, 4), 0.62, 4)
    return _grained(rng, _mix(np.broadcast_to(colour, (size, size, 3)), colour * 0.82, stain), 0.22, 8)


def _wallpaper(rng: np.random.Generator, size: int) -> Tile:
    colour = _tone(rng, *rng.uniform(95, 205, 3))
    axis = np.arange(size, dtype=np.float32) / size
    n = int(rng.choice([8, 12, 16]))
    x, y = np.sin(2 * np.pi * n * axis)[None, :], np.sin(2 * np.pi * n / 2 * axis)[:, None]
    motif = step(x * y + 0.5 * (fractal_noise(rng, size, 8, 2) - 0.5), 0.2, 3)
    return _grained(rng, _mix(colour, colour * np.float32(rng.choice([0.72, 0.85, 1.15])), motif), 0.24, 8)


def _brick(rng: np.random.Generator, size: int) -> Tile:
    return _grained(rng, _bonded(rng, size, _tone(rng, 158, 92, 74), 12, 32, 0.5, 0.006, 0.13), 0.42)


def _panelling(rng: np.random.Generator, size: int) -> Tile:
    return _grained(rng, _bonded(rng, size, _tone(rng, 170, 140, 105), 16, 2, 0.0, 0.006, 0.10), 0.35, 8)


def _concrete(rng: np.random.Generator, size: int) -> Tile:
    return _grained(rng, _bonded(rng, size, _tone(rng, 150, 150, 148), 4, 3, 0.0, 0.006, 0.05), 0.5, 8)


def _blockwork(rng: np.random.Generator, size: int) -> Tile:
    return _grained(rng, _bonded(rng, size, _tone(rng, 168, 164, 152), 8, 14, 0.5, 0.008, 0.08), 0.4)


def _posters(rng: np.random.Generator, size: int) -> Tile:
    tile = _plain_wall(rng, size)
    for _ in range(7):
        w, h = rng.integers(size // 10, size // 5, 2)
        x, y = rng.integers(0, size - w), rng.integers(0, size - h)
        sheet = _mix(
            _tone(rng, *rng.uniform(40, 220, 3)), _tone(rng, *rng.uniform(40, 220, 3)), fractal_noise(rng, size, 8, 3)
        )
        tile[y : y + h, x : x + w] = sheet[:h, :w]
    return tile


def _asphalt(rng: np.random.Generator, size: int) -> Tile:
    tile = _speckled(rng, size, _tone(rng, 92, 92, 96, spread=10), 3, 0.55, 16.0)
    crack = step(1 - np.abs(2 * fractal_noise(rng, size, 4, 4) - 1), 0.97, 30)
    return tile * (1 - 0.45 * crack)[..., None]


def _worn_road(rng: np.random.Generator, size: int) -> Tile:
    patch = step(fractal_noise(rng, size, 4, 2), 0.58, size / 12)
    return _asphalt(rng, size) * (1 - 0.28 * patch)[..., None]


def _cobbles(rng: np.random.Generator, size: int) -> Tile:
    return _grained(rng, _bonded(rng, size, _tone(rng, 120, 112, 106), 20, 24, 0.5, 0.010, 0.16), 0.5)


def _paving(rng: np.random.Generator, size: int) -> Tile:
    return _grained(rng, _bonded(rng, size, _tone(rng, 162, 154, 144), 10, 10, 0.33, 0.006, 0.12), 0.4)


def _field(rng: np.random.Generator, size: int, a: NDArray, b: NDArray, strength: float) -> Tile:
    blend = _mix(a, b, fractal_noise(rng, size, 4, 5, 0.7))
    return _grained(rng, blend, strength, 32)


def _grass(rng: np.random.Generator, size: int) -> Tile:
    return _field(rng, size, _tone(rng, 84, 120, 48), _tone(rng, 120, 142, 66), 0.62)


def _sand(rng: np.random.Generator, size: int) -> Tile:
    return _field(rng, size, _tone(rng, 196, 172, 126), _tone(rng, 168, 144, 104), 0.42)


def _gravel(rng: np.random.Generator, size: int) -> Tile:
    return _speckled(rng, size, _tone(rng, 140, 132, 122), 5, 0.6)


def _meadow(rng: np.random.Generator, size: int) -> Tile:
    tile = _grass(rng, size)
    for _ in range(3):
        flowers = step(fractal_noise(rng, size, 64 if size > 128 else 32, 1), 0.86, 10)
        tile = _mix(tile, _tone(rng, *rng.uniform(120, 245, 3)), flowers)
    return tile


def _facade(rng: np.random.Generator, size: int, across: int, rise: float) -> Tile:
    """Four house fronts of windows side by side; the tile is 32 m wide and 12 m high."""
    tile = np.empty((size, size, 3), np.float32)
    quarter = size // 4
    for house in range(4):
        wall = _tone(
            rng, *rng.choice([[178, 120, 96], [196, 184, 160], [150, 150, 152], [170, 140, 110], [120, 132, 146]])
        )
        tile[:, house * quarter : (house + 1) * quarter] = wall
    tile = _grained(rng, tile, 0.3)
    floors = 4
    glass = _tone(rng, 60, 74, 92, spread=18)
    for house in range(4):
        n = across + int(rng.integers(0, 2))
        width, height = quarter / n * rng.uniform(0.42, 0.6), size / floors * rise
        for column in range(n):
            for floor in range(floors):
                x, y = house * quarter + (column + 0.5) * quarter / n, (floor + 0.52) * size / floors
                corner = (round(x - width / 2), round(y - height / 2))
                opposite = (round(x + width / 2), round(y + height / 2))
                pane = glass * rng.uniform(0.7, 1.25) if rng.random() < 0.85 else np.array([235, 214, 150], np.float32)
                cv2.rectangle(tile, corner, opposite, (glass * 2.1).tolist(), max(1, size // 128))
                cv2.rectangle(
                    tile, (corner[0] + 1, corner[1] + 1), (opposite[0] - 1, opposite[1] - 1), pane.tolist(), -1
                )
    return tile


def _backdrop(rng: np.random.Generator, size: int, rough: int, rise: float, hues: list[list[float]]) -> Tile:
    """A far view: the lower part hills, forest or mountains in layers, sky above; the tile wraps sideways."""
    tile = sky(rng, size)
    rows = np.arange(size, dtype=np.float32)[:, None]
    for layer, hue in enumerate(hues):
        outline = fractal_noise(rng, size, rough << layer, 5, 0.5)[size // 2]
        top = size * (1 - rise * (1.0 - 0.3 * layer) * (0.45 + 0.75 * outline))
        ground = _grained(rng, np.broadcast_to(_tone(rng, *hue, spread=9), (size, size, 3)).astype(np.float32), 0.4)
        tile = _mix(tile, ground, step(rows - top[None, :], 0.0, 1.0))
    return tile


def sky(rng: np.random.Generator, size: int) -> Tile:
    """Clouds on a clear sky; the lowest row is the horizon's haze, and the tile wraps sideways."""
    height = np.linspace(1, 0, size, dtype=np.float32)[:, None]
    blue, haze = _tone(rng, 112, 158, 214), _tone(rng, 206, 216, 222, spread=6)
    clear = haze + (blue - haze) * np.broadcast_to(height, (size, size))[..., None] ** 0.8
    clouds = step(fractal_noise(rng, size, 4, 5, 0.55), rng.uniform(0.5, 0.7), 4) * np.float32(rng.uniform(0.4, 0.9))
    return _mix(clear, np.array([236, 238, 240], np.float32), clouds)


_MAKERS = {
    "planks": _planks,
    "parquet": lambda rng, size: _planks(rng, size, short=True),
    "carpet": _carpet,
    "tiles": _tiles,
    "terrazzo": lambda rng, size: _speckled(rng, size, _tone(rng, 186, 178, 168), 5, 0.25),
    "slabs": _slabs,
    "cork": lambda rng, size: _speckled(rng, size, _tone(rng, 170, 126, 84), 4, 0.5),
    "sky": sky,
    "plaster": _plain_wall,
    "wallpaper": _wallpaper,
    "brick": _brick,
    "panelling": _panelling,
    "concrete": _concrete,
    "blockwork": _blockwork,
    "posters": _posters,
    "asphalt": _asphalt,
    "cobbles": _cobbles,
    "paving": _paving,
    "worn_road": _worn_road,
    "grass": _grass,
    "sand": _sand,
    "gravel": _gravel,
    "meadow": _meadow,
    "windows": lambda rng, size: _facade(rng, size, 3, 0.5),
    "balconies": lambda rng, size: _facade(rng, size, 2, 0.62),
    "shops": lambda rng, size: _facade(rng, size, 4, 0.4),
    "hills": lambda rng, size: _backdrop(rng, size, 4, 0.11, [[120, 146, 150], [96, 126, 92]]),
    "forest": lambda rng, size: _backdrop(rng, size, 32, 0.14, [[70, 104, 72], [52, 84, 50]]),
    "mountains": lambda rng, size: _backdrop(rng, size, 4, 0.21, [[150, 160, 176], [120, 124, 120]]),
}


VARIANTS = 8
"""Tiles drawn per family; scenes tint, mirror and scale them, so that the surroundings do not repeat."""


@lru_cache(maxsize=128)
def tile(family: str, variant: int, size: int) -> NDArray[np.uint8]:
    """One of the `VARIANTS` tiles of a family of `GROUNDS` (or "sky"), kept in memory for the next scene.

    Returns:
        (size, size, 3) uint8 RGB, wrapping on both sides; backdrops and sky wrap sideways only.
    """
    rng = np.random.default_rng((list(_MAKERS).index(family), variant))
    return np.clip(_MAKERS[family](rng, size), 0, 255).astype(np.uint8)


def sample_tile(rng: np.random.Generator, family: str, size: int) -> NDArray[np.uint8]:
    """Draw a tile of a family, change its tint and brightness, and mirror every second one.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    image = tile(family, int(rng.integers(VARIANTS)), size)
    tint = rng.uniform(0.82, 1.15) * rng.uniform(0.94, 1.06, 3)
    levels = np.clip(np.arange(256)[:, None] * tint, 0, 255).astype(np.uint8)[None]
    image = cv2.LUT(image, levels)
    return cv2.flip(image, 1) if rng.random() < 0.5 else image

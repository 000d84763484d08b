"""Drawing the surroundings and where the camera starts in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.families import GROUNDS, families
from scenegraph_track.data.worlds.grounds import sample_tile
from scenegraph_track.data.worlds.noise import fractal_noise
from scenegraph_track.data.worlds.shadows import LIGHT_UNIT
from scenegraph_track.data.worlds.surroundings import ROOF_STEP, Surroundings, build_atlas


class Place(NamedTuple):
    """Surroundings and what they allow.

    Args:
        surroundings: The planes and their textures.
        start: (3,) first position of the camera.
        yaw: First direction of view, radians.
        pitch: Downward tilt, radians.
        low: (2,) smallest x and z where bodies may stand.
        high: (2,) largest x and z where bodies may stand.
        reach: Nearest and farthest usual distance of objects, metres.
        pace: Factor on speeds.
    """

    surroundings: Surroundings
    start: NDArray[np.float64]
    yaw: float
    pitch: float
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    reach: tuple[float, float]
    pace: float


def _light_map(
    rng: np.random.Generator, centre: NDArray, side: float
) -> tuple[NDArray[np.uint8], tuple[float, float, float]]:
    level = LIGHT_UNIT * (0.84 + 0.26 * fractal_noise(rng, 256, 4, 2))
    return level.astype(np.uint8), (float(centre[0] - side / 2), float(centre[1] - side / 2), side)


def sample_place(rng: np.random.Generator, kind: str, split: str, texels: int) -> Place:
    """Draw surroundings.

    Args:
        rng: Source of randomness.
        kind: "room", "street" or "open".
        split: "train", "val" or "test": which grounds may be used.
        texels: Side of the tiles.

    Returns:
        The place.
    """
    table = families(GROUNDS, split)
    tile = {
        word: sample_tile(rng, str(rng.choice(names)), texels) for word, names in table.items() if word in _USED[kind]
    }
    u = rng.uniform
    fronts, roofs = None, np.zeros((2, 1), np.float32)
    if kind == "room":
        half = u(3.2, 6.5, 2)
        low, high = np.array([-half[0], -u(2.6, 4.0), -half[1]]), np.array([half[0], 0.0, half[1]])
        around = u(0, 2 * np.pi)
        start = np.array([-0.8 * np.sin(around) * half[0], -u(0.9, 1.9), -0.8 * np.cos(around) * half[1]])
        yaw = np.arctan2(-start[0], -start[2]) + rng.normal(0, 0.2)
        reach, pace = (2.0, 0.9 * float(half.sum())), 0.7
        second = sample_tile(rng, str(rng.choice(table["wall"])), texels)
        tiles = [tile["floor"], tile["wall"], second]
        which = [1, 1, 2, 0, 2 if u() < 0.4 else 1, 1, 1, 1]
        wall, floor = [u(2.5, 5.0)] * 2, [u(2.5, 5.5)] * 2
        metres = [wall, wall, [5.0, 5.0], floor, wall, wall, wall, wall]
        stand_low, stand_high = low[[0, 2]] + 0.1, high[[0, 2]] - 0.1
        light_side = 2 * float(half.max())
    else:
        half = 96.0 if kind == "street" else u(35, 60)
        top = 1.3 * half
        low, high = np.array([-half, -top, -half]), np.array([half, 0.0, half])
        sky = sample_tile(rng, "sky", texels)
        around = [float(rng.choice([48.0, 64.0, 96.0])), top]
        stand_low, stand_high = low[[0, 2]] + 2, high[[0, 2]] - 2
        if kind == "street":
            width = u(4.5, 9.0, 2)
            fronts = (-float(width[0]), float(width[1]))
            houses = round(2 * half / ROOF_STEP)
            roofs = (u(4.5, 14, (2, houses)) * (rng.random((2, houses)) > 0.08)).astype(np.float32)
            start = np.array([u(-0.55, 0.55) * width.min(), -u(1.3, 3.6), 0.0])
            yaw = rng.normal(0, 0.35) if u() < 0.7 else np.sign(-start[0]) * np.pi / 2 + rng.normal(0, 0.3)
            tiles, which = [tile["street"], tile["facade"], tile["backdrop"], sky], [2, 2, 3, 0, 2, 2, 1, 1]
            metres = [
                around,
                around,
                [200.0, 200.0],
                [u(5, 9)] * 2,
                around,
                around,
                [4 * ROOF_STEP, 12.0],
                [4 * ROOF_STEP, 12.0],
            ]
            stand_low[0], stand_high[0] = fronts[0] + 0.2, fronts[1] - 0.2
            reach, pace = (3.0, 18.0), 1.0
        else:
            start, yaw = np.array([0.0, -u(1.1, 4.5), 0.0]), u(-np.pi, np.pi)
            tiles, which = [tile["field"], tile["backdrop"], sky], [1, 1, 2, 0, 1, 1, 1, 1]
            metres = [around, around, [200.0, 200.0], [u(5, 9)] * 2, around, around, around, around]
            reach, pace = (2.5, 16.0), 1.0
        light_side = 32.0
    pitch = np.arctan2(-start[1], min(reach[1], 12.0) * u(0.9, 1.6)) + rng.normal(0, 0.03)
    light_map, square = _light_map(rng, start[[0, 2]] if kind != "room" else np.zeros(2), light_side)
    atlas = build_atlas(tiles, which, np.array(metres))
    surroundings = Surroundings(kind, low, high, fronts, roofs, atlas, light_map, square)
    return Place(surroundings, start, float(yaw), float(pitch), stand_low, stand_high, reach, pace)


_USED = {"room": ("floor", "wall"), "street": ("street", "facade", "backdrop"), "open": ("field", "backdrop")}

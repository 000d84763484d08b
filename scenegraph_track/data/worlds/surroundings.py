"""What stands still and is everywhere: a room, a street between house fronts, or open ground before a far backdrop.

All three are the inside of an axis-aligned box of large planes; a street has two more planes inside, cut off along the
roofs.  The planes share one image atlas, so that a view of them is one look-up per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.lookup import look_up
from scenegraph_track.data.worlds.noise import pyramid

PLANES = ("left", "right", "ceiling", "ground", "near", "far", "left front", "right front")
"""The planar pieces of the surroundings, in the order of their surface numbers."""
GROUND = 3
ROOF_STEP = 8.0
"""Width of a house of a street, metres."""
_PAD = 2


@dataclass(frozen=True)
class Atlas:
    """Tiles and their mip levels in one image.

    Args:
        image: (h, w, 4) uint8, RGB and an unused channel (four channels are faster to look up).
        rows: (8 planes, L, 5) float32 for each plane and mip level: x and y of the tile's first texel, its side, and
            the plane's tiles per metre along its two axes.
    """

    image: NDArray[np.uint8]
    rows: NDArray[np.float32]


@dataclass(frozen=True)
class Surroundings:
    """The static world round the objects.

    Args:
        kind: "room", "street" or "open".
        low: (3,) corner of the box, metres; ``low[1]`` is minus the height.
        high: (3,) opposite corner; ``high[1]`` is 0, the ground.
        fronts: x of the left and the right house front of a street, or None.
        roofs: (2, B) heights of the houses, one per `ROOF_STEP` metres from ``low[2]`` on; 0 is a gap.
        atlas: The textures.
        light_map: (m, m) uint8, brightness of the ground in units of 1/200, over the square of `light_square`.
        light_square: x, z of its corner and its side, metres.
    """

    kind: str
    low: NDArray
    high: NDArray
    fronts: tuple[float, float] | None
    roofs: NDArray[np.float32]
    atlas: Atlas
    light_map: NDArray[np.uint8]
    light_square: tuple[float, float, float]

    def plane(self, index: int) -> tuple[NDArray, float]:
        """(normal, offset) in the world of one of `PLANES`: points X with ``normal . X = offset``."""
        normal = np.zeros(3)
        if index >= 6:
            normal[0] = 1.0
            return normal, float(self.fronts[index - 6])
        normal[index // 2] = 1.0
        return normal, float((self.low, self.high)[index % 2][index // 2])


class Backdrop(NamedTuple):
    """The surroundings seen from a camera; all (H, W)."""

    inverse_depth: NDArray[np.float32]
    surface: NDArray[np.uint8]
    image: NDArray[np.uint8]
    ground_x: NDArray[np.float32]
    ground_z: NDArray[np.float32]


def build_atlas(tiles: list[NDArray[np.uint8]], tile_of_plane: list[int], metres: NDArray) -> Atlas:
    """Lay out tiles of one size with their mip levels.

    Args:
        tiles: (s, s, 3) uint8 images.
        tile_of_plane: For each of the eight planes the tile that covers it.
        metres: (8, 2) size of a tile on each plane.

    Returns:
        The atlas.
    """
    chains = [pyramid(cv2.cvtColor(tile, cv2.COLOR_RGB2RGBA)) for tile in tiles]
    sides = [level.shape[0] for level in chains[0]]
    width = sides[0] + 2 * _PAD
    tops = np.concatenate([[0], np.cumsum([side + 2 * _PAD for side in sides])])
    image = np.zeros((int(tops[-1]), width * len(tiles), 4), np.uint8)
    for column, chain in enumerate(chains):
        for top, level in zip(tops, chain):
            padded = cv2.copyMakeBorder(level, _PAD, _PAD, _PAD, _PAD, cv2.BORDER_WRAP)
            image[top : top + padded.shape[0], column * width : column * width + padded.shape[1]] = padded
    rows = np.empty((8, len(sides), 5), np.float32)
    for plane, column in enumerate(tile_of_plane):
        rows[plane, :, 0] = column * width + _PAD
        rows[plane, :, 1] = tops[:-1] + _PAD
        rows[plane, :, 2] = sides
        rows[plane, :, 3:] = 1 / metres[plane]
    return Atlas(image, rows)


def view(world: Surroundings, centre: NDArray, rays: NDArray, ray_length: NDArray, focal: float) -> Backdrop:
    """Trace and texture the surroundings.

    Args:
        world: What to look at.
        centre: (3,) optical centre in the world, inside the box.
        rays: (3, H, W) directions in world axes with a depth of 1 in the camera.
        ray_length: (H, W) their lengths.
        focal: Focal length in pixels, for the choice of mip levels.

    Returns:
        Inverse depth, surface numbers (indices of `PLANES`), RGBA image, and the world's x and z at each pixel.
    """
    dx, dy, dz = rays
    inverse_high, inverse_low = (
        (1 / (world.high - centre)).astype(np.float32),
        (1 / (world.low - centre)).astype(np.float32),
    )
    walls = [np.maximum(d * a, d * b) for d, a, b in zip(rays, inverse_high, inverse_low)]
    inverse = np.maximum(np.maximum(walls[0], walls[1]), walls[2])
    on_x, on_y = walls[0] >= inverse, walls[1] >= inverse
    surface = np.where(on_y, np.uint8(2) + (dy > 0), np.where(on_x, dx > 0, np.uint8(4) + (dz > 0))).astype(np.uint8)
    if world.fronts is not None:
        left, right = world.fronts
        front = np.maximum(dx * np.float32(1 / (right - centre[0])), dx * np.float32(1 / (left - centre[0])))
        z = 1 / np.maximum(front, np.float32(1e-6))
        house = ((np.float32(centre[2]) + dz * z - np.float32(world.low[2])) * np.float32(1 / ROOF_STEP)).astype(
            np.int32
        )
        house += np.where(dx > 0, np.int32(world.roofs.shape[1]), np.int32(0))
        roof = np.take(world.roofs.ravel(), house, mode="clip")
        hit = (front > inverse) & (np.float32(-centre[1]) - dy * z < roof)
        np.copyto(inverse, front, where=hit)
        np.copyto(surface, np.uint8(6) + (dx > 0).view(np.uint8), where=hit)
    depth = 1 / inverse
    x, y, z = (np.float32(c) + d * depth for c, d in zip(centre, (dx, dy, dz)))
    axis = np.array([0, 0, 1, 1, 2, 2, 0, 0])
    across_x = surface < 2 if world.fronts is None else (surface < 2) | (surface > 5)
    u = np.where(across_x, z, x)
    v = np.where((surface == 2) | (surface == GROUND), z, y)
    rows = world.atlas.rows
    levels = rows.shape[1]
    distance = np.array(
        [abs(world.plane(i)[1] - centre[a]) if i < 6 or world.fronts else 1.0 for i, a in enumerate(axis)]
    )
    texels = rows[:, 0, 2] * np.sqrt(rows[:, 0, 3] * rows[:, 0, 4]) / focal
    offset = (np.log2(texels) - 0.5 * np.log2(np.maximum(distance, 1e-3)) + 0.35).astype(np.float32)
    slant = np.log2(ray_length) - 3 * np.log2(inverse)
    level = look_up(offset, surface) + np.float32(0.5) * slant
    index = np.clip(level, 0, levels - 1).astype(np.uint8) + np.uint8(levels) * surface
    left, top, side, per_u, per_v = (look_up(column, index) for column in rows.reshape(-1, 5).T)
    u, v = u * per_u, v * per_v
    map_x, map_y = left + (u - np.floor(u)) * side - np.float32(0.5), top + (v - np.floor(v)) * side - np.float32(0.5)
    image = cv2.remap(world.atlas.image, map_x, map_y, cv2.INTER_LINEAR)
    return Backdrop(inverse, surface, image, x, z)

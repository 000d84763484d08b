"""Where objects are in space: the depth of each object from a depth map, and its position in the world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CORE = 0.6
"""Share of a box's width and height, in its middle, that counts as the object where there is no mask."""

POINTS = 13
"""Points along each side of the grid at which a depth map is looked up."""

WIDTH = 0.15
"""Depths within this part of each other are one surface."""

MODE = 0.3
"""The nearest surface that fills this share of the core is the object, what is behind it the background."""

SURE = 0.2
"""Objects of less confidence have no depth."""

_OTHERS = 0.1
"""Weight of points that other boxes cover too."""


@dataclass(frozen=True, eq=False)
class ObjectDepths:
    """Depth of N objects.

    Args:
        depth: (N,) along z, in the unit of the depth map; NaN where unknown.
        spread: (N,) weighted standard deviation of the depths that are one surface with it, in the same unit.
        confidence: (N,) in [0, 1]: the share of the core that this surface fills times the map's confidence there.
    """

    depth: np.ndarray
    spread: np.ndarray
    confidence: np.ndarray


def object_depths(
    depth: np.ndarray,
    boxes: np.ndarray,
    size: tuple[int, int],
    confidence: np.ndarray | None = None,
    masks: np.ndarray | None = None,
) -> ObjectDepths:
    """Depth of the visible surface of each object, robust against background and other objects in its box.

    With masks, the depth is the weighted median inside the mask.  Without, it is looked up on a grid in the middle of
    the box, with less weight where other boxes cover it too; the nearest surface that fills `MODE` of it (else the one
    that fills most) is the object, and the weighted median of that surface is its depth.

    Args:
        depth: (h, w) depth map of the image at any resolution, 0 or not finite where unknown.
        boxes: (N, 4) xyxy pixels of the image.
        size: (W, H) of the image.
        confidence: (h, w) in [0, 1] of the map, or None: 1 where the depth is known.
        masks: (N, h', w') of the whole image at any resolution, bool or in [0, 1]; empty masks count as none.

    Returns:
        Depths, NaN where the confidence is less than `SURE`.
    """
    n = len(boxes)
    if n == 0:
        return ObjectDepths(np.zeros(0), np.zeros(0), np.zeros(0))
    x, y, weight = _box_points(boxes, size)
    if masks is not None:
        whole = _grid(boxes, 1.0)
        inside = _look_up(masks.astype(np.float64), *whole, size) * _within(*whole, size)
        masked = inside.sum((1, 2)) > 0
        x, y = (np.where(masked[:, None, None], a, b) for a, b in zip(whole, (x, y)))
        weight = np.where(masked[:, None, None], inside, weight)
    z = _look_up(depth, x, y, size).reshape(n, -1)
    weight = weight.reshape(n, -1)
    known = np.isfinite(z) & (z > 0)
    sure = known * (1.0 if confidence is None else _look_up(confidence, x, y, size).reshape(n, -1))
    least = 0.0 if masks is None else np.where(masked, -1.0, 0.0)
    return _surfaces(np.where(known, z, 1.0), weight, sure, np.broadcast_to(least, n) < 0)


def _surfaces(z: np.ndarray, weight: np.ndarray, sure: np.ndarray, masked: np.ndarray) -> ObjectDepths:
    """Choose the surface of each object among P depths (N, P) with their weights and confidence."""
    order = np.argsort(z, axis=1, kind="stable")
    z, weight, sure = (np.take_along_axis(values, order, axis=1) for values in (z, weight, sure))
    total = np.maximum(weight.sum(1), 1e-12)
    used = weight * (sure > 0)
    before = np.concatenate([np.zeros((len(z), 1)), np.cumsum(used, axis=1)], axis=1)
    last = (z[:, None, :] <= z[:, :, None] * (1 + WIDTH)).sum(2)  # of the surface that begins at each point
    mass = np.where(used > 0, np.take_along_axis(before, last, axis=1) - before[:, :-1], 0.0)
    enough = mass >= np.minimum(MODE * before[:, -1:], mass.max(1, keepdims=True))
    first = np.where(masked, 0, np.argmax(enough & (used > 0), axis=1))
    # the densest window that begins on that surface, so that a few points in front of it do not shift it
    start = np.take_along_axis(z, first[:, None], axis=1)
    near = (z >= start) & (z <= start * (1 + WIDTH))
    first = np.where(masked, 0, np.where(near, mass, -1.0).argmax(1))
    end = np.where(masked, z.shape[1], np.take_along_axis(last, first[:, None], axis=1)[:, 0])
    place = np.arange(z.shape[1])
    chosen = used * ((place >= first[:, None]) & (place < end[:, None]))
    trusted = chosen * sure
    sums = np.cumsum(trusted, axis=1)
    middle = (sums >= sums[:, -1:] / 2).argmax(1)
    found = np.take_along_axis(z, middle[:, None], axis=1)[:, 0]
    mean = (trusted * z).sum(1) / np.maximum(sums[:, -1], 1e-12)
    spread = np.sqrt((trusted * (z - mean[:, None]) ** 2).sum(1) / np.maximum(sums[:, -1], 1e-12))
    confidence = trusted.sum(1) / total
    unknown = confidence < SURE
    return ObjectDepths(np.where(unknown, np.nan, found), np.where(unknown, np.nan, spread), confidence)


def _grid(boxes: np.ndarray, part: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels x and y (N, P, P) of a grid in the middle ``part`` of each box; y grows along the first axis."""
    steps = ((np.arange(POINTS) + 0.5) / POINTS - 0.5) * part + 0.5
    x = boxes[:, 0, None] + (boxes[:, 2] - boxes[:, 0])[:, None] * steps
    y = boxes[:, 1, None] + (boxes[:, 3] - boxes[:, 1])[:, None] * steps
    shape = (len(boxes), POINTS, POINTS)
    return np.broadcast_to(x[:, None, :], shape), np.broadcast_to(y[:, :, None], shape)


def _within(x: np.ndarray, y: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return (x >= 0) & (y >= 0) & (x < size[0]) & (y < size[1])


def _box_points(boxes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid points in the core of each box and their weights (N, P, P)."""
    x, y = _grid(boxes, CORE)
    across = (x[:, 0, :, None] > boxes[:, 0]) & (x[:, 0, :, None] < boxes[:, 2])  # (N, P, others)
    down = (y[:, :, 0, None] > boxes[:, 1]) & (y[:, :, 0, None] < boxes[:, 3])
    covering = np.matmul(down.astype(np.float64), across.astype(np.float64).transpose(0, 2, 1)) - 1
    return x, y, np.where(covering > 0.5, _OTHERS, 1.0) * _within(x, y, size)


def _look_up(maps: np.ndarray, x: np.ndarray, y: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The nearest values (N, P, P) of a map (h, w), or of a map (N, h, w) for each object."""
    height, width = maps.shape[-2:]
    column = np.clip(np.floor(x * (width / size[0])).astype(np.int64), 0, width - 1)
    row = np.clip(np.floor(y * (height / size[1])).astype(np.int64), 0, height - 1)
    return maps[row, column] if maps.ndim == 2 else maps[np.arange(len(maps))[:, None, None], row, column]


def positions(
    boxes: np.ndarray, depths: np.ndarray, intrinsics: np.ndarray, world_from_camera: np.ndarray | None = None
) -> np.ndarray:
    """Points at the middle of boxes at a depth.

    Args:
        boxes: (N, 4) xyxy pixels.
        depths: (N,) along z, NaN where unknown.
        intrinsics: (3, 3).
        world_from_camera: (4, 4), or None for positions in camera axes.

    Returns:
        (N, 3) in the world (else camera axes), NaN where the depth is.
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    points = back_projected(centre, depths, intrinsics)
    return points if world_from_camera is None else points @ world_from_camera[:3, :3].T + world_from_camera[:3, 3]


def back_projected(pixels: np.ndarray, depths: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Points (N, 3) in camera axes of pixels (N, 2) at depths (N,)."""
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ np.linalg.inv(intrinsics).T
    return rays * depths[:, None]

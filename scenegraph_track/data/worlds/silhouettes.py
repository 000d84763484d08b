"""Outlines of flat objects, as signed-distance maps, so that their edges stay crisp at any distance."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MARGIN = 4
"""Empty texels round a silhouette."""
DISTANCE_STEP = 12.0
"""One texel of signed distance in units of the 8-bit alpha channel; 127.5 is the outline."""

Rings = list[NDArray[np.float64]]


def _polygon(count: int, phase: float = 0.0) -> NDArray:
    angle = 2 * np.pi * np.arange(count) / count + phase
    return np.stack([np.sin(angle), -np.cos(angle)], -1)


def _radial(radius: NDArray) -> NDArray:
    return _polygon(len(radius)) * radius[:, None]


def _star(points: int, inner: float) -> NDArray:
    return _radial(np.where(np.arange(2 * points) % 2 == 0, 1.0, inner))


def _superellipse(power: float, aspect: float = 1.0) -> NDArray:
    circle = _polygon(64)
    return np.sign(circle) * np.abs(circle) ** (2 / power) * [aspect, 1.0]


def _blob(rng: np.random.Generator, harmonics: range, depth: float) -> NDArray:
    angle = 2 * np.pi * np.arange(96) / 96
    radius = np.ones(96)
    for k in harmonics:
        radius += (
            depth * rng.uniform(0.4, 1.0) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) / np.sqrt(len(harmonics))
        )
    return _radial(radius)


def _disk(x: float, y: float, rx: float, ry: float) -> NDArray:
    return _polygon(40) * [rx, ry] + [x, y]


def _block(x1: float, y1: float, x2: float, y2: float) -> NDArray:
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], float)


def _plus(arm: float) -> NDArray:
    a = arm
    return np.array(
        [[-a, -1], [a, -1], [a, -a], [1, -a], [1, a], [a, a], [a, 1], [-a, 1], [-a, a], [-1, a], [-1, -a], [-a, -a]],
        float,
    )


def _rotate(rings: Rings, degrees: float) -> Rings:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [ring @ np.array([[c, s], [-s, c]]) for ring in rings]


def _round_corners(ring: NDArray, times: int = 3) -> NDArray:
    """Chaikin's corner cutting."""
    for _ in range(times):
        following = np.roll(ring, -1, 0)
        ring = np.stack([0.75 * ring + 0.25 * following, 0.25 * ring + 0.75 * following], 1).reshape(-1, 2)
    return ring


def _figure(spread: float, arms: float, skirt: float) -> Rings:
    """A person of height 8: head, trunk, arms, legs."""
    leg, hip = 0.75 + spread, 0.85
    parts = [_disk(0, 0.75, 0.72, 0.8), _round_corners(_block(-1.15, 1.45, 1.15, 4.6), 2)]
    if skirt:
        parts.append(np.array([[-0.9, 1.7], [0.9, 1.7], [skirt, 7.6], [-skirt, 7.6]]))
    parts.append(np.array([[-hip, 4.2], [0.1, 4.2], [-leg + 0.45, 8], [-leg - 0.3, 8]]))
    parts.append(np.array([[-0.1, 4.2], [hip, 4.2], [leg + 0.3, 8], [leg - 0.45, 8]]))
    for side in (-1, 1):
        hand = np.array([side * (1.1 + abs(np.sin(arms)) * 1.9), 1.9 + 2.4 * np.cos(arms if side > 0 else 0.35)])
        shoulder = np.array([side * 0.95, 1.85])
        across = np.array([hand[1] - shoulder[1], shoulder[0] - hand[0]])
        across *= 0.33 / np.hypot(*across)
        parts.append(np.stack([shoulder - across, shoulder + across, hand + across, hand - across]))
    return parts


def _car(cabin: list[list[float]], length: float) -> Rings:
    body = _round_corners(np.array([[0, 1.3], [length, 1.2], [length, 2.6], [0, 2.6]]), 2)
    wheels = [_disk(x * length, 2.55, 0.52, 0.52) for x in (0.2, 0.8)]
    return [body, _round_corners(np.array(cabin, float) * [length, 1], 1), *wheels]


def _tree(rng: np.random.Generator, kind: str) -> Rings:
    trunk = _block(-0.16, 2.0, 0.16, 4.0)
    if kind == "conifer":
        tiers = [np.array([[0, y], [w, y + 1.5], [-w, y + 1.5]]) for y, w in ((0, 0.75), (0.85, 1.0), (1.7, 1.25))]
        return [trunk, *tiers]
    if kind == "cloud_tree":
        return [trunk, *(_disk(x, y, 0.72, 0.66) for x, y in ((-0.75, 1.6), (0.75, 1.5), (0, 0.75), (0, 1.7)))]
    return [trunk, _blob(rng, range(3, 8), 0.12) * [1.25, 1.35] + [0, 1.4]]


def outline(rng: np.random.Generator, family: str) -> tuple[Rings, Rings]:
    """Draw the outline of a shape family: polygons to fill and polygons to cut out; y points down, any scale."""
    u = rng.uniform
    holes: Rings = []
    match family:
        case "circle":
            rings = [_polygon(64)]
        case "squircle":
            rings = [_superellipse(u(2.9, 3.3))]
        case "scalloped":
            rings = [_radial(1 + 0.07 * np.cos(12 * 2 * np.pi * np.arange(144) / 144))]
        case "ellipse":
            rings = [_polygon(64) * ([1, u(0.5, 0.68)] if u() < 0.5 else [u(0.5, 0.68), 1])]
        case "egg":
            egg = _polygon(64)
            rings = [egg * np.stack([u(0.62, 0.72) * (1 + 0.22 * egg[:, 1]), np.ones(64)], -1)]
        case "lens":
            x = np.linspace(-1, 1, 32)
            arc = 0.55 * (1 - x**2)
            rings = [np.concatenate([np.stack([x, -arc], -1), np.stack([x[::-1], arc], -1)])]
        case "isosceles":
            rings = [np.array([[0, -1], [u(0.7, 1.1), 1], [-u(0.7, 1.1), 1]])]
        case "right_angled":
            rings = [np.array([[-1, -1], [1, 1], [-1, 1.0]]) * [rng.choice([-1.0, 1.0]), 1]]
        case "rounded_triangle":
            rings = [_round_corners(np.array([[0, -1.2], [1.2, 1], [-1.2, 1.0]]))]
        case "sharp_square":
            rings = [_block(-1, -1, 1, 1)]
        case "rounded_square":
            rings = [_round_corners(_block(-1, -1, 1, 1), 2)]
        case "notched_square":
            rings, n = [_block(-1, -1, 1, 1)], 0.36
            holes = [_block(x - n, y - n, x + n, y + n) for x in (-1, 1) for y in (-1, 1)]
        case "upright_hexagon":
            rings = [_polygon(6)]
        case "flat_hexagon":
            rings = [_polygon(6, np.pi / 6)]
        case "long_hexagon":
            rings = [_polygon(6, np.pi / 6) * [1.5, 1]]
        case "star_5" | "star_6" | "star_8":
            points = int(family[-1])
            rings = [_star(points, u(0.42, 0.52) if points == 5 else u(0.55, 0.66))]
        case "plus":
            rings = [_plus(u(0.26, 0.38))]
        case "saltire":
            rings = _rotate([_plus(u(0.22, 0.32))], 45)
        case "potent":
            a = u(0.2, 0.28)
            bar = [_block(-0.55, -1, 0.55, -0.65), _block(-0.55, 0.65, 0.55, 1)]
            rings = [_plus(a), *bar, *_rotate(bar, 90)]
        case "blob_low":
            rings = [_blob(rng, range(2, 5), 0.36)]
        case "blob_mid":
            rings = [_blob(rng, range(3, 7), 0.36)]
        case "blob_high":
            rings = [_blob(rng, range(5, 10), 0.34)]
        case "round_ring":
            rings, holes = [_polygon(64)], [_polygon(64) * u(0.45, 0.6)]
        case "oval_ring":
            rings, holes = [_polygon(64) * [1.35, 1]], [_polygon(64) * [0.78, 0.5]]
        case "square_ring":
            rings, holes = [_block(-1, -1, 1, 1)], [_block(-0.52, -0.52, 0.52, 0.52)]
        case "standing":
            rings = _figure(u(0, 0.15), u(0.1, 0.4), 0)
        case "striding":
            rings = _figure(u(0.6, 1.1), u(0.3, 0.7), 0)
        case "waving":
            rings = _figure(u(0.1, 0.4), u(1.9, 2.5), 0)
        case "cloaked":
            rings = _figure(0.2, u(0.2, 0.5), u(1.5, 2.0))
        case "sedan":
            rings = _car([[0.2, 1.5], [0.32, 0], [0.68, 0], [0.85, 1.5]], u(6.2, 7.4))
        case "van":
            rings = _car([[0, 1.6], [0.02, -0.9], [0.78, -0.9], [0.92, 1.6]], u(6.0, 7.0))
        case "pickup":
            rings = _car([[0.42, 1.5], [0.48, -0.1], [0.74, -0.1], [0.84, 1.5]], u(6.8, 7.8))
        case "round_tree" | "conifer" | "cloud_tree":
            rings = _tree(rng, family)
        case "pickets":
            rings = [np.array([[x, 0.9], [x + 0.3, 0], [x + 0.6, 0.9], [x + 0.6, 6], [x, 6]]) for x in np.arange(12.0)]
            rings += [_block(0, y, 11.6, y + 0.5) for y in (1.6, 4.4)]
        case "railing":
            rings = [_block(x, 0, x + 0.26, 6) for x in np.arange(0, 12.1, 0.8)]
            rings += [_block(0, y, 12, y + 0.36) for y in (0, 5.2)]
        case "lattice":
            rings = [_block(x, 0, x + 0.5, 6) for x in (0, 5.75, 11.5)]
            rings += [_block(0, y, 12, y + 0.62) for y in (0.2, 2.3, 4.4)]
        case _:
            rings = [_block(-1, -1, 1, 1)]
    return rings, holes


def distance_map(rings: Rings, holes: Rings, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Fill an outline to ``size`` = (width, height) texels less `MARGIN` and return its signed distance.

    Returns:
        (height, width) uint8: ``127.5 + DISTANCE_STEP * texels``, positive inside.
    """
    points = np.concatenate(rings)
    low, high = points.min(0), points.max(0)
    fine, bits = 2, 4
    scale = fine * (np.array(size) - 2 * MARGIN) / (high - low)
    canvas = np.zeros((size[1] * fine, size[0] * fine), np.uint8)
    for ring, value in [(r, 255) for r in rings] + [(h, 0) for h in holes]:
        corner = ((ring - low) * scale + fine * MARGIN - 0.5) * (1 << bits)
        cv2.fillPoly(canvas, [np.round(corner).astype(np.int32)], value, cv2.LINE_8, bits)
    canvas[-fine * MARGIN :] = 0  # nothing below the ground
    inside = cv2.distanceTransform(canvas, cv2.DIST_L2, 3)
    outside = cv2.distanceTransform(255 - canvas, cv2.DIST_L2, 3)
    texels = cv2.resize((inside - outside) / fine, size, interpolation=cv2.INTER_AREA)
    return np.clip(127.5 + DISTANCE_STEP * texels, 0, 255).astype(np.uint8)


def aspect(rings: Rings) -> float:
    """Width over height of an outline."""
    points = np.concatenate(rings)
    width, height = points.max(0) - points.min(0)
    return float(width / height)

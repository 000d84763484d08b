"""The three kinds of bodies, each traced exactly by rays: flat cards, convex polyhedra and ellipsoids.

Object axes: y points down and the body stands on ``y = 0`` (an ellipsoid is centred on the origin).  A ray is
``origin + z * direction`` with directions scaled so that ``z`` is the camera's depth; bodies are hit at inverse depth
``1 / z``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.lookup import look_up

TINY = np.float32(1e-6)


class Hit(NamedTuple):
    """Where rays meet a body; arrays have the shape of the rays.

    Args:
        inverse_depth: 1 / metres.
        face: Index of the body's planar piece, or 0 for a single one.
        u: Texture coordinate, 1 per tile.
        v: Texture coordinate, 1 per tile.
        shade: Brightness from the direction of the light, or a number for the whole body.
    """

    inverse_depth: NDArray[np.float32]
    face: NDArray[np.uint8] | int
    u: NDArray[np.float32]
    v: NDArray[np.float32]
    shade: NDArray[np.float32] | float


def lit(normals: NDArray, light: NDArray) -> NDArray:
    """Lambert's law with a bright shadow side: (..., 3) unit normals to gains of 0.62-1.08."""
    return np.float32(0.62) + np.float32(0.46) * np.clip(normals @ light, 0.0, 1.0)


@dataclass(frozen=True)
class Card:
    """A flat textured silhouette standing upright in the plane z = 0; its texture's alpha is its outline.

    Args:
        width: Metres along x, centred.
        height: Metres along -y.
    """

    width: float
    height: float
    faces = 1

    def hull(self, bend: NDArray | None) -> NDArray:
        """Points whose convex hull holds the card: (V, 3), or (T, V, 3) bent by ``bend`` (T, 2)."""
        v = np.repeat(np.linspace(-1, 0, 5 if bend is not None else 2), 2)
        u = np.tile([-self.width / 2, self.width / 2], len(v) // 2)
        points = np.stack([u, v * self.height, np.zeros_like(v)], -1)
        if bend is None:
            return points
        points = np.repeat(points[None], len(bend), 0)
        points[..., 0] += bend[:, :1] * v + bend[:, 1:] * v**2
        return points

    def material_from_card(self, x: NDArray, y: NDArray, bend: NDArray) -> NDArray:
        """x of the unbent card at a point (x, y) of the bent one; ``bend`` is (2,): metres of shear and of curve."""
        n = y / np.float32(self.height)
        return x - (np.float32(bend[0]) + np.float32(bend[1]) * n) * n

    def card_from_material(self, x: NDArray, y: NDArray, bend: NDArray) -> NDArray:
        """Inverse of `material_from_card`; ``bend`` may be (..., 2)."""
        n = y / self.height
        return x + (bend[..., 0] + bend[..., 1] * n) * n

    def trace(self, origin: NDArray, rays: NDArray, bend: NDArray | None, light: NDArray) -> Hit:
        """Intersect; ``light`` (3,) points to the light in object axes."""
        dx, dy, dz = rays
        inverse = np.maximum(dz * np.float32(-1 / origin[2]), TINY)
        z = 1 / inverse
        x, y = np.float32(origin[0]) + dx * z, np.float32(origin[1]) + dy * z
        if bend is not None:
            x = self.material_from_card(x, y, bend)
        u, v = x * np.float32(1 / self.width) + np.float32(0.5), y * np.float32(1 / self.height) + np.float32(1)
        return Hit(inverse, 0, u, v, float(0.7 + 0.34 * abs(light[2])))

    def plane(self, face: int) -> tuple[NDArray, float]:
        """(normal, offset) of a piece: points X with ``normal . X = offset``."""
        return np.array([0.0, 0.0, 1.0]), 0.0


@dataclass(frozen=True)
class Polyhedron:
    """A convex body of flat faces.

    Args:
        vertices: (V, 3) metres.
        normals: (F, 3) outward unit normals.
        offsets: (F,) ``normal . X = offset`` on the face.
        axes: (F, 2, 3) texture coordinates per metre: ``u = axes[f, 0] . X``.
        shifts: (F, 2) added to the texture coordinates.
    """

    vertices: NDArray
    normals: NDArray
    offsets: NDArray
    axes: NDArray
    shifts: NDArray

    @property
    def faces(self) -> int:
        """How many planar pieces."""
        return len(self.offsets)

    def hull(self, bend: NDArray | None) -> NDArray:
        """Points whose convex hull is the body: (V, 3)."""
        return self.vertices

    def trace(self, origin: NDArray, rays: NDArray, bend: NDArray | None, light: NDArray) -> Hit | None:
        """Intersect; None where the origin is inside.  Rays beside the body hit the extended faces."""
        height = self.normals @ origin - self.offsets
        front = np.flatnonzero(height > 1e-6)
        if not len(front):
            return None
        dx, dy, dz = rays
        coefficients = (self.normals[front] / -height[front, None]).astype(np.float32)
        inverse, face = None, np.full(dx.shape, front[0], np.uint8)
        for index, (a, b, c) in zip(front, coefficients):
            candidate = a * dx + b * dy + c * dz
            if inverse is None:
                inverse = candidate
            else:
                nearer = candidate < inverse
                np.copyto(inverse, candidate, where=nearer)
                np.copyto(face, np.uint8(index), where=nearer)
        inverse = np.maximum(inverse, TINY)
        z = 1 / inverse
        table = np.concatenate([self.axes.reshape(-1, 6), self.axes @ origin + self.shifts], 1)
        ux, uy, uz, vx, vy, vz, u0, v0 = (look_up(column, face) for column in table.T)
        u, v = u0 + z * (ux * dx + uy * dy + uz * dz), v0 + z * (vx * dx + vy * dy + vz * dz)
        return Hit(inverse, face, u, v, look_up(lit(self.normals, light), face))

    def plane(self, face: int) -> tuple[NDArray, float]:
        """(normal, offset) of a piece: points X with ``normal . X = offset``."""
        return self.normals[face], float(self.offsets[face])


@dataclass(frozen=True)
class Ellipsoid:
    """A smooth body centred on the origin.

    Args:
        radii: (3,) metres.
        repeats: (2,) tiles of the texture round the equator and from pole to pole.
    """

    radii: NDArray
    repeats: tuple[float, float]
    faces = 1

    def hull(self, bend: NDArray | None) -> NDArray:
        """The corners of the bounding box: (8, 3)."""
        return np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * self.radii

    def outline(self, origin: NDArray, ray_matrix: NDArray) -> NDArray[np.float64]:
        """The image outline as a conic: (3, 3) symmetric C with ``p' C p > 0`` inside, for homogeneous pixels p."""
        unit_origin, unit_rays = origin / self.radii, ray_matrix / self.radii[:, None]
        toward = unit_rays.T @ unit_origin
        return np.outer(toward, toward) - (unit_origin @ unit_origin - 1) * unit_rays.T @ unit_rays

    def trace(self, origin: NDArray, rays: NDArray, bend: NDArray | None, light: NDArray) -> Hit | None:
        """Intersect; None where the origin is inside.  Rays beside the body hit it at their closest approach."""
        o = origin / self.radii
        height = float(o @ o) - 1
        if height <= 0:
            return None
        dx, dy, dz = (ray * np.float32(1 / r) for ray, r in zip(rays, self.radii))
        a = dx * dx + dy * dy + dz * dz
        b = np.float32(o[0]) * dx + np.float32(o[1]) * dy + np.float32(o[2]) * dz
        root = np.sqrt(np.maximum(b * b - a * np.float32(height), 0))
        z = np.maximum((root + b) / -a, TINY)
        inverse = 1 / z
        x, y, w = np.float32(o[0]) + dx * z, np.float32(o[1]) + dy * z, np.float32(o[2]) + dz * z
        u = np.arctan2(x, w) * np.float32(self.repeats[0] / (2 * np.pi))
        v = y * np.float32(self.repeats[1] / 2)
        lx, ly, lz = (light / np.linalg.norm(light)).astype(np.float32)
        shade = np.float32(0.58) + np.float32(0.5) * np.maximum(lx * x + ly * y + lz * w, 0)
        return Hit(inverse, 0, u, v, shade)


Solid = Card | Polyhedron | Ellipsoid


def _polyhedron(vertices: list[list[float]], faces: list[list[int]], tile: float, shifts: NDArray) -> Polyhedron:
    points = np.array(vertices, float)
    centre = points.mean(0)
    a, b, c = points[np.array([face[:3] for face in faces]).T]
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals *= np.sign(((a - centre) * normals).sum(1, keepdims=True))
    along = np.stack([-normals[:, 2], np.zeros(len(faces)), normals[:, 0]], -1)
    length = np.linalg.norm(along, axis=1, keepdims=True)
    along = np.where(length > 1e-6, along / np.maximum(length, 1e-6), [1.0, 0.0, 0.0])
    down = np.cross(along, normals)
    down *= np.where(down[:, 1:2] > -1e-9, 1.0, -1.0)
    axes = np.stack([along, down], 1) / tile
    return Polyhedron(points, normals, (normals * a).sum(1), axes, shifts[: len(faces)])


def box(width: float, height: float, length: float, tile: float, shifts: NDArray) -> Polyhedron:
    """A cuboid; ``tile`` is the side of the texture in metres and ``shifts`` (6 or more, 2) move it on each face."""
    w, d = width / 2, length / 2
    corners = [[x, y, z] for y in (0.0, -height) for x, z in ((-w, -d), (w, -d), (w, d), (-w, d))]
    sides = [[i, (i + 1) % 4, (i + 1) % 4 + 4, i + 4] for i in range(4)]
    return _polyhedron(corners, [*sides, [4, 5, 6, 7], [0, 1, 2, 3]], tile, shifts)


def prism(sides: int, radius: float, height: float, top: float, tile: float, shifts: NDArray) -> Polyhedron:
    """An upright prism, or with ``top`` < 1 a frustum, or with 0 a pyramid."""
    angle = 2 * np.pi * np.arange(sides) / sides
    base = np.stack([radius * np.sin(angle), 0 * angle, radius * np.cos(angle)], -1)
    ring = list(range(sides))
    if top == 0:
        corners = [*base.tolist(), [0.0, -height, 0.0]]
        return _polyhedron(corners, [*([i, (i + 1) % sides, sides] for i in ring), ring], tile, shifts)
    corners = base.tolist() + (base * [top, 1, top] - [0, height, 0]).tolist()
    walls = [[i, (i + 1) % sides, (i + 1) % sides + sides, i + sides] for i in ring]
    return _polyhedron(corners, [*walls, [i + sides for i in ring], ring], tile, shifts)

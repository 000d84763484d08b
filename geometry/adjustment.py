"""Fitting the poses of a few frames and the inverse depths of one of them to optical flow.

Pixel i of the reference, calibrated as x_i = (x, y, 1) with inverse depth w_i, is seen by target k at
``project(R_k x_i + w_i t_k)``.  Poses and inverse depths are fitted to the flow by damped Gauss-Newton under a
Geman-McClure loss; the inverse depths are eliminated pixel by pixel (Schur complement), so that the poses of four
frames cost one 24 x 24 system a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Views:
    """What N targets see of P pixels: rays (3, P), calibrated targets (N, 2, P), trusted (N, P), focal length.

    Components stand before pixels: sums over so short an axis are slow at the end.
    """

    rays: NDArray
    seen: NDArray
    trusted: NDArray[np.bool_]
    focal: float

    def thin(self, count: int) -> tuple[Views, slice]:
        """At most about ``count`` pixels, evenly, and which they are."""
        step = slice(None, None, max(1, self.rays.shape[1] // count))
        return self.at(step), step

    def at(self, pixels: slice | NDArray) -> Views:
        """Some of the pixels."""
        parts = (part[..., pixels] for part in (self.rays, self.seen, self.trusted))
        return Views(*(np.ascontiguousarray(part) for part in parts), self.focal)

    def residuals(self, rotation: NDArray, translation: NDArray, w: NDArray) -> tuple[NDArray, NDArray]:
        """Pixels (N, 2, P) of the fit minus those seen, and the points (N, 3, P) in target axes over the depth."""
        kind = self.rays.dtype
        points = rotation.astype(kind) @ self.rays + translation.astype(kind)[..., None] * w
        ahead = np.maximum(points[:, 2:], kind.type(1e-3))
        return (points[:, :2] / ahead - self.seen) * kind.type(self.focal), points

    def by_inverse_depth(self, points: NDArray, translation: NDArray) -> NDArray:
        """Derivative (N, 2, P) of the residuals by w."""
        kind = points.dtype
        ahead, shift = np.maximum(points[:, 2:], kind.type(1e-3)), translation.astype(kind)[..., None]
        across = shift[:, :2] - points[:, :2] / ahead * shift[:, 2:]
        return kind.type(self.focal) * across / ahead

    def by_pose(self, points: NDArray, w: NDArray) -> NDArray:
        """Derivative (N, 2, 6, P) of the residuals by translation and small rotation of the target."""
        ahead = np.maximum(points[:, 2], 1e-3)
        x, y = points[:, 0] / ahead, points[:, 1] / ahead
        u = w / ahead
        zero = np.zeros_like(x)
        rows = [[u, zero, -x * u, -x * y, 1 + x * x, -y], [zero, u, -y * u, -1 - y * y, x * y, x]]
        return self.focal * np.stack([np.stack(row, 1) for row in rows], 1)

    def weights(self, residual: NDArray, scale: float) -> NDArray:
        """Geman-McClure weights (N, P); 0 where not trusted."""
        size = residual.dtype.type(scale**2)
        return self.trusted * np.square(size / (squared_lengths(residual) + size))

    def cost(self, residual: NDArray, scale: float) -> float:
        """Mean robust loss in [0, 1]."""
        squared = squared_lengths(residual)[self.trusted]
        return float((squared / (squared + scale**2)).mean()) if squared.size else 0.0


def squared_lengths(vectors: NDArray) -> NDArray:
    """(N, P) of vectors (N, 2, P)."""
    return vectors[:, 0] ** 2 + vectors[:, 1] ** 2


def rotation_of(vector: NDArray) -> NDArray:
    """Rodrigues' formula: a rotation vector (3,) in radians to its matrix (3, 3)."""
    x, y, z = vector.tolist()
    angle = math.sqrt(x * x + y * y + z * z)
    s, c = (math.sin(angle) / angle, (1 - math.cos(angle)) / angle**2) if angle > 1e-6 else (1.0, 0.5)
    return np.array(
        [
            [1 - c * (y * y + z * z), c * x * y - s * z, c * x * z + s * y],
            [c * x * y + s * z, 1 - c * (x * x + z * z), c * y * z - s * x],
            [c * x * z - s * y, c * y * z + s * x, 1 - c * (x * x + y * y)],
        ]
    )


def make_views(flows: Tensor, masks: Tensor, intrinsics: Tensor, stride: int = 1) -> Views:
    """Views of all pixels, or of those ``stride`` apart, row by row.

    Args:
        flows: (N, 2, H, W) pixels.
        masks: (N, H, W) bool.
        intrinsics: (3, 3).
        stride: Pixels between those that are taken, along both axes.
    """
    height, width = flows.shape[-2:]
    flows, masks = flows[..., ::stride, ::stride], masks[..., ::stride, ::stride]
    vectors = flows.detach().cpu().numpy().astype(np.float64).reshape(len(flows), 2, -1)
    y, x = np.mgrid[:height:stride, :width:stride].reshape(2, -1) + 0.5
    source = np.stack([x, y, np.ones_like(x)])
    k = intrinsics.detach().cpu().numpy().astype(np.float64)
    inverse = np.linalg.inv(k)
    trusted = masks.cpu().numpy().reshape(len(flows), -1) & np.isfinite(vectors).all(1)
    ends = source[:2] + np.where(trusted[:, None], vectors, 0)
    seen = inverse[:2, :2] @ ends + inverse[:2, 2:]
    return Views(inverse @ source, seen, trusted, float(np.sqrt(k[0, 0] * k[1, 1])))


def adjust(
    views: Views, rotation: NDArray, translation: NDArray, w: NDArray, scale: float, iterations: int
) -> tuple[NDArray, NDArray, NDArray]:
    """Fit poses and inverse depths together.

    Args:
        views: N targets of P pixels.
        rotation: (N, 3, 3) to start from.
        translation: (N, 3) to start from.
        w: (P,) inverse depths to start from.
        scale: Pixels at which the robust loss bends.
        iterations: At most so many steps.

    Returns:
        Rotations, translations and inverse depths, in the scale in which the mean length of the translations is 1.
    """
    count, damping = len(rotation), 1e-3
    residual, points = views.residuals(rotation, translation, w)
    cost = views.cost(residual, scale)
    middle = float(np.median(w))
    floor = 0.02 * middle
    hold = 1 / (4 * middle**2)  # damps the inverse depths of pixels without parallax, without a pull to any value
    for _ in range(iterations):
        weight = views.weights(residual, scale)
        by_w = views.by_inverse_depth(points, translation)
        weighted_w = by_w * weight[:, None]
        by_pose = views.by_pose(points, w)
        weighted = by_pose * weight[:, None, None]
        own = (weighted @ by_pose.transpose(0, 1, 3, 2)).sum(1)
        slope = (weighted @ residual[..., None]).sum(1).ravel()
        cross = (weighted[:, 0] * by_w[:, None, 0] + weighted[:, 1] * by_w[:, None, 1]).reshape(6 * count, -1)
        slope_w = (weighted_w * residual).sum((0, 1))
        own_w = (weighted_w * by_w).sum((0, 1)) * (1 + damping) + hold
        full = np.zeros((6 * count, 6 * count))
        for k in range(count):
            full[6 * k : 6 * k + 6, 6 * k : 6 * k + 6] = own[k]
        full += damping * np.diag(full.diagonal()) + 1e-9 * np.eye(6 * count)
        reduced = full - (cross / own_w) @ cross.T
        step = -np.linalg.lstsq(reduced, slope - cross @ (slope_w / own_w), rcond=1e-12)[0]
        step_w = -(slope_w + step @ cross) / own_w
        step = step.reshape(count, 6)
        turns = np.stack([rotation_of(vector) for vector in step[:, 3:]])
        trial = (
            turns @ rotation,
            (turns @ translation[..., None])[..., 0] + step[:, :3],
            np.maximum(w + step_w, floor),
        )
        moved, moved_points = views.residuals(*trial)
        trial_cost = views.cost(moved, scale)
        if trial_cost < cost:
            gain, cost = cost - trial_cost, trial_cost
            rotation, translation, w = trial
            residual, points, damping = moved, moved_points, damping / 5
            if gain < 1e-4 * cost:
                break
        else:
            damping *= 10
    length = float(np.linalg.norm(translation, axis=-1).mean())
    return (rotation, translation / length, w * length) if length > 0 else (rotation, translation, w)


def solve_pixels(views: Views, rotation: NDArray, translation: NDArray, w: NDArray, scale: float) -> NDArray:
    """Inverse depths (P,) of all pixels with the poses fixed; may be negative.  Single precision is enough."""
    middle = np.float32(np.median(np.abs(w)))
    parts = (part.astype(np.float32) for part in (views.rays, views.seen))
    views, w = Views(*parts, views.trusted, views.focal), w.astype(np.float32)
    for _ in range(6):
        residual, points = views.residuals(rotation, translation, w)
        by_w = views.by_inverse_depth(points, translation)
        weighted = by_w * views.weights(residual, scale)[:, None]
        step = (weighted * residual).sum((0, 1)) / ((weighted * by_w).sum((0, 1)) + np.float32(1e-9))
        w = np.clip(w - np.clip(step, -2 * middle, 2 * middle), -2 * middle, 50 * middle)
    return w.astype(np.float64)

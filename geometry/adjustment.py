"""Fitting the poses of a few frames and the inverse depths of one of them to optical flow.

Pixel i of the reference, calibrated as x_i = (x, y, 1) with inverse depth w_i, is seen by target k at
``project(R_k x_i + w_i t_k)``.  Poses and inverse depths are fitted to the flow by damped Gauss-Newton under a
Geman-McClure loss; the inverse depths are eliminated pixel by pixel (Schur complement), so that the poses of four
frames cost one 24 x 24 system a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Views:
    """What N targets see of P pixels: rays (P, 3), calibrated targets (N, P, 2), trusted (N, P), focal length."""

    rays: NDArray
    seen: NDArray
    trusted: NDArray[np.bool_]
    focal: float

    def thin(self, count: int) -> tuple[Views, slice]:
        """At most about ``count`` pixels, evenly, and which they are."""
        step = slice(None, None, max(1, self.rays.shape[0] // count))
        return Views(self.rays[step], self.seen[:, step], self.trusted[:, step], self.focal), step

    def residuals(self, rotation: NDArray, translation: NDArray, w: NDArray) -> tuple[NDArray, NDArray]:
        """Pixels (N, P, 2) of the fit minus those seen, and the points (N, P, 3) in target axes over the depth."""
        points = self.rays @ rotation.transpose(0, 2, 1) + w[:, None] * translation[:, None]
        ahead = np.maximum(points[..., 2:], 1e-3)
        return (points[..., :2] / ahead - self.seen) * self.focal, points

    def by_inverse_depth(self, points: NDArray, translation: NDArray) -> NDArray:
        """Derivative (N, P, 2) of the residuals by w."""
        ahead = np.maximum(points[..., 2:], 1e-3)
        across = translation[:, None, :2] - points[..., :2] / ahead * translation[:, None, 2:]
        return self.focal * across / ahead

    def by_pose(self, points: NDArray, w: NDArray) -> NDArray:
        """Derivative (N, P, 2, 6) of the residuals by translation and small rotation of the target."""
        ahead = np.maximum(points[..., 2], 1e-3)
        x, y = points[..., 0] / ahead, points[..., 1] / ahead
        u = np.broadcast_to(w, x.shape) / ahead
        zero = np.zeros_like(x)
        rows = [[u, zero, -x * u, -x * y, 1 + x * x, -y], [zero, u, -y * u, -1 - y * y, x * y, x]]
        return self.focal * np.stack([np.stack(row, -1) for row in rows], -2)

    def weights(self, residual: NDArray, scale: float) -> NDArray:
        """Geman-McClure weights (N, P); 0 where not trusted."""
        return self.trusted * (scale**2 / ((residual**2).sum(-1) + scale**2)) ** 2

    def cost(self, residual: NDArray, scale: float) -> float:
        """Mean robust loss in [0, 1]."""
        squared = (residual**2).sum(-1)[self.trusted]
        return float((squared / (squared + scale**2)).mean()) if squared.size else 0.0


def make_views(flows: Tensor, masks: Tensor, intrinsics: Tensor) -> Views:
    """Views of all pixels, row by row: flows (N, 2, H, W), masks (N, H, W), intrinsics (3, 3)."""
    height, width = flows.shape[-2:]
    vectors = flows.detach().cpu().numpy().astype(np.float64).reshape(len(flows), 2, -1).transpose(0, 2, 1)
    y, x = np.mgrid[:height, :width].reshape(2, -1) + 0.5
    source = np.stack([x, y, np.ones_like(x)], -1)
    k = intrinsics.detach().cpu().numpy().astype(np.float64)
    inverse = np.linalg.inv(k)
    trusted = masks.cpu().numpy().reshape(len(flows), -1) & np.isfinite(vectors).all(-1)
    seen = (source[:, :2] + np.where(trusted[..., None], vectors, 0)) @ inverse[:2, :2].T + inverse[:2, 2]
    return Views(source @ inverse.T, seen, trusted, float(np.sqrt(k[0, 0] * k[1, 1])))


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
        by_pose = views.by_pose(points, w)
        weighted = by_pose * weight[..., None, None]
        turned = weighted.reshape(count, -1, 6).transpose(0, 2, 1)
        own = turned @ by_pose.reshape(count, -1, 6)
        slope = (turned @ residual.reshape(count, -1, 1)).ravel()
        cross = (weighted * by_w[..., None]).sum(2).transpose(1, 0, 2).reshape(len(w), -1)
        slope_w = (weight[..., None] * by_w * residual).sum((0, 2))
        own_w = (weight[..., None] * by_w**2).sum((0, 2)) * (1 + damping) + hold
        full = np.zeros((6 * count, 6 * count))
        for k in range(count):
            full[6 * k : 6 * k + 6, 6 * k : 6 * k + 6] = own[k]
        full += damping * np.diag(full.diagonal()) + 1e-9 * np.eye(6 * count)
        reduced = full - cross.T @ (cross / own_w[:, None])
        step = -np.linalg.lstsq(reduced, slope - cross.T @ (slope_w / own_w), rcond=1e-12)[0]
        step_w = -(slope_w + cross @ step) / own_w
        step = step.reshape(count, 6)
        trial = (
            Rotation.from_rotvec(step[:, 3:]).as_matrix() @ rotation,
            np.einsum("kij,kj->ki", Rotation.from_rotvec(step[:, 3:]).as_matrix(), translation) + step[:, :3],
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
    """Inverse depths (P,) of all pixels with the poses fixed; may be negative."""
    middle = float(np.median(np.abs(w)))
    for _ in range(6):
        residual, points = views.residuals(rotation, translation, w)
        by_w = views.by_inverse_depth(points, translation)
        weight = views.weights(residual, scale)[..., None]
        step = (weight * by_w * residual).sum((0, 2)) / ((weight * by_w**2).sum((0, 2)) + 1e-9)
        w = np.clip(w - np.clip(step, -2 * middle, 2 * middle), -2 * middle, 50 * middle)
    return w

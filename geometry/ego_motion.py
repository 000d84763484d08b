"""Camera motion between two images, from optical flow and intrinsics, without learning.

Both estimates work on correspondences (x, y): calibrated source and target points of trusted flow.

`fit_ego_motion` fits directly.  With rotation R and m = R x, what is left of the flow must point along the
translational direction d = t_xy - m t_z (the epipole lies on that line), and *forwards*, as depth is positive.  The
residual is the part across d, or all of it where it points backwards, times the focal length: pixels.  Directions over
the whole sphere are tried with the rotation that fits each best (linear in the small rotation, robust least squares);
the best few are refined together with their rotation under a Geman-McClure loss.

`ego_motion_from_essential` is the five-point essential matrix with RANSAC.

Both compare with a rotation alone and return translation zero where that explains the flow as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geometry.adjustment import rotation_of
from geometry.errors import GeometryError

POINTS_SEARCH, POINTS_REFINE = 300, 1200
DIRECTIONS, REFINED = 120, 3
NOISE = (0.05, 1.0)
"""Bounds in pixels of the estimated flow noise."""

MIN_POINTS = 16
MIN_STILL = 0.05
"""Median residual in pixels of the best rotation under which no translation is looked for."""

MIN_CONTRAST = 3.0
"""Least ratio of that residual to the one with translation: flow errors alone, which are alike along an image's edges
and textures, reach 2.6 on rendered worlds; directions found at less than 3 are mostly wrong."""


@dataclass(frozen=True, eq=False)
class EgoMotion:
    """Motion of the camera between a source and a target image.

    Args:
        target_from_source: (4, 4) float64; the translation has length 1, or 0 where only a rotation (or nothing) is
            seen.
        inliers: (H, W) bool pixels whose flow the motion explains at some positive depth.
        inlier_ratio: Share of the trusted flow that does; low where objects fill the image or the fit failed.
        parallax: Median length in pixels of the inliers' flow along the epipolar lines after the rotation is taken out
            (of what is left of it, without translation).
        noise: Median residual in pixels of the inliers.
        contrast: Median residual of the best rotation alone over that of the best rotation and translation, over all
            trusted flow: how surely the camera translates; at least `MIN_CONTRAST` where the translation is not 0.
        positive_depth: Share of the inliers with clear parallax whose depth is positive; 1 without translation.
    """

    target_from_source: Tensor
    inliers: Tensor
    inlier_ratio: float
    parallax: float
    noise: float
    contrast: float
    positive_depth: float

    @property
    def translates(self) -> bool:
        """Whether a direction of translation was found."""
        return bool(self.target_from_source[:3, 3].any())


@dataclass(frozen=True, eq=False)
class _Points:
    """Calibrated correspondences x (N, 2) and y (N, 2), and the focal length in pixels."""

    x: NDArray
    y: NDArray
    focal: float

    def thin(self, count: int) -> _Points:
        """At most about ``count`` of them, evenly."""
        step = max(1, round(len(self.x) / count))
        return _Points(self.x[::step], self.y[::step], self.focal)


def calibrated(flow: Tensor, mask: Tensor | None, intrinsics: Tensor) -> tuple[_Points, NDArray[np.bool_]]:
    """Correspondences (row by row) of the pixels that a mask trusts, and that mask (H, W).

    Raises:
        GeometryError: A shape is wrong.
    """
    if flow.ndim != 3 or flow.shape[0] != 2:
        raise GeometryError(f"expected flow (2, H, W), found {tuple(flow.shape)}")
    if tuple(intrinsics.shape) != (3, 3):
        raise GeometryError(f"expected intrinsics (3, 3), found {tuple(intrinsics.shape)}")
    if mask is not None and mask.shape != flow.shape[1:]:
        raise GeometryError(f"expected a mask {tuple(flow.shape[1:])}, found {tuple(mask.shape)}")
    vectors = flow.detach().cpu().numpy().astype(np.float64)
    trusted = np.isfinite(vectors).all(0)
    if mask is not None:
        trusted &= mask.cpu().numpy()
    rows, columns = np.nonzero(trusted)
    source = np.stack([columns + 0.5, rows + 0.5], -1)
    k = intrinsics.detach().cpu().numpy().astype(np.float64)
    inverse = np.linalg.inv(k)
    x, y = (p @ inverse[:2, :2].T + inverse[:2, 2] for p in (source, source + vectors[:, rows, columns].T))
    return _Points(x, y, float(np.sqrt(k[0, 0] * k[1, 1]))), trusted


def _turn(x: NDArray, rotation: NDArray) -> NDArray:
    """Points (N, 2) seen after a rotation (3, 3)."""
    turned = x @ rotation[:, :2].T + rotation[:, 2]
    return turned[:, :2] / turned[:, 2:]


def _rotational(m: NDArray) -> tuple[NDArray, NDArray]:
    """Derivatives of calibrated points by a small rotation vector: (3, N) of x and of y."""
    x, y = m.T
    return np.stack([-x * y, 1 + x * x, -y]), np.stack([-1 - y * y, x * y, x])


def _split(points: _Points, rotation: NDArray, direction: NDArray) -> tuple[NDArray, NDArray]:
    """Flow without the rotation, along and across the lines from the epipole, in pixels."""
    m = _turn(points.x, rotation)
    rest = (points.y - m) * points.focal
    line = direction[:2] - m * direction[2]
    line /= np.sqrt(_squared(line))[:, None] + 1e-9
    along = rest[:, 0] * line[:, 0] + rest[:, 1] * line[:, 1]
    return along, rest[:, 1] * line[:, 0] - rest[:, 0] * line[:, 1]


def _squared(pairs: NDArray) -> NDArray:
    """Squared lengths (...) of (..., 2); several times faster than a sum over so short an axis."""
    return pairs[..., 0] ** 2 + pairs[..., 1] ** 2


def _robust(squared: NDArray, scale: float) -> NDArray:
    """Geman-McClure loss in [0, 1)."""
    return squared / (squared + scale**2)


def _rotation_only(points: _Points, iterations: int = 8) -> NDArray:
    """Robust rotation (3, 3); the scale shrinks from large to the noise."""
    rotation = np.eye(3)
    for iteration in range(iterations):
        m = _turn(points.x, rotation)
        rest = (points.y - m) * points.focal
        squared = _squared(rest)
        scale = max(1.5 * np.sqrt(np.median(squared)), 0.3 if iteration + 1 < iterations else NOISE[0])
        weight = points.focal * (scale**2 / (squared + scale**2)) ** 2
        by_x, by_y = _rotational(m)
        weighted_x, weighted_y = by_x * weight, by_y * weight
        normal = points.focal * (weighted_x @ by_x.T + weighted_y @ by_y.T) + 1e-9 * np.eye(3)
        step = np.linalg.solve(normal, weighted_x @ rest[:, 0] + weighted_y @ rest[:, 1])
        rotation = rotation_of(step) @ rotation
    return rotation


def _still(points: _Points, rotation: NDArray) -> NDArray:
    """Residuals (N,) in pixels of a rotation alone."""
    return np.sqrt(_squared(points.y - _turn(points.x, rotation))) * points.focal


def _hemisphere(count: int) -> NDArray:
    """Evenly spread directions with z >= 0: (count, 3)."""
    index = np.arange(count) + 0.5
    z, angle = index / count, np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], -1)


def _search(points: _Points, rotation: NDArray, scale: float) -> list[tuple[NDArray, NDArray]]:
    """The best rotations and directions of a sphere of candidates."""
    directions = _hemisphere(DIRECTIONS)
    m = _turn(points.x, rotation)
    rest_x, rest_y = ((points.y - m) * points.focal).T
    line_x, line_y = (directions[:, k, None] - m[:, k] * directions[:, 2:] for k in (0, 1))
    length = np.sqrt(line_x**2 + line_y**2) + 1e-9
    line_x, line_y = line_x / length, line_y / length
    by_x, by_y = (points.focal * part for part in _rotational(m))
    jacobian = line_x[:, None] * by_y - line_y[:, None] * by_x
    offset = line_x * rest_y - line_y * rest_x
    turns = np.zeros((len(directions), 3))
    for step in (4.0, 2.0, 1.0, 1.0):
        residual = offset - (turns[:, None] @ jacobian)[:, 0]
        size = (step * scale) ** 2
        weighted = jacobian * ((size / (residual**2 + size)) ** 2)[:, None]
        normal = weighted @ jacobian.transpose(0, 2, 1) + 1e-6 * np.eye(3)
        turns = np.linalg.solve(normal, weighted @ offset[..., None])[..., 0]
    left_x, left_y = rest_x - turns @ by_x, rest_y - turns @ by_y
    along, across = left_x * line_x + left_y * line_y, left_y * line_x - left_x * line_y
    cost = np.stack([_robust(across**2 + np.minimum(sign * along, 0) ** 2, 2 * scale).mean(-1) for sign in (1, -1)], -1)
    found: list[tuple[NDArray, NDArray]] = []
    for place in np.argsort(cost, axis=None):
        index, sign = np.unravel_index(place, cost.shape)
        direction = directions[index] * (1, -1)[sign]
        if all(direction @ other < 0.9 for _, other in found):
            found.append((rotation_of(turns[index]) @ rotation, direction))
        if len(found) == REFINED:
            break
    return found


def _across(direction: NDArray) -> NDArray:
    """(2, 3) unit vectors across a direction and each other."""
    x, y, z = direction.tolist()
    a, b, c = (0.0, z, -y) if abs(x) < 0.6 else (-z, 0.0, x)
    length = math.sqrt(a * a + b * b + c * c)
    a, b, c = a / length, b / length, c / length
    return np.array([[a, b, c], [y * c - z * b, z * a - x * c, x * b - y * a]])


def _derivatives(
    points: _Points, rotation: NDArray, direction: NDArray, tangent: NDArray
) -> tuple[NDArray, NDArray, NDArray]:
    """Residuals (2, N) in pixels, across and backwards along, and their derivatives (5, N) each.

    By a small rotation vector and by steps of the direction along the two ``tangent`` vectors.
    """
    m = _turn(points.x, rotation)
    line = direction[:2] - m * direction[2]
    length = np.sqrt(_squared(line)) + 1e-9
    unit_x, unit_y = line[:, 0] / length, line[:, 1] / length
    rest_x, rest_y = ((points.y - m) * points.focal).T
    along, across = rest_x * unit_x + rest_y * unit_y, rest_y * unit_x - rest_x * unit_y
    x, y = m.T
    by_x, by_y = _rotational(m)
    sideways = unit_x * by_y - unit_y * by_x
    lever = direction[2] * sideways / length
    bent = (unit_x * (tangent[:, 1:2] - y * tangent[:, 2:]) - unit_y * (tangent[:, :1] - x * tangent[:, 2:])) / length
    by_across = np.concatenate([along * lever - points.focal * sideways, -along * bent])
    by_along = np.concatenate([-across * lever - points.focal * (unit_x * by_x + unit_y * by_y), across * bent])
    by_along[:, along >= 0] = 0
    return np.stack([across, np.minimum(along, 0)]), by_across, by_along


def _refine(
    points: _Points, rotation: NDArray, direction: NDArray, scale: float, iterations: int
) -> tuple[NDArray, NDArray, float]:
    """Levenberg-Marquardt on rotation and direction: the two and their mean robust loss."""
    damping, tangent = 1e-3, _across(direction)
    residual, by_across, by_along = _derivatives(points, rotation, direction, tangent)
    squared = residual[0] ** 2 + residual[1] ** 2
    cost = _robust(squared, scale).mean()
    for _ in range(iterations):
        weight = (scale**2 / (squared + scale**2)) ** 2
        across, along = by_across * weight, by_along * weight
        normal, slope = across @ by_across.T + along @ by_along.T, across @ residual[0] + along @ residual[1]
        step = -np.linalg.solve(normal + damping * np.diag(normal.diagonal() + 1e-9), slope)
        moved = direction + step[3:] @ tangent
        turned, moved = rotation_of(step[:3]) @ rotation, moved / np.linalg.norm(moved)
        other = _across(moved)
        trial = _derivatives(points, turned, moved, other)
        trial_squared = trial[0][0] ** 2 + trial[0][1] ** 2
        trial_cost = _robust(trial_squared, scale).mean()
        if trial_cost < cost:
            gain = cost - trial_cost
            rotation, direction, tangent, squared = turned, moved, other, trial_squared
            (residual, by_across, by_along), cost, damping = trial, trial_cost, damping / 5
            if gain < 1e-5:
                break
        else:
            damping *= 10
    return rotation, direction, float(cost)


def _result(
    points: _Points, trusted: NDArray[np.bool_], rotation: NDArray, direction: NDArray, turn: NDArray, still: NDArray
) -> EgoMotion:
    """Choose between the full motion and the rotation ``turn`` with residuals ``still``, and describe the choice."""
    along, across = _split(points, rotation, direction)
    full = np.hypot(across, np.minimum(along, 0))
    rest = float(np.median(still))
    contrast = rest / max(float(np.median(full)), 1e-3)
    moves = rest > MIN_STILL and contrast > MIN_CONTRAST
    size = full if moves else still
    limit = 3 * float(np.clip(1.48 * np.median(size), *NOISE))
    inlier = size < limit
    transform, positive = np.eye(4), 1.0
    transform[:3, :3] = turn
    if moves:
        transform[:3, :3], transform[:3, 3] = rotation, direction
        clear = (np.abs(across) < limit) & (np.abs(along) > limit)
        positive = float((along[clear] > 0).mean()) if clear.any() else 1.0
    mask = np.zeros(trusted.shape, bool)
    mask[trusted] = inlier
    return EgoMotion(
        torch.from_numpy(transform),
        torch.from_numpy(mask),
        float(inlier.mean()),
        float(np.median(still[inlier] if not moves else np.abs(along[inlier]))),
        float(np.median(size[inlier])),
        contrast,
        positive,
    )


def _nothing(trusted: NDArray[np.bool_]) -> EgoMotion:
    """The answer without enough flow: no motion, no confidence."""
    return EgoMotion(
        torch.eye(4, dtype=torch.float64), torch.zeros(trusted.shape, dtype=torch.bool), 0.0, 0.0, 0.0, 0.0, 0.0
    )


def fit_ego_motion(flow: Tensor, intrinsics: Tensor, mask: Tensor | None = None) -> EgoMotion:
    """Motion of the camera by the direct robust fit (see the module).

    Args:
        flow: (2, H, W) pixels from source to target.
        intrinsics: (3, 3) of both images.
        mask: (H, W) bool pixels to trust, such as `OpticalFlow.consistent`, or None for all.

    Returns:
        The motion; identity with ``inlier_ratio`` 0 where fewer than 16 pixels can be trusted.

    Raises:
        GeometryError: A shape is wrong.
    """
    points, trusted = calibrated(flow, mask, intrinsics)
    if len(points.x) < MIN_POINTS:
        return _nothing(trusted)
    few, many = points.thin(POINTS_SEARCH), points.thin(POINTS_REFINE)
    turn = _rotation_only(many)
    scale = 0.3
    refined = [_refine(few, *candidate, 2 * scale, 4) for candidate in _search(few, turn, scale)]
    rotation, direction, _ = min(refined, key=lambda candidate: candidate[2])
    noise = float(np.clip(1.48 * np.median(np.abs(_split(many, rotation, direction)[1])), *NOISE))
    rotation, direction, _ = _refine(many, rotation, direction, 2 * noise, 12)
    still = _still(points, turn)
    return _result(points, trusted, rotation, direction, turn, still)


def ego_motion_from_essential(
    flow: Tensor, intrinsics: Tensor, mask: Tensor | None = None, threshold: float = 0.5, seed: int = 0
) -> EgoMotion:
    """Motion of the camera by the five-point essential matrix with RANSAC.

    Args:
        flow: (2, H, W) pixels from source to target.
        intrinsics: (3, 3) of both images.
        mask: (H, W) bool pixels to trust, or None for all.
        threshold: Distance in pixels from the epipolar line up to which a point is an inlier.
        seed: Of the random samples.

    Returns:
        As `fit_ego_motion`.

    Raises:
        GeometryError: A shape is wrong.
    """
    import cv2

    points, trusted = calibrated(flow, mask, intrinsics)
    if len(points.x) < MIN_POINTS:
        return _nothing(trusted)
    many = points.thin(POINTS_REFINE)
    turn = _rotation_only(many)
    still = _still(points, turn)
    cv2.setRNGSeed(seed)
    essential, chosen = cv2.findEssentialMat(
        many.x, many.y, np.eye(3), cv2.RANSAC, 0.999, threshold / points.focal, 1000
    )
    if essential is None or essential.shape != (3, 3):
        return _result(points, trusted, turn, np.array([0.0, 0.0, 1.0]), turn, still)
    _, rotation, direction, _ = cv2.recoverPose(essential, many.x, many.y, np.eye(3), mask=chosen)
    return _result(points, trusted, rotation, direction[:, 0], turn, still)


def scale_to_depth(
    motion: EgoMotion, flow: Tensor, depth: Tensor, intrinsics: Tensor, confidence: Tensor | None = None
) -> Tensor:
    """Give a motion the length of translation that a depth map implies, so that `rigid_flow` of the two fits the flow.

    Args:
        motion: From flow between two images.
        flow: (2, H, W), that flow.
        depth: (H, W) of the source image; 0 where unknown.
        intrinsics: (3, 3).
        confidence: (H, W) weight of the depth, or None for 1.

    Returns:
        (4, 4) float64 ``target_from_source`` in the unit of the depth: the median over the inliers, weighted by their
        parallax.  Translation 0 where no inlier has a depth.
    """
    transform = motion.target_from_source.clone()
    weight = torch.ones_like(depth) if confidence is None else confidence
    points, chosen = calibrated(flow, motion.inliers & (depth > 0) & (weight > 0), intrinsics)
    if not motion.translates or not len(points.x):
        transform[:3, 3] = 0
        return transform
    known = torch.from_numpy(chosen)
    z, trust = (values.detach().cpu()[known].double().numpy() for values in (depth, weight))
    rotation, direction = transform[:3, :3].numpy(), transform[:3, 3].numpy()
    ahead = points.x @ rotation[2, :2] + rotation[2, 2]
    m = _turn(points.x, rotation)
    line = direction[:2] - m * direction[2]
    along = ((points.y - m) * line).sum(-1) / ((line**2).sum(-1) + 1e-9)
    below = 1 - along * direction[2]
    length = along * ahead / np.where(np.abs(below) < 0.05, 0.05, below) * z
    order = np.argsort(length)
    total = np.cumsum((trust * np.linalg.norm(line, axis=-1) / z)[order])
    transform[:3, 3] *= max(float(length[order][np.searchsorted(total, total[-1] / 2)]), 0.0)
    return transform

"""Figures of depth maps and of camera trajectories.

Depth is compared pixel by pixel.  A depth of unknown scale is first multiplied by ``median(truth) / median(estimate)``
over the compared pixels of the same image ("median scaling"; the factor is reported).

ATE is the distance between positions after one alignment of the whole trajectory by its positions (Umeyama): SE(3) for
metric ones, Sim(3) where the scale is free.  RPE compares motions over ``delta`` frames, after the scale of that
alignment (a rotation and shift of the world do not change it): with ``Q`` the true and ``P`` the estimated poses,
``E_t = (Q_t^-1 Q_t+d)^-1 (P_t^-1 P_t+d)``, its translation's length and its rotation's angle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geometry.errors import GeometryError
from geometry.trajectory import Trajectory, align, associate
from scenegraph_track.errors import UserError


@dataclass(frozen=True)
class DepthFigures:
    """Errors of a depth map, or means of them over images.

    Args:
        abs_rel: Mean of |estimate - truth| / truth.
        sq_rel: Mean of (estimate - truth)^2 / truth, metres.
        rmse: Root of the mean of (estimate - truth)^2, metres.
        rmse_log: Root of the mean of (ln estimate - ln truth)^2.
        delta1: Share of pixels with max(estimate / truth, truth / estimate) < 1.25.
        delta2: The same with 1.25^2.
        delta3: The same with 1.25^3.
        scale: The factor that the estimate was multiplied by.
        coverage: Compared pixels over pixels with a truth.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    delta1: float
    delta2: float
    delta3: float
    scale: float
    coverage: float


def depth_figures(
    estimate: ArrayLike,
    truth: ArrayLike,
    mask: ArrayLike | None = None,
    median_scaling: bool = True,
    nearest: float = 1e-3,
    farthest: float = np.inf,
) -> DepthFigures:
    """Compare a depth map with the truth.

    Args:
        estimate: (H, W); pixels that are not finite or not positive have no estimate and lower the coverage.
        truth: (H, W) metres; 0 or not finite where unknown.
        mask: (H, W) bool, pixels to compare, or None for all.
        median_scaling: Whether the scale is free.
        nearest: Least true depth that counts, metres.
        farthest: Largest true depth that counts, metres.

    Returns:
        The figures; NaN but for the coverage where no pixel can be compared.

    Raises:
        UserError: The shapes differ.
    """
    estimate, truth = np.asarray(estimate, np.float64), np.asarray(truth, np.float64)
    if estimate.shape != truth.shape or (mask is not None and np.shape(mask) != truth.shape):
        found = f"{estimate.shape} and {truth.shape}" + ("" if mask is None else f", mask {np.shape(mask)}")
        raise UserError(f"expected an estimate, a truth and a mask of one shape, found {found}")
    asked = np.isfinite(truth) & (truth >= nearest) & (truth <= farthest)
    if mask is not None:
        asked &= np.asarray(mask, bool)
    compared = asked & np.isfinite(estimate) & (estimate > 0)
    coverage = float(compared.sum() / asked.sum()) if asked.any() else 0.0
    if not compared.any():
        return DepthFigures(*[np.nan] * 8, coverage)
    d, g = estimate[compared], truth[compared]
    scale = float(np.median(g) / np.median(d)) if median_scaling else 1.0
    d = d * scale
    ratio = np.maximum(d / g, g / d)
    return DepthFigures(
        float((np.abs(d - g) / g).mean()),
        float(((d - g) ** 2 / g).mean()),
        float(np.sqrt(((d - g) ** 2).mean())),
        float(np.sqrt(((np.log(d) - np.log(g)) ** 2).mean())),
        *(float((ratio < 1.25**power).mean()) for power in (1, 2, 3)),
        scale,
        coverage,
    )


def mean_figures(figures: Iterable[DepthFigures]) -> DepthFigures:
    """Mean over images, each counting once; images without a compared pixel count in the coverage only.

    Raises:
        UserError: There are none.
    """
    rows = np.array([[getattr(f, field.name) for field in fields(DepthFigures)] for f in figures])
    if not len(rows):
        raise UserError("expected the figures of at least one image")
    counted = rows[np.isfinite(rows[:, 0])]
    means = counted.mean(0) if len(counted) else np.full(rows.shape[1], np.nan)
    return DepthFigures(*(float(value) for value in (*means[:-1], rows[:, -1].mean())))


@dataclass(frozen=True)
class TrajectoryFigures:
    """Errors of a trajectory.

    Args:
        ate_rmse: Root mean squared distance of the positions, metres.
        ate_mean: Mean distance.
        ate_median: Median distance.
        ate_max: Largest distance.
        rpe_translation: Root mean squared length of the relative error, metres per ``delta`` frames.
        rpe_rotation: Root mean squared angle of the relative error, degrees per ``delta`` frames.
        scale: The factor that the estimate was multiplied by.
        poses: How many were compared.
    """

    ate_rmse: float
    ate_mean: float
    ate_median: float
    ate_max: float
    rpe_translation: float
    rpe_rotation: float
    scale: float
    poses: int


def rotation_angle(rotation: NDArray) -> NDArray[np.float64]:
    """Angles in degrees of rotations (..., 3, 3), exact for small ones too."""
    skew = rotation - np.swapaxes(rotation, -1, -2)
    sine = np.sqrt(skew[..., 2, 1] ** 2 + skew[..., 0, 2] ** 2 + skew[..., 1, 0] ** 2)
    return np.degrees(np.arctan2(sine, np.trace(rotation, axis1=-2, axis2=-1) - 1))


def pair_poses(
    estimate: Trajectory, reference: Trajectory, tolerance: float = 0.02
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Poses (N, 4, 4) of the estimate and of the truth at the same times.

    Args:
        estimate: Poses ``world_from_camera``.
        reference: The truth; paired by time where both have timestamps, else frame by frame.
        tolerance: Seconds within which poses are of one time.

    Raises:
        UserError: They cannot be paired.
    """
    if estimate.timestamps is not None and reference.timestamps is not None:
        try:
            in_reference, in_estimate = associate(reference, estimate, tolerance)
        except GeometryError as error:
            raise UserError(str(error)) from None
        return estimate.world_from_camera[in_estimate], reference.world_from_camera[in_reference]
    if len(estimate) != len(reference):
        lengths = f"{len(estimate)} and {len(reference)} poses"
        raise UserError(f"expected trajectories of one length or with timestamps, found {lengths}")
    return estimate.world_from_camera, reference.world_from_camera


def trajectory_figures(
    estimate: Trajectory, reference: Trajectory, scale: bool = True, delta: int = 1, tolerance: float = 0.02
) -> TrajectoryFigures:
    """Compare a trajectory with the truth.

    Args:
        estimate: Poses ``world_from_camera``.
        reference: The truth; poses are paired as in `pair_poses`.
        scale: Align by Sim(3), else by SE(3).
        delta: Frames (of the paired ones) between the two ends of a relative motion.
        tolerance: Seconds within which poses are of one time.

    Returns:
        The figures.

    Raises:
        UserError: The trajectories cannot be paired or are too short.
    """
    poses, truth = pair_poses(estimate, reference, tolerance)
    least = max(3, delta + 1)
    if len(truth) < least or delta < 1:
        raise UserError(f"expected at least {least} common poses and delta >= 1, found {len(truth)} and {delta}")
    try:
        aligned, (factor, _, _) = align(poses, truth, scale)
    except GeometryError as error:
        raise UserError(str(error)) from None
    distance = np.linalg.norm(aligned[:, :3, 3] - truth[:, :3, 3], axis=1)
    true_motion = np.linalg.inv(truth[:-delta]) @ truth[delta:]
    motion = np.linalg.inv(aligned[:-delta]) @ aligned[delta:]
    error = np.linalg.inv(true_motion) @ motion
    lengths = np.linalg.norm(error[:, :3, 3], axis=1)
    angles = rotation_angle(error[:, :3, :3])
    return TrajectoryFigures(
        float(np.sqrt((distance**2).mean())),
        float(distance.mean()),
        float(np.median(distance)),
        float(distance.max()),
        float(np.sqrt((lengths**2).mean())),
        float(np.sqrt((angles**2).mean())),
        factor,
        len(truth),
    )

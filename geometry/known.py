"""Depth where the poses are known, and poses where the depth is known: one half of `triangulate` each, from flow."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geometry.adjustment import Views, make_views, rotation_of, solve_pixels, squared_lengths
from geometry.ego_motion import NOISE
from geometry.smoothing import smooth_inverse_depth
from geometry.triangulation import PRIOR, SURE, deviations

_POINTS = 2000
_LEAST = 64
"""Fewer pixels of known depth give no pose."""


def _first_guess(views: Views, rotation: np.ndarray, translation: np.ndarray) -> float:
    """Median of the positive inverse depths that fit all targets in closed form; 0 where there is none."""
    turned = rotation @ views.rays
    slope = translation[:, :2, None] - views.seen * translation[:, 2:, None]
    offset = views.seen * turned[:, 2:] - turned[:, :2]
    trusted = views.trusted[:, None]
    w = (trusted * slope * offset).sum((0, 1)) / ((trusted * slope**2).sum((0, 1)) + 1e-12)
    return float(np.median(w[w > 0])) if (w > 0).any() else 0.0


def depth_from_poses(
    flows: Tensor, masks: Tensor, intrinsics: Tensor, target_from_reference: Tensor, image: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Depth of the frame that flows start from, where the cameras of all frames are known.

    The inverse depth of every pixel is fitted to all flows under a robust loss and averaged over alike neighbours; the
    confidence is that of `triangulate`.

    Args:
        flows: (N, 2, H, W) pixels from the reference to N other frames.
        masks: (N, H, W) bool pixels to trust.
        intrinsics: (3, 3) of all frames.
        target_from_reference: (N, 4, 4) poses of the other frames.
        image: (3, H, W) the reference, uint8, whose edges stop the averaging, or None.

    Returns:
        Depth (H, W) float32 in the unit of the translations, 0 where unknown, and confidence (H, W) float32.
    """
    shape = (int(flows.shape[2]), int(flows.shape[3]))
    views, poses = make_views(flows, masks, intrinsics), target_from_reference.double().cpu().numpy()
    rotation, translation = poses[:, :3, :3], poses[:, :3, 3]
    middle = _first_guess(views, rotation, translation)
    if middle == 0:
        return torch.zeros(shape), torch.zeros(shape)
    w = solve_pixels(views, rotation, translation, np.full(views.rays.shape[1], middle), 3 * NOISE[1])
    squared = squared_lengths(views.residuals(rotation, translation, w)[0])
    noise = float(np.clip(np.sqrt(np.median(squared[views.trusted])), *NOISE))
    deviation = deviations(views, rotation, translation, w, noise, flows)
    guide = None if image is None else image.permute(1, 2, 0).cpu().numpy() / 255.0
    w, deviation = smooth_inverse_depth(w.reshape(shape), deviation.reshape(shape), guide)
    relative = deviation / np.maximum(w, 1e-12)
    confidence = np.where(w > 0, 1 / (1 + (relative / PRIOR) ** 2), 0.0)
    confidence[confidence < SURE] = 0.0
    depth = np.where(confidence > 0, 1 / np.maximum(w, 1e-12), 0.0)
    return torch.from_numpy(depth.astype(np.float32)), torch.from_numpy(confidence.astype(np.float32))


def pose_from_depth(flow: Tensor, mask: Tensor, depth: Tensor, intrinsics: Tensor, *starts: Tensor) -> Tensor:
    """The motion that explains a flow best where the depth is known, by robust Gauss-Newton on all six parameters.

    Args:
        flow: (2, H, W) pixels from source to target.
        mask: (H, W) bool pixels to trust.
        depth: (H, W) of the source, 0 where unknown.
        intrinsics: (3, 3).
        starts: (4, 4) ``target_from_source`` to start from, such as that of `scale_to_depth`; the best end counts.

    Returns:
        (4, 4) float64 ``target_from_source`` in the unit of the depth; the first start where hardly any depth is known.
    """
    known = (mask & (depth > 0)).flatten().cpu().numpy()
    if known.sum() < _LEAST:
        return starts[0].clone()
    whole = make_views(flow[None], mask[None], intrinsics)
    rows = np.flatnonzero(known)[:: max(1, int(known.sum()) // _POINTS)]
    views = whole.at(rows)
    w = 1 / depth.flatten().double().cpu().numpy()[rows]
    poses = [start.double().cpu().numpy() for start in starts]
    off = [np.median(squared_lengths(views.residuals(pose[None, :3, :3], pose[None, :3, 3], w)[0])) for pose in poses]
    scale = 3 * float(np.clip(np.sqrt(min(off)), *NOISE))
    _, rotation, translation = min((_fitted(views, w, pose, scale) for pose in poses), key=lambda end: end[0])
    found = torch.eye(4, dtype=torch.float64)
    found[:3, :3], found[:3, 3] = torch.from_numpy(rotation), torch.from_numpy(translation)
    return found


def _fitted(views: Views, w: np.ndarray, pose: np.ndarray, scale: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Levenberg-Marquardt from a pose: the robust cost, rotation and translation of its end."""
    rotation, translation = pose[None, :3, :3].copy(), pose[None, :3, 3].copy()
    residual, points = views.residuals(rotation, translation, w)
    cost, damping = views.cost(residual, scale), 1e-3
    for _ in range(20):
        by_pose = views.by_pose(points, w)[0]
        weighted = by_pose * views.weights(residual, scale)[0]
        normal = (weighted @ by_pose.transpose(0, 2, 1)).sum(0)
        slack = damping * np.diag(normal.diagonal()) + 1e-12 * np.eye(6)
        step = -np.linalg.solve(normal + slack, (weighted @ residual[0, ..., None]).sum(0)[:, 0])
        turn = rotation_of(step[3:])
        trial = turn @ rotation, translation @ turn.T + step[:3]
        moved, moved_points = views.residuals(*trial, w)
        trial_cost = views.cost(moved, scale)
        if trial_cost >= cost:
            damping *= 10
            continue
        gain, cost, damping = cost - trial_cost, trial_cost, damping / 5
        (rotation, translation), residual, points = trial, moved, moved_points
        if gain < 1e-5 * cost:
            break
    return cost, rotation[0], translation[0]

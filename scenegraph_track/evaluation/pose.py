"""Camera motion between neighbouring frames beside simpler guesses, and what it leaves of the flow."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geometry.camera import rigid_flow
from geometry.ego_motion import EgoMotion, ego_motion_from_essential, fit_ego_motion, scale_to_depth
from geometry.errors import GeometryError
from geometry.flow import OpticalFlow, optical_flow
from geometry.pose_net import PoseNet
from scenegraph_track.evaluation.clips import Clip, camera_flow, motion_to_next
from scenegraph_track.evaluation.depth import VideoEstimate, video_depth_estimate
from scenegraph_track.evaluation.geometry import rotation_angle
from scenegraph_track.evaluation.tally import Tally

if TYPE_CHECKING:
    from scenegraph_track.evaluation.estimators import Estimators

MIN_TURN, MIN_STEP = 0.02, 1e-4
"""Pairs turn over so many degrees; they move over so many metres."""

UNKNOWN_DIRECTION = 90.0
"""Degrees that a direction counts which was not found: those of a guess at random, in the median."""

ESTIMATE = "estimate"
METHODS = (ESTIMATE, "direct", "essential", "network", "identity", "straight_ahead")

PROTOCOL = (
    "Motion of the camera to the next frame, at a quarter and in the middle of each world, or at every sixth frame of "
    "a recording. rotation_ratio: median of the error's angle over the true angle, of pairs that turn over "
    f"{MIN_TURN:g} degrees (identity: 1). translation_deg: median angle between the true and the estimated direction, "
    f"of pairs that move over {1000 * MIN_STEP:g} mm, where a direction was found; found: how often; "
    f"translation_deg_all: of all of them, {UNKNOWN_DIRECTION:g} degrees where none was found.",
    "residual_px: mean of |flow - camera flow| over pixels of the surroundings, which stand still, that both frames "
    "show; at the middle frame, the motion scaled to the video depth. exact: with the true depth and motion.",
)


def camera_motion(
    images: Sequence[Tensor],
    index: int,
    flow: OpticalFlow,
    intrinsics: Tensor,
    pose: PoseNet | None = None,
    classical: EgoMotion | None = None,
) -> EgoMotion:
    """Motion of the camera from a frame to the next as the product computes it.

    The direct fit to the flow; where it finds no translation, its rotation with the direction of the pose network.

    Args:
        images: (3, H, W) each, float in [0, 1] or uint8.
        index: Of the frame.
        flow: From it to the next one.
        intrinsics: (3, 3).
        pose: The network, or None.
        classical: The direct fit, where it is known already.

    Returns:
        The motion.
    """
    found = fit_ego_motion(flow.flow, intrinsics, flow.consistent) if classical is None else classical
    if found.translates or pose is None:
        return found
    transform = found.target_from_source.clone()
    transform[:3, 3] = network_motion(images, index, flow, intrinsics, pose).target_from_source[:3, 3]
    return replace(found, target_from_source=transform)


def network_motion(
    images: Sequence[Tensor], index: int, flow: OpticalFlow, intrinsics: Tensor, pose: PoseNet
) -> EgoMotion:
    """Motion from a frame to the next by the pose network alone, its translation brought to length 1.

    Raises:
        GeometryError: The network looks at more than a pair.
    """
    if pose.targets != 1:
        raise GeometryError(f"expected a pose network for pairs of images, found one for {pose.targets} other images")
    pair = torch.stack([images[index], images[index + 1]])
    pair = pair.float() / 255 if pair.dtype == torch.uint8 else pair
    given = torch.cat([flow.flow, flow.consistent[None].float()])[None, None] if pose.flow else None
    with torch.no_grad():
        motion = pose(pair[None], intrinsics[None], given)[0, 0].double()
    motion[:3, 3] /= motion[:3, 3].norm().clamp(min=1e-12)
    return _guess(motion, flow)


def _guess(target_from_source: Tensor, flow: OpticalFlow) -> EgoMotion:
    """A motion that was not fitted to the flow; all flow that can be trusted is taken for inliers."""
    return EgoMotion(target_from_source, flow.consistent, 1.0, 0.0, 0.0, 0.0, 1.0)


def motion_errors(estimate: NDArray, truth: NDArray) -> tuple[float, float]:
    """Errors of one motion.

    Args:
        estimate: (4, 4), translation of any length or 0.
        truth: (4, 4) metres.

    Returns:
        Rotation error over true rotation, NaN where the truth turns by less than `MIN_TURN`; angle between the
        directions of translation in degrees, NaN where the truth moves by less than `MIN_STEP`, infinite where no
        direction was found.
    """
    turn, step = rotation_angle(truth[:3, :3]), np.linalg.norm(truth[:3, 3])
    ratio = rotation_angle(estimate[:3, :3].T @ truth[:3, :3]) / turn if turn > MIN_TURN else np.nan
    if step <= MIN_STEP:
        return float(ratio), np.nan
    length = np.linalg.norm(estimate[:3, 3])
    if length == 0:
        return float(ratio), np.inf
    cosine = estimate[:3, 3] @ truth[:3, 3] / (step * length)
    return float(ratio), float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def camera_residual(flow: Tensor, estimate: VideoEstimate, motion: EgoMotion, intrinsics: Tensor) -> NDArray:
    """|flow - camera flow| (H, W) in pixels with the pairwise motion scaled to the video depth."""
    confidence = estimate.triangulated.confidence
    known = confidence if bool(confidence.any()) else None
    transform = scale_to_depth(motion, flow, estimate.depth, intrinsics, known)
    camera = rigid_flow(estimate.depth[None, None].double(), transform[None], intrinsics[None].double())[0]
    return torch.linalg.vector_norm(flow - camera, dim=0).numpy()


def homography_flow(flow: Tensor, mask: Tensor) -> NDArray:
    """Flow (2, H, W) of the homography that RANSAC finds in the trusted flow; zero where it finds none."""
    import cv2

    height, width = mask.shape
    grid = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1)
    ends = grid + flow.permute(1, 2, 0).numpy()
    chosen = mask.numpy()
    cv2.setRNGSeed(0)
    found = cv2.findHomography(grid[chosen], ends[chosen], cv2.RANSAC, 1.0)[0] if chosen.sum() >= 4 else None
    found = np.eye(3) if found is None else found
    return (cv2.perspectiveTransform(grid.reshape(1, -1, 2), found).reshape(height, width, 2) - grid).transpose(2, 0, 1)


def _motions(clip: Clip, index: int, flow: OpticalFlow, pose: PoseNet | None, tally: Tally) -> dict[str, EgoMotion]:
    """All motions that are compared, by name."""
    still, ahead = torch.eye(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    ahead[2, 3] = -1
    found = {"identity": _guess(still, flow), "straight_ahead": _guess(ahead, flow)}
    for name, fit in (("direct", fit_ego_motion), ("essential", ego_motion_from_essential)):
        start = time.process_time()
        found[name] = fit(flow.flow, clip.intrinsics, flow.consistent)
        tally.add(f"{name} ms", (time.process_time() - start) * 1000)
    if pose is not None:
        start = time.process_time()
        found["network"] = network_motion(clip.images, index, flow, clip.intrinsics, pose)
        tally.add("network ms", (time.process_time() - start) * 1000)
    found[ESTIMATE] = camera_motion(clip.images, index, flow, clip.intrinsics, pose, found["direct"])
    return found


def measure_pose(clip: Clip, estimators: Estimators, prior: Tensor) -> Tally:
    """Measure the motions of a clip.

    Args:
        clip: With truth.
        estimators: Flow and networks.
        prior: (H, W) mean depth map.

    Returns:
        Errors as ``name rotation``, ``name direction``, ``name residual``, times as ``name ms``.
    """
    tally = Tally()
    for index in clip.pairs:
        flow = optical_flow(clip.images[index], clip.images[index + 1], estimators.flow)
        truth = motion_to_next(clip, index)
        motions = _motions(clip, index, flow, estimators.pose, tally)
        for name, motion in motions.items():
            ratio, angle = motion_errors(motion.target_from_source.numpy(), truth)
            tally.add(f"{name} rotation", ratio)
            tally.add(f"{name} direction", angle)
        if index not in clip.frames:
            continue
        chosen = clip.still(index)
        depth = video_depth_estimate(clip.images, index, clip.intrinsics, estimators.flow, estimators.depth, prior)
        for name, motion in motions.items():
            residual = camera_residual(flow.flow, depth, motion, clip.intrinsics)
            tally.add(f"{name} residual", residual[chosen])
        others = {"homography": homography_flow(flow.flow, flow.consistent), "exact": camera_flow(clip, index)}
        for name, camera in others.items():
            tally.add(f"{name} residual", np.linalg.norm(flow.flow.numpy() - camera, axis=0)[chosen])
    return tally


def _row(tally: Tally, name: str) -> dict[str, float]:
    """Figures of one method."""
    ratios = np.array(tally.lists[f"{name} rotation"])
    angles = np.array(tally.lists[f"{name} direction"])
    angles = angles[~np.isnan(angles)]
    found = np.isfinite(angles)
    return {
        "rotation_ratio": _median(ratios[np.isfinite(ratios)]),
        "translation_deg": _median(angles[found]),
        "translation_deg_all": _median(np.where(found, angles, UNKNOWN_DIRECTION)),
        "found": float(found.mean()) if len(found) else np.nan,
        "residual_px": tally.figure(f"{name} residual"),
        "ms": tally.figure(f"{name} ms", np.median),
    }


def _median(values: NDArray) -> float:
    return float(np.median(values)) if len(values) else np.nan


def pose_report(tally: Tally) -> dict[str, Any]:
    """Figures of what `measure_pose` measured.

    Returns:
        Figures of `camera_motion`, and those of each method by its name; ``homography`` and ``exact`` have a residual
        only.
    """
    table = {name: _row(tally, name) for name in METHODS if f"{name} rotation" in tally.lists}
    product = table.pop(ESTIMATE)
    product.pop("ms")
    rest = {name: {"residual_px": tally.figure(f"{name} residual")} for name in ("homography", "exact")}
    return {**product, **table, **rest}

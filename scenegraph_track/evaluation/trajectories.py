"""The camera followed through whole clips, in one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geometry.ego_motion import scale_to_depth
from geometry.errors import GeometryError
from geometry.flow import OpticalFlow, optical_flow
from geometry.trajectory import Trajectory, accumulate, align, read_kitti, read_tum
from geometry.triangulation import VideoDepth, chain_scale
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.depth import video_depth_estimate
from scenegraph_track.evaluation.geometry import TrajectoryFigures, pair_poses, rotation_angle, trajectory_figures
from scenegraph_track.evaluation.pose import camera_motion
from scenegraph_track.files import read_text

if TYPE_CHECKING:
    from pathlib import Path

    from scenegraph_track.evaluation.clips import Clip
    from scenegraph_track.evaluation.estimators import Estimators

LEAST_CONFIDENCE = 0.05
"""Confidence of depth that was guessed, where the scales of two frames are compared."""

PROTOCOL = (
    "Trajectories: motions from frame to frame, each in the scale of its video depth, which is brought to that of the "
    "frame before; clips whose camera translates. ate: root mean squared distance of the positions after alignment by "
    "Sim(3) or SE(3), metres; rpe: that of the relative error from frame to frame, metres and degrees. still: a camera "
    "that is held to stand still."
)


def follow_camera(images: Sequence[Tensor], intrinsics: Tensor, estimators: Estimators, prior: Tensor) -> Trajectory:
    """Chain the motions of the camera through a clip.

    Args:
        images: T images (3, H, W).
        intrinsics: (3, 3).
        estimators: Flow and networks.
        prior: (H, W) mean depth map.

    Returns:
        T poses, the first the identity, in the scale of the depth of the first frame.
    """
    motions: list[NDArray] = []
    before: tuple[VideoDepth, OpticalFlow] | None = None
    for index in range(len(images) - 1):
        flow = optical_flow(images[index], images[index + 1], estimators.flow)
        motion = camera_motion(images, index, flow, intrinsics, estimators.pose)
        found = video_depth_estimate(images, index, intrinsics, estimators.flow, estimators.depth, prior)
        sure = found.triangulated.confidence.clamp(min=LEAST_CONFIDENCE)
        depth = replace(found.triangulated, depth=found.depth, confidence=sure)
        if before is not None:
            depth = chain_scale(before[0], depth, before[1].flow, before[1].consistent)
        motions.append(scale_to_depth(motion, flow.flow, depth.depth, intrinsics, depth.confidence).numpy())
        before = depth, flow
    return Trajectory(accumulate(motions))


@dataclass(frozen=True, eq=False)
class Followed:
    """A trajectory and the truth.

    Args:
        name: Of the clip.
        truth: (T, 3) positions seen from the first camera, metres.
        estimate: (T, 3) after alignment.
        figures: Of the trajectory.
        still: Of a camera held to stand still.
    """

    name: str
    truth: NDArray
    estimate: NDArray
    figures: TrajectoryFigures
    still: dict[str, float]


def compare(name: str, estimate: Trajectory, truth: Trajectory, scale: bool = True, delta: int = 1) -> Followed:
    """Compare two trajectories, pose by pose or by their timestamps.

    Raises:
        UserError: They cannot be paired or aligned.
    """
    poses, reference = pair_poses(estimate, truth)
    figures = trajectory_figures(Trajectory(poses), Trajectory(reference), scale, delta)
    aligned, _ = align(poses, reference, scale)
    first = np.linalg.inv(reference[0])
    seen = [(trajectory[:, :3, 3] @ first[:3, :3].T + first[:3, 3]) for trajectory in (reference, aligned)]
    return Followed(name, seen[0], seen[1], figures, standing_still(reference, delta))


def standing_still(truth: NDArray, delta: int = 1) -> dict[str, float]:
    """Figures of a camera that is held to stand still, in the best place.

    Args:
        truth: (T, 4, 4) ``world_from_camera``, metres.
        delta: Frames between the two ends of a relative motion.
    """
    motion = np.linalg.inv(truth[:-delta]) @ truth[delta:]
    off = truth[:, :3, 3] - truth[:, :3, 3].mean(0)
    values = np.linalg.norm(off, axis=1), np.linalg.norm(motion[:, :3, 3], axis=1), rotation_angle(motion[:, :3, :3])
    names = ("ate_rmse", "rpe_translation", "rpe_rotation")
    return {name: float(np.sqrt((value**2).mean())) for name, value in zip(names, values)}


def follow_clip(clip: Clip, estimators: Estimators, prior: Tensor) -> Followed | None:
    """Follow the camera through a clip and compare, Sim(3); None where no motion was found."""
    estimate = follow_camera(clip.images, clip.intrinsics, estimators, prior)
    if not np.ptp(estimate.positions, axis=0).any():
        return None
    return compare(clip.name, estimate, Trajectory(clip.world_from_camera))


def trajectory_report(found: Sequence[Followed]) -> dict[str, Any]:
    """Means over trajectories: their figures, and ``still`` with those of a camera that stands still."""
    if not found:
        return {}
    names = ("ate_rmse", "rpe_translation", "rpe_rotation")
    means = {name: float(np.mean([getattr(one.figures, name) for one in found])) for name in names}
    return {
        "clips": len(found),
        **means,
        "still": {name: float(np.mean([one.still[name] for one in found])) for name in names},
    }


def read_trajectory(path: Path) -> Trajectory:
    """Read TUM's or KITTI's format, whichever the first line of numbers is of.

    Raises:
        UserError: The file is missing or malformed.
    """
    lines = (line.replace(",", " ").split() for line in read_text(path).split("\n"))
    first = next((words for words in lines if words and not words[0].startswith("#")), [])
    try:
        return read_kitti(path) if len(first) == 12 else read_tum(path)
    except GeometryError as error:
        raise UserError(str(error)) from None

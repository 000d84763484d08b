"""What depth and motion networks learn at which step of photometric training.

Networks that begin together can settle where nothing is explained: a depth without shape, or a camera that stands
still.  The regime ``cure`` teaches them one after the other: motion on a plane of constant depth, depth with the motion
frozen, then both.
"""

from __future__ import annotations

from dataclasses import dataclass

from scenegraph_track.training.photometric_settings import PhotometricLoss, PhotometricSettings


@dataclass(frozen=True)
class Phase:
    """What happens at a step.

    Args:
        depth: Whether the depth network learns.
        pose: Whether the pose network learns; alone, it does so on a plane.
        loss: The photometric loss.
        depth_steps: Steps that the depth network has learned for.
        pose_steps: Steps that the pose network has learned for.
    """

    depth: bool
    pose: bool
    loss: PhotometricLoss
    depth_steps: int
    pose_steps: int


def phase_of(settings: PhotometricSettings, step: int) -> Phase:
    """What the regime does at a step (0-based)."""
    if settings.regime != "cure":
        loss = settings.loss if settings.regime == "ssim_l1_joint" else settings.loss.model_copy(update={"alpha": 0.0})
        return Phase(True, True, loss, step + 1, step + 1)
    pose, depth = settings.phases.pose, settings.phases.depth
    plain = settings.loss.model_copy(update={"auto_mask": False})
    if step < pose:
        return Phase(False, True, plain.model_copy(update={"alpha": 0.0}), 0, step + 1)
    if step < pose + depth:
        return Phase(True, False, plain, step + 1 - pose, pose)
    return Phase(True, True, settings.loss, step + 1 - pose, step + 1 - depth)

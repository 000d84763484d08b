"""Cameras, depth and motion of the camera: what knows nothing about objects.

Conventions, the same in every module:

- Pixels are continuous, x to the right and y down; the centre of the first pixel is (0.5, 0.5).
- Camera axes are x right, y down, z along the optical axis; depth is z, positive, not the length of the ray.
- A transform says both ends: ``X_target = target_from_source @ X_source`` for homogeneous column vectors.
- Flow from a source to a target image is target pixel minus source pixel, given at the pixels of the source.
- Batched tensors are channels first: images (B, 3, H, W) in [0, 1], depth (B, 1, H, W), flow (B, 2, H, W).
"""

from geometry.camera import guess_intrinsics, motion_residual, rigid_flow
from geometry.ego_motion import EgoMotion, ego_motion_from_essential, fit_ego_motion, scale_to_depth
from geometry.errors import GeometryError
from geometry.flow import OpticalFlow, optical_flow
from geometry.triangulation import VideoDepth, fuse, triangulate, video_depth

__all__ = [
    "EgoMotion",
    "GeometryError",
    "OpticalFlow",
    "VideoDepth",
    "ego_motion_from_essential",
    "fit_ego_motion",
    "fuse",
    "guess_intrinsics",
    "motion_residual",
    "optical_flow",
    "rigid_flow",
    "scale_to_depth",
    "triangulate",
    "video_depth",
]

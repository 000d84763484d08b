"""Rotations and rigid motions, on kornia's conversions: all differentiable, finite at zero.

Rotations are (..., 3, 3), axis-angle vectors (..., 3) in radians, quaternions (..., 4) as w, x, y, z, rigid transforms
(..., 4, 4) named ``target_from_source``.  kornia is imported at the first call.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geometry.errors import GeometryError


def _last(tensor: Tensor, *shape: int) -> Tensor:
    """Check the last dimensions and flatten the others."""
    if tuple(tensor.shape[-len(shape) :]) != shape:
        raise GeometryError(f"expected a tensor (..., {', '.join(map(str, shape))}), found {tuple(tensor.shape)}")
    return tensor.reshape(-1, *shape)


def rotation_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula: (..., 3) to (..., 3, 3)."""
    from kornia.geometry.conversions import axis_angle_to_rotation_matrix

    return axis_angle_to_rotation_matrix(_last(axis_angle, 3)).reshape(*axis_angle.shape[:-1], 3, 3)


def axis_angle_from_rotation(rotation: Tensor) -> Tensor:
    """The vector of at most pi radians that gives a rotation: (..., 3, 3) to (..., 3)."""
    from kornia.geometry.conversions import rotation_matrix_to_axis_angle

    return rotation_matrix_to_axis_angle(_last(rotation, 3, 3)).reshape(*rotation.shape[:-2], 3)


def rotation_from_quaternion(quaternion: Tensor) -> Tensor:
    """Quaternions (..., 4) as w, x, y, z of any length but zero to (..., 3, 3)."""
    from kornia.geometry.conversions import quaternion_to_rotation_matrix

    return quaternion_to_rotation_matrix(_last(quaternion, 4)).reshape(*quaternion.shape[:-1], 3, 3)


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """Unit quaternions (..., 4) as w, x, y, z with w >= 0 of rotations (..., 3, 3)."""
    from kornia.geometry.conversions import rotation_matrix_to_quaternion

    quaternion = rotation_matrix_to_quaternion(_last(rotation, 3, 3)).reshape(*rotation.shape[:-2], 4)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def rotation_angle(rotation: Tensor) -> Tensor:
    """Angles in radians, 0 to pi, of rotations (..., 3, 3), exact for small ones too."""
    skew = torch.stack(
        [
            rotation[..., 2, 1] - rotation[..., 1, 2],
            rotation[..., 0, 2] - rotation[..., 2, 0],
            rotation[..., 1, 0] - rotation[..., 0, 1],
        ],
        -1,
    )
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(torch.linalg.vector_norm(skew, dim=-1), trace - 1)


def rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """Stack rotations (..., 3, 3) and translations (..., 3) into transforms (..., 4, 4)."""
    top = torch.cat([rotation, translation[..., None]], -1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 3] = 1
    return torch.cat([top, bottom], -2)


def target_from_source(axis_angle: Tensor, translation: Tensor) -> Tensor:
    """Transforms (..., 4, 4) ``[R(axis_angle) translation]`` of two (..., 3), as a pose network gives them."""
    return rigid(rotation_from_axis_angle(axis_angle), translation)


def inverse(transform: Tensor) -> Tensor:
    """``source_from_target`` of rigid ``target_from_source`` (..., 4, 4)."""
    rotation = transform[..., :3, :3].transpose(-1, -2)
    return rigid(rotation, -(rotation @ transform[..., :3, 3:])[..., 0])


def compose(*transforms: Tensor) -> Tensor:
    """``compose(c_from_b, b_from_a)`` is ``c_from_a``, (..., 4, 4)."""
    if not transforms:
        raise GeometryError("expected at least one transform to compose")
    result = transforms[0]
    for transform in transforms[1:]:
        result = result @ transform
    return result


def exp(twist: Tensor) -> Tensor:
    """Exponential map of SE(3).

    Args:
        twist: (..., 6): translational part v, then rotational part w in radians.

    Returns:
        (..., 4, 4) with rotation exp(w) and translation V(w) v.
    """
    from kornia.geometry.liegroup import Se3

    return Se3.exp(_last(twist, 6)).matrix().reshape(*twist.shape[:-1], 4, 4)


def log(transform: Tensor) -> Tensor:
    """Inverse of `exp` for rotations below pi: (..., 4, 4) to (..., 6)."""
    from kornia.geometry.liegroup import Se3

    return Se3.from_matrix(_last(transform, 4, 4)).log().reshape(*transform.shape[:-2], 6)

"""Rotations and rigid motions."""

from __future__ import annotations

import math

import pytest
import torch

from geometry.errors import GeometryError
from geometry.pose import (
    axis_angle_from_rotation,
    compose,
    exp,
    inverse,
    log,
    quaternion_from_rotation,
    rotation_angle,
    rotation_from_axis_angle,
    rotation_from_quaternion,
    target_from_source,
)

ANGLES = [0.0, 1e-12, 1e-7, 1e-4, 0.3, 3.1]


@pytest.mark.parametrize("angle", ANGLES)
def test_axis_angle_and_quaternion_round_trips(angle: float) -> None:
    # From nothing to nearly half a turn.
    vector = angle * torch.tensor([[0.6, -0.8, 0.0], [0.0, 0.0, 1.0]]).double()
    rotation = rotation_from_axis_angle(vector)
    torch.testing.assert_close(axis_angle_from_rotation(rotation), vector, atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(
        rotation_from_quaternion(quaternion_from_rotation(rotation)), rotation, atol=1e-9, rtol=1e-9
    )
    torch.testing.assert_close(rotation_angle(rotation), torch.full((2,), angle).double(), atol=1e-9, rtol=1e-6)


def test_quarter_turn() -> None:
    # About z, from x to y; w comes first in the quaternion.
    rotation = rotation_from_axis_angle(torch.tensor([0.0, 0.0, math.pi / 2]).double())
    torch.testing.assert_close(rotation[:, 0], torch.tensor([0.0, 1.0, 0.0]).double())
    torch.testing.assert_close(quaternion_from_rotation(rotation)[0], torch.tensor(math.sqrt(0.5)).double())


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-5, 0.1, 1.0])
def test_exp_and_log(size: float) -> None:
    twist = size * torch.tensor([0.3, -1.0, 0.5, 0.2, 0.7, -0.4]).double()
    torch.testing.assert_close(log(exp(twist)), twist, atol=1e-9, rtol=1e-6)
    power = torch.matrix_exp(
        torch.tensor(
            [
                [0, -twist[5], twist[4], twist[0]],
                [twist[5], 0, -twist[3], twist[1]],
                [-twist[4], twist[3], 0, twist[2]],
                [0, 0, 0, 0],
            ]
        ).double()
    )
    torch.testing.assert_close(exp(twist), power, atol=1e-9, rtol=1e-7)


def test_inverse_and_composition() -> None:
    motions = target_from_source(torch.randn(4, 3).double(), torch.randn(4, 3).double())
    torch.testing.assert_close(compose(motions, inverse(motions)), torch.eye(4).double().expand(4, 4, 4))
    torch.testing.assert_close(compose(*motions), motions[0] @ motions[1] @ motions[2] @ motions[3])


def test_gradients_at_and_near_zero() -> None:
    # A pose network starts at zero: the derivative there must be finite and right.
    for scale in (0.0, 1e-8, 0.5):
        vector = (scale * torch.tensor([[0.2, -0.5, 0.7]]).double()).requires_grad_()
        assert torch.autograd.gradcheck(rotation_from_axis_angle, (vector,), atol=1e-5)
        twist = torch.full((1, 6), scale).double().requires_grad_()
        (gradient,) = torch.autograd.grad(exp(twist).sum(), twist)
        assert gradient.isfinite().all()
    (gradient,) = torch.autograd.grad(
        axis_angle_from_rotation(eye := torch.eye(3).double().requires_grad_()).sum(), eye
    )
    assert gradient.isfinite().all()


def test_wrong_shape() -> None:
    with pytest.raises(GeometryError, match=r"\(\.\.\., 3, 3\), found \(3, 4\)"):
        quaternion_from_rotation(torch.zeros(3, 4))

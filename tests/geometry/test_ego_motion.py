"""Camera motion from exact and disturbed flow."""

from __future__ import annotations

import pytest
import torch

from geometry.ego_motion import ego_motion_from_essential, fit_ego_motion, scale_to_depth
from geometry.errors import GeometryError
from geometry.pose import rotation_angle

METHODS = [fit_ego_motion, ego_motion_from_essential]
MOTIONS = {
    "ahead": ((0.01, -0.02, 0.005), (0.02, 0.01, -0.2)),
    "back": ((0.0, 0.0, 0.0), (0.0, 0.0, 0.2)),
    "sideways": ((0.0, 0.03, 0.0), (-0.15, 0.0, 0.0)),
    "up, rolling": ((0.0, 0.0, 0.05), (0.01, 0.12, 0.03)),
}


def errors(found, motion) -> tuple[float, float]:
    """Degrees of rotation and of direction."""
    rotation = rotation_angle(found.target_from_source[:3, :3].T @ motion[:3, :3])
    direction = motion[:3, 3] / motion[:3, 3].norm()
    cosine = (found.target_from_source[:3, 3] @ direction).clamp(-1, 1)
    return float(rotation.rad2deg()), float(cosine.acos().rad2deg())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MOTIONS)
def test_exact_flow(room, method, name: str) -> None:
    # Rotation and the direction with its sign, for every kind of motion.
    flow, motion = room.flow(*MOTIONS[name])
    found = method(flow, room.intrinsics)
    rotation, direction = errors(found, motion)
    assert rotation < 0.05 and direction < 1.0
    assert found.translates and found.inlier_ratio > 0.98 and found.positive_depth == 1
    assert float(found.target_from_source[:3, 3].norm()) == pytest.approx(1)


def test_moving_objects_are_outliers(room) -> None:
    # Noise of 0.1 px everywhere, a quarter of the image moves by itself.
    flow, motion = room.flow((0.01, -0.02, 0.005), (0.15, 0.02, -0.1))
    flow = flow + 0.1 * torch.randn(flow.shape, generator=torch.Generator().manual_seed(0)).double()
    flow[:, 16:48, 20:68] += torch.tensor([-1.0, 3.0])[:, None, None].double()
    found = fit_ego_motion(flow, room.intrinsics)
    rotation, direction = errors(found, motion)
    assert rotation < 0.15 and direction < 4
    assert found.inliers[20:44, 24:64].float().mean() < 0.1
    assert found.inliers[:, 72:].float().mean() > 0.9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.01, -0.03, 0.02), (0.0, 0.2, 0.0)])
def test_pure_rotation_has_no_translation(room, method, turn: tuple[float, ...]) -> None:
    # Neither of a tripod nor of a panning camera, with noise.
    flow, motion = room.flow(turn, (0.0, 0.0, 0.0))
    flow = flow + 0.1 * torch.randn(flow.shape, generator=torch.Generator().manual_seed(1)).double()
    found = method(flow, room.intrinsics)
    assert not found.translates and found.contrast < 3
    assert float(rotation_angle(found.target_from_source[:3, :3].T @ motion[:3, :3]).rad2deg()) < 0.05
    assert found.inlier_ratio > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_too_little_flow(room, method) -> None:
    # No trusted pixel: no motion and no confidence.
    flow, _ = room.flow((0.0, 0.1, 0.0), (0.1, 0.0, 0.0))
    found = method(flow, room.intrinsics, torch.zeros(64, 96, dtype=torch.bool))
    assert torch.equal(found.target_from_source, torch.eye(4).double())
    assert found.inlier_ratio == 0 and not found.inliers.any()


def test_scale_from_depth(room) -> None:
    # Unit translation becomes metric with a metric depth map.
    flow, motion = room.flow((0.01, -0.02, 0.005), (0.15, 0.02, -0.1))
    found = fit_ego_motion(flow, room.intrinsics)
    metric = scale_to_depth(found, flow, room.depth, room.intrinsics)
    torch.testing.assert_close(metric[:3, 3], motion[:3, 3], atol=2e-3, rtol=0)
    unknown = scale_to_depth(found, flow, torch.zeros_like(room.depth), room.intrinsics)
    assert not unknown[:3, 3].any() and torch.equal(unknown[:3, :3], found.target_from_source[:3, :3])


def test_errors(room) -> None:
    flow, _ = room.flow((0.0, 0.0, 0.0), (0.1, 0.0, 0.0))
    with pytest.raises(GeometryError, match=r"flow \(2, H, W\)"):
        fit_ego_motion(flow[None], room.intrinsics)
    with pytest.raises(GeometryError, match="intrinsics"):
        fit_ego_motion(flow, room.intrinsics[None])
    with pytest.raises(GeometryError, match="mask"):
        fit_ego_motion(flow, room.intrinsics, torch.ones(3, 3, dtype=torch.bool))

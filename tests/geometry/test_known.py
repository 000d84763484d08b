"""Depth of known poses and poses of known depth."""

from __future__ import annotations

import torch

from geometry.known import depth_from_poses, pose_from_depth
from geometry.pose import rotation_angle

MOTIONS = (((0.0, 0.02, 0.0), (-0.4, 0.0, 0.1)), ((0.01, -0.01, 0.0), (0.2, 0.03, -0.1)))


def noisy(flow: torch.Tensor, seed: int) -> torch.Tensor:
    return flow + 0.1 * torch.randn(flow.shape, generator=torch.Generator().manual_seed(seed)).double()


def test_depth_is_metric_where_poses_are(room) -> None:
    flows, poses = zip(*(room.flow(*motion) for motion in MOTIONS))
    flows = torch.stack([noisy(flow, k) for k, flow in enumerate(flows)])
    depth, confidence = depth_from_poses(flows, torch.ones(2, 64, 96).bool(), room.intrinsics, torch.stack(poses))
    sure = confidence > 0.5
    assert sure.float().mean() > 0.9
    assert float((depth[sure] / room.depth[sure] - 1).abs().mean()) < 0.03


def test_no_depth_without_translation(room) -> None:
    flow, pose = room.flow((0.0, 0.05, 0.0), (0.0, 0.0, 0.0))
    depth, confidence = depth_from_poses(flow[None], torch.ones(1, 64, 96).bool(), room.intrinsics, pose[None])
    assert not depth.any() and not confidence.any()


def test_pose_of_known_depth(room) -> None:
    # From nothing, with noise, a tenth of the depth known and a quarter of the image moving on its own.
    flow, truth = room.flow((0.01, -0.02, 0.005), (0.15, 0.02, -0.1))
    flow = noisy(flow, 0)
    flow[:, 16:48, 20:68] += torch.tensor([-1.0, 3.0])[:, None, None].double()
    known = torch.zeros(64, 96, dtype=torch.bool)
    known[::3, ::3] = True
    mask = torch.ones(64, 96, dtype=torch.bool)
    found = pose_from_depth(flow, mask, room.depth * known, room.intrinsics, torch.eye(4).double())
    assert float((found - truth)[:3, 3].norm()) < 0.02
    assert float(rotation_angle(found[:3, :3].T @ truth[:3, :3]).rad2deg()) < 0.2


def test_pose_without_depth_is_the_start(room) -> None:
    flow, truth = room.flow((0.0, 0.02, 0.0), (0.1, 0.0, 0.0))
    mask = torch.ones(64, 96, dtype=torch.bool)
    assert torch.equal(pose_from_depth(flow, mask, torch.zeros(64, 96), room.intrinsics, truth), truth)

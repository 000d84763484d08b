"""Poses and inverse depths fitted together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from geometry.adjustment import adjust, make_views, rotation_of, solve_pixels

MOTIONS = (((0.01, -0.02, 0.0), (0.2, 0.0, -0.1)), ((0.0, 0.03, 0.01), (-0.25, 0.05, 0.0)))


def test_adjustment_finds_poses_and_depths(room) -> None:
    # From poses that are wrong by half a degree and a tenth of the translation, and one depth for all pixels.
    found = [room.flow(*motion) for motion in MOTIONS]
    flows = torch.stack([flow for flow, _ in found])
    views, _ = make_views(flows, torch.ones(2, 64, 96, dtype=torch.bool), room.intrinsics).thin(500)
    truth = torch.stack([motion for _, motion in found]).numpy()
    nudge = Rotation.from_rotvec([0.005, 0.005, -0.005]).as_matrix()
    start = nudge @ truth[:, :3, :3], truth[:, :3, 3] * [[1.1], [0.9]]
    rotation, translation, _ = adjust(views, *start, np.full(views.rays.shape[1], 0.25), 1.0, 100)
    length = np.linalg.norm(truth[:, :3, 3], axis=1).mean()
    np.testing.assert_allclose(np.linalg.norm(translation, axis=1).mean(), 1)
    np.testing.assert_allclose(rotation, truth[:, :3, :3], atol=1e-3)
    np.testing.assert_allclose(translation, truth[:, :3, 3] / length, atol=0.02)


@pytest.mark.parametrize("vector", [(0.0, 0.0, 0.0), (1e-8, 0.0, -1e-8), (0.3, -2.0, 1.1)])
def test_rotation_vectors(vector: tuple) -> None:
    np.testing.assert_allclose(rotation_of(np.array(vector)), Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)


def test_pixels_are_exact_with_exact_poses(room) -> None:
    flow, motion = room.flow(*MOTIONS[0])
    views = make_views(flow[None], torch.ones(1, 64, 96, dtype=torch.bool), room.intrinsics)
    pose = motion.numpy()[None]
    w = solve_pixels(views, pose[:, :3, :3], pose[:, :3, 3], np.full(64 * 96, 0.25), 1.0)
    np.testing.assert_allclose(1 / w, room.depth.numpy().ravel(), rtol=1e-3)

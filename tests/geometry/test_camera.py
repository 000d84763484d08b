"""Pinhole cameras and images seen from elsewhere."""

from __future__ import annotations

import pytest
import torch

from geometry.camera import (
    back_project,
    guess_intrinsics,
    motion_residual,
    pixel_grid,
    project,
    rigid_flow,
    sample,
    scale_intrinsics,
    warp,
    warp_depth,
)
from geometry.errors import GeometryError
from geometry.pose import inverse, target_from_source

K = torch.tensor([[[50.0, 0.0, 16.0], [0.0, 55.0, 12.0], [0.0, 0.0, 1.0]]]).double()


def test_guess() -> None:
    k = guess_intrinsics(640, 480)
    assert k[0, 0] == pytest.approx(704) and (k[0, 2], k[1, 2]) == (320, 240)
    with pytest.raises(GeometryError, match="positive"):
        guess_intrinsics(0, 480)


def test_resized_camera_sees_the_same_rays() -> None:
    # A pixel (10, 6) becomes (5, 18) in an image half as wide and three times as high.
    half = scale_intrinsics(K, 0.5, 3.0)[0]
    ray = torch.linalg.inv(K[0]) @ torch.tensor([10.0, 6.0, 1.0]).double()
    torch.testing.assert_close(torch.linalg.inv(half) @ torch.tensor([5.0, 18.0, 1.0]).double(), ray)


def test_pixel_centres_and_grid_sample_agree() -> None:
    # Looking an image up at its own pixel centres gives it back; the first centre is (0.5, 0.5).
    image = torch.rand(1, 3, 5, 7)
    grid = pixel_grid(5, 7)
    assert grid[:, 0, 0].tolist() == [0.5, 0.5]
    torch.testing.assert_close(sample(image, grid[None]), image)


def test_back_projection_is_undone_by_projection() -> None:
    depth = torch.rand(2, 1, 24, 32).double() + 1
    pixels, z = project(back_project(depth, K.expand(2, 3, 3)), K.expand(2, 3, 3))
    torch.testing.assert_close(pixels, pixel_grid(24, 32, dtype=torch.float64).expand(2, -1, -1, -1))
    torch.testing.assert_close(z, depth)


def test_flow_of_a_plane() -> None:
    # A camera that moves 0.1 m to the right sees a plane at 2 m go 50 * 0.1 / 2 px to the left.
    move = torch.eye(4).double()[None].clone()
    move[0, 0, 3] = -0.1
    flow = rigid_flow(torch.full((1, 1, 24, 32), 2.0).double(), move, K)
    torch.testing.assert_close(flow[0, 0], torch.full((24, 32), -2.5).double())
    assert flow[0, 1].abs().max() < 1e-9
    assert motion_residual(flow, torch.full((1, 1, 24, 32), 2.0).double(), move, K).abs().max() == 0


def test_warp_finds_the_source(room) -> None:
    # An image that is linear in the pixel, warped by a motion, is that linear function of where the flow ends.
    flow, motion = room.flow((0.01, -0.02, 0.01), (0.05, 0.02, 0.1))
    height, width = room.depth.shape
    grid = pixel_grid(height, width, dtype=torch.float64)
    seen, valid = warp(grid[None], room.depth[None, None], motion[None], room.intrinsics[None])
    ends = grid + flow
    inner = valid[0, 0] & (ends > 1).all(0) & (ends[0] < width - 1) & (ends[1] < height - 1)
    assert inner.float().mean() > 0.8
    torch.testing.assert_close(seen[0][:, inner], ends[:, inner])


def test_warped_depth_agrees_for_a_plane() -> None:
    # A fronto-parallel plane at 3 m is at 2.5 m after half a metre ahead, in both maps.
    ahead = target_from_source(torch.zeros(3).double(), torch.tensor([0.0, 0.0, -0.5]).double())[None]
    far, near = (torch.full((1, 1, 24, 32), z).double() for z in (3.0, 2.5))
    there, expected, valid = warp_depth(near, far, ahead, K)
    torch.testing.assert_close(there[valid], expected[valid])
    assert valid.any() and not valid.all()
    back, expected, valid = warp_depth(far, near, inverse(ahead), K)
    torch.testing.assert_close(back[valid], expected[valid])


def test_behind_the_camera_is_not_valid() -> None:
    back = target_from_source(torch.zeros(3).double(), torch.tensor([0.0, 0.0, -5.0]).double())[None]
    _, valid = warp(torch.rand(1, 3, 24, 32).double(), torch.full((1, 1, 24, 32), 2.0).double(), back, K)
    assert not valid.any()


def test_gradients_of_the_warp() -> None:
    # In depth and pose, on an image whose bilinear pieces are smooth in between.
    image = torch.rand(1, 1, 6, 8, generator=torch.Generator().manual_seed(0)).double()
    k = torch.tensor([[[8.0, 0.0, 4.0], [0.0, 8.0, 3.0], [0.0, 0.0, 1.0]]]).double()
    depth = (torch.rand(1, 1, 6, 8, generator=torch.Generator().manual_seed(1)).double() + 2).requires_grad_()
    twist = torch.tensor([[0.011, -0.017, 0.023, 0.053, -0.037, 0.071]]).double().requires_grad_()

    def seen(depth: torch.Tensor, twist: torch.Tensor) -> torch.Tensor:
        return warp(image, depth, target_from_source(twist[:, :3], twist[:, 3:]), k)[0]

    assert torch.autograd.gradcheck(seen, (depth, twist), eps=1e-7, atol=1e-5)

"""Depth from several frames, and its fusion."""

from __future__ import annotations

import pytest
import torch

from geometry.camera import pixel_grid, sample
from geometry.errors import GeometryError
from geometry.triangulation import (
    chain_scale,
    choose_stride,
    choose_targets,
    fuse,
    relative_scale,
    triangulate,
    video_depth,
)

MOTIONS = (
    ((0.0, 0.02, 0.0), (-0.4, 0.0, 0.1)),
    ((0.01, -0.01, 0.0), (-0.2, 0.0, 0.05)),
    ((-0.01, 0.01, 0.02), (0.2, 0.03, -0.1)),
    ((0.0, -0.02, 0.0), (0.4, 0.05, -0.1)),
)


@pytest.fixture(scope="module")
def window(room) -> tuple[torch.Tensor, torch.Tensor]:
    """Flow (4, 2, H, W) with noise of 0.1 px and the masks."""
    flows = torch.stack([room.flow(*motion)[0] for motion in MOTIONS])
    flows = flows + 0.1 * torch.randn(flows.shape, generator=torch.Generator().manual_seed(0)).double()
    return flows, torch.ones(4, 64, 96, dtype=torch.bool)


def test_depth_and_poses_of_a_window(room, window) -> None:
    # All but the scale: depth within 3 %, sure nearly everywhere; translations of one scale among themselves.
    found = triangulate(*window, room.intrinsics)
    sure = found.confidence > 0.5
    assert sure.float().mean() > 0.9 and found.positive_depth > 0.99
    ratio = found.depth[sure] / room.depth.float()[sure]
    assert float((ratio / ratio.median() - 1).abs().mean()) < 0.03
    truth = torch.tensor([move for _, move in MOTIONS]).double()
    lengths = truth.norm(dim=1) / truth.norm(dim=1).mean()
    torch.testing.assert_close(found.target_from_reference[:, :3, 3].norm(dim=1), lengths, atol=0.03, rtol=0)
    assert (found.depth[found.confidence == 0] == 0).all()


def test_every_second_pixel_tells_nearly_as_much(room, window) -> None:
    # Maps keep their size, also an odd one; the pixels between get the depth of the one before.
    flows, masks = window[0][..., :63, :95], window[1][..., :63, :95]
    found = triangulate(flows, masks, room.intrinsics, stride=2)
    assert found.depth.shape == found.confidence.shape == (63, 95)
    assert torch.equal(found.depth[:62:2, :94:2], found.depth[1::2, 1::2])
    sure = found.confidence > 0.5
    ratio = found.depth[sure] / room.depth.float()[:63, :95][sure]
    assert sure.float().mean() > 0.9 and float((ratio / ratio.median() - 1).abs().mean()) < 0.04


def test_untrusted_targets_do_not_count(room, window) -> None:
    # One flow that is wrong and masked out changes nothing much; NaN flow is not trusted either.
    flows, masks = window[0].clone(), window[1].clone()
    flows[1] += 20
    masks[1] = False
    flows[2, :, :10, :10] = torch.nan
    found = triangulate(flows, masks, room.intrinsics)
    assert found.depth.isfinite().all()
    ratio = found.depth[found.confidence > 0.5] / room.depth.float()[found.confidence > 0.5]
    assert float((ratio / ratio.median() - 1).abs().mean()) < 0.05


def test_no_depth_from_a_panning_camera(room) -> None:
    # The answer is "nowhere", not noise; the rotations are kept.
    flows = torch.stack([room.flow((0.0, turn, 0.0), (0.0, 0.0, 0.0))[0] for turn in (0.02, -0.02)])
    flows = flows + 0.1 * torch.randn(flows.shape, generator=torch.Generator().manual_seed(0)).double()
    found = triangulate(flows, torch.ones(2, 64, 96, dtype=torch.bool), room.intrinsics)
    assert not found.depth.any() and not found.confidence.any()
    assert not found.target_from_reference[:, :3, 3].any()
    assert float(found.target_from_reference[0, 0, 2]) == pytest.approx(0.02, abs=2e-3)


def test_confidence_follows_parallax(room) -> None:
    # Less motion, less confidence; both windows are one scene.
    def window(factor: float) -> torch.Tensor:
        noise = 0.1 * torch.randn((2, 2, 64, 96), generator=torch.Generator().manual_seed(3)).double()
        moves = [(-0.3 * factor, 0.0, 0.0), (0.3 * factor, 0.0, 0.0)]
        return torch.stack([room.flow((0.0, 0.0, 0.0), move)[0] for move in moves]) + noise

    masks = torch.ones(2, 64, 96, dtype=torch.bool)
    near, far = (triangulate(window(factor), masks, room.intrinsics) for factor in (1.0, 0.25))
    assert near.confidence.median() > far.confidence.median() > 0


def test_windows_of_frames() -> None:
    # Symmetric in the middle, one-sided at the ends, nothing outside.
    assert choose_targets(24, 12, 2) == (8, 10, 14, 16)
    assert choose_targets(24, 0, 3) == (3, 6, 9, 12)
    assert choose_targets(3, 1, 1) == (0, 2)
    assert choose_targets(3, 1, 5) == ()
    assert choose_stride(torch.full((2, 4, 100), 2.0)) == 1
    assert choose_stride(torch.zeros(2, 4, 100)) == 6


def test_video_depth_from_images() -> None:
    # Two planes of texture, the nearer one in the lower half, seen by a camera that moves sideways.
    texture = torch.rand(1, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    texture = torch.nn.functional.interpolate(texture, (96, 160), mode="bicubic").clamp(0, 1)
    grid = pixel_grid(64, 96)

    def seen(position: float) -> torch.Tensor:
        shift = torch.where(grid[1] > 32, 3.0, 1.0) * position
        return sample(texture, torch.stack([grid[0] + 30 + shift, grid[1] + 16])[None])[0]

    images = [seen(float(k)) for k in range(5)]
    intrinsics = torch.tensor([[90.0, 0.0, 48.0], [0.0, 90.0, 32.0], [0.0, 0.0, 1.0]])
    found = video_depth(images, 2, intrinsics)
    above, below = (found.depth[rows, 12:-12] for rows in (slice(6, 26), slice(38, 58)))
    assert float(above[above > 0].median() / below[below > 0].median()) == pytest.approx(3.0, rel=0.25)
    with pytest.raises(GeometryError, match="reference"):
        video_depth(images, 5, intrinsics)


def test_scales_are_brought_together(room, window) -> None:
    found = triangulate(*window, room.intrinsics)
    doubled = found.scaled(2.0)
    assert relative_scale(found.depth, found.confidence, doubled.depth, doubled.confidence) == pytest.approx(0.5)
    still = torch.zeros(2, 64, 96)
    chained = chain_scale(found, doubled, still, torch.ones(64, 96, dtype=torch.bool))
    torch.testing.assert_close(chained.depth, found.depth)
    torch.testing.assert_close(chained.target_from_reference, found.target_from_reference)
    assert relative_scale(found.depth, torch.zeros(64, 96), doubled.depth, doubled.confidence) is None


def test_fusion() -> None:
    # Sure pixels stay, the guess takes their scale and learns its local error from them.
    truth = torch.full((32, 48), 4.0)
    truth[:, 24:] = 8.0
    known = torch.zeros(32, 48)
    known[::2, ::2] = 1
    sure, confidence = truth * known, 0.95 * known
    fused = fuse(sure, confidence, torch.ones(32, 48))
    kept = known > 0
    assert float((fused[kept] / truth[kept]).log().abs().mean()) < 0.05
    inner = torch.ones(32, 48, dtype=torch.bool)
    inner[:, 18:30] = False
    assert float((fused[inner] / truth[inner]).log().abs().mean()) < 0.1
    assert torch.equal(fuse(torch.zeros(32, 48), torch.zeros(32, 48), truth), truth)
    with pytest.raises(GeometryError, match="one shape"):
        fuse(sure, confidence, truth[1:])


def test_errors(room, window) -> None:
    with pytest.raises(GeometryError, match="flows"):
        triangulate(window[0][0], window[1], room.intrinsics)
    with pytest.raises(GeometryError, match="masks"):
        triangulate(window[0], window[1][:2], room.intrinsics)
    with pytest.raises(GeometryError, match="a motion for each"):
        triangulate(*window, room.intrinsics, motions=[])

"""What counts as an error of photometric training: derivatives, numbers by hand, and exact worlds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geometry.losses import minimum_over_sources
from geometry.pose import target_from_source
from scenegraph_track.training.photometric_losses import (
    flow_distance,
    flow_of_camera,
    motion_distance,
    unwarped_errors,
    warped_errors,
    weight_of_still,
    window_loss,
)
from scenegraph_track.training.photometric_settings import PhotometricLoss
from scenegraph_track.training.windows import WindowData, held_window

DATA = WindowData(size=64, worlds=4)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def windows(count: int = 2) -> dict[str, Tensor]:
    """Some rendered windows with their truth."""
    found = [held_window(DATA, "train", number) for number in range(count)]
    return {name: torch.stack([window[name] for window in found]) for name in found[0]}


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).double()


def tiny() -> tuple[Tensor, Tensor, Tensor]:
    """Images (1, 3, 3, 6, 6), intrinsics and twists (1, 2, 6) in double precision."""
    intrinsics = torch.tensor([[[9.0, 0.0, 3.0], [0.0, 9.0, 3.0], [0.0, 0.0, 1.0]]]).double()
    return rand(1, 3, 3, 6, 6), intrinsics, 0.1 * (rand(1, 2, 6, seed=1) - 0.5)


@pytest.mark.parametrize("alpha", [0.0, 0.85])
def test_gradients_of_the_photometric_loss(alpha: float) -> None:
    images, intrinsics, twists = tiny()
    disparities = [(0.5 + rand(1, 1, 6 // 2**k, 6 // 2**k, seed=2 + k)).requires_grad_() for k in range(2)]
    settings = PhotometricLoss(alpha=alpha, auto_mask=False, smoothness=0.1)

    def loss(*inputs: Tensor) -> Tensor:
        motions = target_from_source(inputs[0][..., :3], inputs[0][..., 3:])
        return window_loss(inputs[1:], motions, images, intrinsics, settings, rand(1, 1, 6, 6, seed=9))[0]

    assert torch.autograd.gradcheck(loss, (twists.requires_grad_(), *disparities))


def test_gradients_of_the_other_losses() -> None:
    _, intrinsics, twists = tiny()
    depth, flow = 1 + rand(1, 1, 6, 6, seed=2), rand(1, 2, 2, 6, 6, seed=3)
    trusted = rand(1, 2, 1, 6, 6, seed=4) > 0.3
    teacher = target_from_source(*(0.1 * rand(1, 2, 6, seed=5)).split(3, -1))

    def losses(twists: Tensor, depth: Tensor) -> Tensor:
        motions = target_from_source(twists[..., :3], twists[..., 3:])
        rigid = flow_of_camera(depth, motions, intrinsics)
        by_flow = flow_distance(flow, trusted, rigid, weight_of_still(flow, trusted, rigid, 1.0))
        return by_flow + motion_distance(motions, teacher, torch.ones(1, 2).double(), intrinsics, depth.mean())

    assert torch.autograd.gradcheck(losses, (twists.requires_grad_(), depth.requires_grad_()))


def test_truth_explains_more_than_a_plane_and_a_still_camera() -> None:
    # On every rendered world; also than the right depth with the motions of the two sources exchanged.
    batch = windows()
    for k in range(2):
        images, intrinsics = batch["images"][k : k + 1], batch["intrinsics"][k : k + 1]
        depth, truth = batch["depth"][k : k + 1], batch["truth"][k : k + 1]
        plane, still = torch.full_like(depth, 3.0), torch.eye(4).expand(1, 2, 4, 4)
        settings = PhotometricLoss(auto_mask=False)
        exact, constant, wrong = (
            float(window_loss([1 / d], motions, images, intrinsics, settings)[0])
            for d, motions in ((depth, truth), (plane, still), (depth, truth.flip(1)))
        )
        assert exact < 0.8 * constant < wrong


def test_the_finest_error_is_that_of_the_formula() -> None:
    # The minimum over sources of mixed SSIM and L1 with the exact warp; pixels that leave an image gain nothing.
    batch = windows(1)
    unwarped = unwarped_errors(batch["images"], 0.85)
    errors = warped_errors(batch["depth"], batch["truth"], batch["images"], batch["intrinsics"], 0.85, unwarped)
    _, first = window_loss(
        [1 / batch["depth"]], batch["truth"], batch["images"], batch["intrinsics"], PhotometricLoss(auto_mask=True)
    )
    assert float(first) == pytest.approx(float(minimum_over_sources(errors.unbind(1)).mean()))
    away = batch["truth"].clone()
    away[..., 2, 3] = -1e4  # behind the camera everywhere
    gone = warped_errors(batch["depth"], away, batch["images"], batch["intrinsics"], 0.85, unwarped)
    assert torch.equal(gone, unwarped)


def test_auto_mask_leaves_a_still_image_alone() -> None:
    # Where both sources equal the target, a wrong motion costs nothing.
    images = rand(1, 1, 3, 8, 8).float().expand(1, 3, 3, 8, 8)
    disparity = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
    motions = target_from_source(torch.zeros(1, 2, 3), torch.full((1, 2, 3), 0.2))
    settings = PhotometricLoss(smoothness=0.0)
    loss, first = window_loss([disparity], motions, images, tiny()[1].float(), settings)
    assert loss.item() < 1e-6 < first.item()
    settings = PhotometricLoss(smoothness=0.0, auto_mask=False)
    unmasked, _ = window_loss([disparity], motions, images, tiny()[1].float(), settings)
    assert unmasked.item() == pytest.approx(first.item())


def test_what_moves_by_itself_weighs_little() -> None:
    rigid = torch.zeros(1, 2, 2, 4, 4)
    flow, trusted = rigid.clone(), torch.ones(1, 2, 1, 4, 4, dtype=torch.bool)
    flow[:, 1, 0, 1, 2] = 3.0  # one pixel of one source
    flow[:, 0, 0, 3, 3] = 3.0
    trusted[:, 0, :, 3, 3] = False
    weight = weight_of_still(flow, trusted, rigid, 1.5)
    assert float(weight[0, 0, 1, 2]) == pytest.approx(1 / 5)
    assert float(weight.sum()) == pytest.approx(15 + 1 / 5)
    assert float(flow_distance(flow, trusted, rigid)) == pytest.approx(3 / 31, rel=0.02)


def test_distance_of_motions_is_in_pixels() -> None:
    # A turn of 0.02 and a shift of a tenth of the depth, seen with a focal length of 9 pixels.
    intrinsics = tiny()[1].float()
    still, sure = torch.eye(4).expand(1, 2, 4, 4), torch.tensor([[1.0, 0.0]])
    turned = target_from_source(torch.tensor([0.0, 0.02, 0.0]), torch.zeros(3)).expand(1, 2, 4, 4)
    shifted = target_from_source(torch.zeros(3), torch.tensor([0.3, 0.0, 0.0])).expand(1, 2, 4, 4)
    depth = torch.tensor(3.0)
    assert float(motion_distance(turned, still, sure, intrinsics, depth)) == pytest.approx(9 * 0.02, rel=0.02)
    assert float(motion_distance(shifted, still, sure, intrinsics, depth)) == pytest.approx(9 * 0.1, rel=0.02)
    assert float(motion_distance(still, still, sure, intrinsics, depth)) < 0.01

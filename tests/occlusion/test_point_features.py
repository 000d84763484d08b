"""Features of images round points, against plain sampling and plain products."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from geometry.camera import sample
from scenegraph_track.occlusion import point_features
from scenegraph_track.occlusion.point_features import (
    AROUND,
    LEVELS,
    REACH,
    STRIDE,
    PointEncoder,
    aligned,
    correlate,
    describe,
    pyramid,
    shifts,
)

FRAMES, DIM, HEIGHT, WIDTH = 2, 5, 12, 16


@pytest.fixture
def features() -> Tensor:
    return torch.randn(FRAMES, DIM, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


def positions(count: int) -> Tensor:
    """(count, 2) pixels, some up to a cell outside the image."""
    size = STRIDE * torch.tensor([WIDTH, HEIGHT])
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) * (size + 2 * STRIDE) - STRIDE


def sampled(features: Tensor, frames: Tensor, places: Tensor, reach: int) -> Tensor:
    """(N, L, (2 r + 1)^2, D) looked up by `sample`, zeros outside, row by row."""
    steps = torch.arange(-reach, reach + 1.0)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    offsets, levels = torch.stack([x, y], -1).flatten(0, 1), []
    for number in range(LEVELS):
        features = avg_pool2d(features, 2) if number else features
        cells = places[:, None] / (STRIDE * 2**number) + offsets
        found = sample(features[frames], cells.permute(0, 2, 1)[..., None], padding="zeros")
        levels.append(found[..., 0].transpose(1, 2))
    return torch.stack(levels, 1)


def test_descriptions_agree_with_sampling(features: Tensor) -> None:
    frames, places = torch.tensor([0, 1] * 10), positions(20)
    found = describe(pyramid(features), frames, places)
    assert found.shape == (20, LEVELS, (2 * AROUND + 1) ** 2, DIM)
    assert torch.allclose(found, sampled(features, frames, places, AROUND), atol=1e-5)


def test_correlation_is_the_product_with_what_is_round_a_position(features: Tensor) -> None:
    frames = torch.tensor([[0, 1]]).expand(6, -1)
    places, looks = positions(12).view(6, 2, 2), torch.randn(6, LEVELS, 9, DIM)
    found = correlate(pyramid(features), frames, places, looks)
    around = sampled(features, frames.flatten(), places.flatten(0, 1), REACH).view(6, 2, LEVELS, -1, DIM)
    expected = torch.einsum("ntlcd,nlkd->ntlck", around, looks).flatten(-2)
    assert torch.allclose(found, point_features._SHARP * expected, atol=1e-4)


def test_outside_is_zero_and_the_farthest_is_two_cells_out(features: Tensor) -> None:
    # A point in the corner sees zeros beyond it; one far away, or nowhere, gives numbers all the same.
    levels, looks = pyramid(features), torch.randn(3, LEVELS, 9, DIM)
    places = torch.tensor([[[0.5 * STRIDE, 0.5 * STRIDE]], [[-1e6, 1e6]], [[torch.nan, torch.nan]]])
    found = correlate(levels, torch.zeros(3, 1, dtype=torch.long), places, looks)
    shown = found[0, 0, 0].view(2 * REACH + 1, 2 * REACH + 1, 9)
    assert (shown[:REACH] == 0).all() and (shown[:, :REACH] == 0).all() and (shown[REACH:, REACH:] != 0).all()
    assert found.isfinite().all()
    near = torch.tensor([[[-1.5 * STRIDE, (HEIGHT + 1.5) * STRIDE]]])
    other = correlate(levels, torch.zeros(1, 1, dtype=torch.long), near, looks[1:2])
    assert torch.allclose(other[0, 0, 0], found[1, 0, 0])


def test_the_shift_to_a_point_fits_best(features: Tensor) -> None:
    # A position that is off by (1, -2) cells: of all shifts the one back to the point has the largest sum.
    levels, frames = pyramid(features), torch.zeros(1, dtype=torch.long)
    point = STRIDE * torch.tensor([[7.5, 6.5]])
    looks = describe(levels, frames, point)
    products = correlate(levels, frames[None], (point + STRIDE * torch.tensor([1.0, -2.0]))[None], looks)
    best = aligned(products)[0, 0, 0].argmax()
    assert shifts(products.device)[best].tolist() == [-1, 2]


def test_no_gradient_reaches_positions_and_some_reaches_descriptions(features: Tensor) -> None:
    looks, place = torch.randn(1, LEVELS, 9, DIM, requires_grad=True), torch.full((1, 1, 2), 20.0, requires_grad=True)
    correlate(pyramid(features), torch.zeros(1, 1, dtype=torch.long), place, looks).square().sum().backward()
    assert place.grad is None and looks.grad is not None and looks.grad.abs().sum() > 0


def test_encoder_rounds_up_and_gives_unit_vectors() -> None:
    torch.manual_seed(0)
    found = PointEncoder((4, 6, 8), DIM)(torch.rand(2, 3, 30, 41))
    assert found.shape == (2, DIM, 8, 11)
    assert torch.allclose(found.norm(dim=1), torch.ones(2, 8, 11), atol=1e-4)

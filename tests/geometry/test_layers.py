"""What the networks have in common."""

from __future__ import annotations

import torch

from geometry.camera import pixel_grid
from geometry.layers import Convolutions, convex_upsample, pad_to, ray_channels, standardised


def test_only_the_first_convolution_has_a_stride() -> None:
    assert Convolutions(3, 4, 5, 6, stride=2)(torch.rand(1, 3, 16, 12)).shape == (1, 6, 8, 6)


def test_padding_repeats_the_border() -> None:
    image = torch.arange(15.0).reshape(1, 1, 3, 5)
    padded = pad_to(image, 4)
    assert padded.shape == (1, 1, 4, 8)
    assert torch.equal(padded[..., :3, :5], image) and (padded[0, 0, 3, 4:] == 14).all()
    assert torch.equal(pad_to(padded, 4), padded), "nothing to pad"


def test_convex_upsample_stays_between_neighbours_and_can_choose_one() -> None:
    values = torch.rand(2, 3, 5, 6)
    mixed = convex_upsample(values, torch.randn(2, 36, 5, 6))
    assert mixed.shape == (2, 3, 10, 12)
    assert mixed.min() >= values.min() and mixed.max() <= values.max()
    logits = torch.full((2, 9, 4, 5, 6), -100.0)
    logits[:, 4] = 100.0  # the middle of the nine neighbours, for each of the four pixels
    chosen = convex_upsample(values, logits.reshape(2, 36, 5, 6))
    assert torch.allclose(chosen, values.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_convex_upsample_places_the_four_pixels() -> None:
    # Each of the four pixels looks at the neighbour in its own direction.
    values = torch.arange(9.0).reshape(1, 1, 3, 3)
    logits = torch.full((1, 9, 2, 2, 3, 3), -100.0)
    for row, column, neighbour in ((0, 0, 0), (0, 1, 2), (1, 0, 6), (1, 1, 8)):
        logits[:, neighbour, row, column] = 100.0
    fine = convex_upsample(values, logits.reshape(1, 36, 3, 3))[0, 0]
    assert fine[2:4, 2:4].tolist() == [[0, 2], [6, 8]]


def test_standardised() -> None:
    out = standardised(torch.rand(2, 3, 8, 8) * 0.2 + 0.4)
    assert out.mean((2, 3)).abs().max() < 1e-5
    assert (out.std((1, 2, 3)) - 1).abs().max() < 0.05


def test_ray_channels_are_the_rays_of_the_camera() -> None:
    intrinsics = torch.tensor([[[50.0, 0, 20], [0, 40.0, 10], [0, 0, 1]]])
    rays = ray_channels(intrinsics, 16, 24)[0]
    points = torch.cat([rays, torch.ones(1, 16, 24)])
    pixels = torch.einsum("ij,jhw->ihw", intrinsics[0], points)[:2]
    assert torch.allclose(pixels, pixel_grid(16, 24), atol=1e-5)

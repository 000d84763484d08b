"""Photometric errors, masks and smoothness."""

from __future__ import annotations

import pytest
import torch

from geometry.errors import GeometryError
from geometry.losses import (
    auto_mask,
    minimum_over_sources,
    photometric_error,
    photometric_loss,
    smoothness,
    ssim_distance,
)


def images(seed: int = 0, shape: tuple[int, ...] = (2, 3, 8, 9)) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).double()


def test_ssim_is_a_distance() -> None:
    # 0 for equal images, large for unrelated ones, symmetric; a similarity would have the opposite sign.
    a, b = images(0), images(1)
    assert ssim_distance(a, a).abs().max() < 1e-9
    assert 0.2 < float(ssim_distance(a, b).mean()) < 0.8
    torch.testing.assert_close(ssim_distance(a, b), ssim_distance(b, a))


def test_ssim_of_one_window() -> None:
    # The middle of 3 x 3 pixels, by the formula.
    a, b = images(2, (1, 1, 3, 3)), images(3, (1, 1, 3, 3))
    x, y = a.flatten(), b.flatten()
    vx, vy = x.var(correction=0), y.var(correction=0)
    cov = ((x - x.mean()) * (y - y.mean())).mean()
    c1, c2 = 1e-4, 9e-4
    similarity = (2 * x.mean() * y.mean() + c1) * (2 * cov + c2)
    similarity = similarity / ((x.mean() ** 2 + y.mean() ** 2 + c1) * (vx + vy + c2))
    torch.testing.assert_close(ssim_distance(a, b)[0, 0, 1, 1], (1 - similarity) / 2)


def test_photometric_error_mixes() -> None:
    a, b = images(0), images(1)
    l1 = (a - b).abs().mean(1, keepdim=True)
    ssim = ssim_distance(a, b).mean(1, keepdim=True)
    torch.testing.assert_close(photometric_error(a, b), 0.85 * ssim + 0.15 * l1)
    torch.testing.assert_close(photometric_error(a, b, alpha=0), l1)


def test_minimum_forgives_what_one_view_hides() -> None:
    # A left half that only the first source shows, a right half that only the second shows.
    target = images(0)
    left, right = target.clone(), target.clone()
    left[..., 5:], right[..., :4] = 0, 0
    errors = [photometric_error(target, i, alpha=0) for i in (left, right)]
    assert minimum_over_sources(errors).abs().max() == 0
    with pytest.raises(GeometryError, match="at least one"):
        minimum_over_sources([])


def test_auto_mask_leaves_out_what_stands_still() -> None:
    # The right half did not change between the frames; the left is explained by the warp alone.
    target, source = images(0), images(1)
    source[..., 5:] = target[..., 5:]
    warped = target + 1e-3
    loss, mask = photometric_loss(target, [warped], [source], generator=torch.Generator().manual_seed(0))
    assert mask[..., :3].all() and not mask[..., 7:].any()
    assert float(loss) < 1e-3
    same = photometric_loss(target, [warped], [source], generator=torch.Generator().manual_seed(0))[0]
    assert same == loss


def test_ties_are_broken_by_noise() -> None:
    error = torch.full((1, 1, 30, 30), 0.1).double()
    share = auto_mask(error, [error], torch.Generator().manual_seed(0)).double().mean()
    assert 0.4 < float(share) < 0.6


def test_weight_leaves_pixels_out() -> None:
    target, weight = images(0), torch.zeros(2, 1, 8, 9).double()
    weight[..., :4] = 1
    warped = target.clone()
    warped[..., 6:] = 0
    assert photometric_loss(target, [warped], alpha=0, weight=weight)[0] == 0


def test_smoothness() -> None:
    # Nothing for a flat disparity; a step costs less on an image edge; scaling the disparity changes nothing.
    flat, edge = torch.zeros(1, 3, 6, 6).double(), torch.zeros(1, 3, 6, 6).double()
    edge[..., 3:] = 1
    step = 1 + edge[:, :1]
    assert smoothness(torch.ones_like(step), flat) == 0
    assert float(smoothness(step, edge)) == pytest.approx(
        float(smoothness(step, flat)) * torch.tensor(-1.0).exp().item()
    )
    torch.testing.assert_close(smoothness(7 * step, flat), smoothness(step, flat))


def test_gradients() -> None:
    a, b = images(4, (1, 2, 5, 5)), images(5, (1, 2, 5, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda b: ssim_distance(a, b), (b,))
    assert torch.autograd.gradcheck(lambda b: photometric_error(a, b), (b,))
    disparity = (images(6, (1, 1, 5, 5)) + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: smoothness(d, a), (disparity,))

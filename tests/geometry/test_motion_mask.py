"""What counts as moving on its own."""

from __future__ import annotations

import pytest
import torch

from geometry.motion_mask import LEAST, moving_mask, residual_noise


def test_noise_is_that_of_the_still_part() -> None:
    residual = 0.4 * torch.randn(2, 60, 80, generator=torch.Generator().manual_seed(0))
    trusted = torch.ones(60, 80, dtype=torch.bool)
    assert residual_noise(residual, trusted) == pytest.approx(0.4, rel=0.05)
    residual[:, :20] += 9
    assert residual_noise(residual, trusted) < 0.7
    assert residual_noise(residual, ~trusted) == float("inf")


def test_threshold_follows_the_noise() -> None:
    # Twice the noise, twice the residual that it takes; hardly any false alarms; never less than LEAST.
    residual = torch.zeros(2, 1, 4)
    residual[0, 0] = torch.tensor([0.5 * LEAST, 1.1, 2.0, 9.0])
    assert moving_mask(residual, 0.01).tolist() == [[False, True, True, True]]
    assert moving_mask(residual, 0.5).tolist() == [[False, False, True, True]]
    assert moving_mask(residual, torch.tensor([[0.5, 0.5, 1.0, 1.0]])).tolist() == [[False, False, False, True]]
    quiet = torch.randn(2, 60, 80, generator=torch.Generator().manual_seed(0))
    assert moving_mask(quiet, 1.0).float().mean() < 0.02


def test_an_unsure_depth_excuses_motion_along_the_epipolar_line_only() -> None:
    residual = torch.tensor([[[5.0, 0.0]], [[0.0, 5.0]]])  # along x, then along y
    along = torch.tensor([4.0, 0.0])[:, None, None].expand(2, 1, 2)
    assert moving_mask(residual, 0.3, along).tolist() == [[False, True]]
    assert moving_mask(residual, 0.3, 0 * along).tolist() == [[True, True]]


def test_unknown_flow_does_not_move() -> None:
    residual = torch.tensor([[[torch.nan, 9.0]], [[9.0, 9.0]]])
    assert moving_mask(residual, 0.3).tolist() == [[False, True]]

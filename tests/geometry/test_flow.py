"""Optical flow and its consistency."""

from __future__ import annotations

import pytest
import torch

from geometry.camera import pixel_grid, sample
from geometry.errors import GeometryError
from geometry.flow import METHODS, consistency, optical_flow


def texture(height: int = 64, width: int = 96) -> torch.Tensor:
    coarse = torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[0]


def shifted(image: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """The image moved by (x, y) pixels."""
    grid = pixel_grid(*image.shape[1:]) - torch.tensor([x, y])[:, None, None]
    return sample(image[None], grid[None])[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_shift_is_found(method: str, kind: str) -> None:
    # Target minus source: what moves right and up has positive x and negative y.
    a, b = texture(), shifted(texture(), 2.5, -1.0)
    if kind == "uint8":
        a, b = ((255 * i).to(torch.uint8) for i in (a, b))
    found = optical_flow(a, b, method)
    assert found.flow.shape == (2, 64, 96) and found.flow.dtype == torch.float32
    inner = found.flow[:, 8:-8, 8:-8]
    assert float((inner - torch.tensor([2.5, -1.0])[:, None, None]).norm(dim=0).median()) < 0.25
    assert found.consistent[8:-8, 8:-8].float().mean() > 0.95
    assert not found.consistent[:, -2:].any(), "what leaves the image is not consistent"


def test_same_answer_twice() -> None:
    # No state is kept between calls.
    a, b = texture(), shifted(texture(), 1.0, 1.0)
    first = optical_flow(a, b).flow
    optical_flow(b, a, "dis_fine")
    assert torch.equal(optical_flow(a, b).flow, first)


def test_own_estimator() -> None:
    found = optical_flow(texture(), texture(), lambda a, b: torch.full((2, 64, 96), 3.0))
    assert (found.flow == 3).all() and not found.consistent.any()


def test_consistency_by_hand() -> None:
    # There by (2, 0) and back by (-2, 0) is consistent; back by (-4, 0) is 2 px off; the last columns leave the image.
    there = torch.zeros(2, 4, 8)
    there[0] = 2
    good, error = consistency(there, -there)
    assert good[:, :6].all() and not good[:, 6:].any()
    assert error[0, 0] == 0 and error[0, 7].isinf()
    bad, error = consistency(there, -2 * there)
    assert not bad.any() and error[0, 0] == 2


def test_errors() -> None:
    with pytest.raises(GeometryError, match="one of dis_fast, dis_sparse, dis_fine, embedded"):
        optical_flow(texture(), texture(), "farneback")
    with pytest.raises(GeometryError, match="one size"):
        optical_flow(texture(), texture(32, 32))
    with pytest.raises(GeometryError, match="at least 16"):
        optical_flow(torch.rand(3, 8, 8), torch.rand(3, 8, 8))

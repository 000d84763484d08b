"""Attention over time and over points."""

from __future__ import annotations

import pytest
import torch

from scenegraph_track.occlusion.point_layers import SpaceTimeLayer

POINTS, VIRTUAL, FRAMES, DIM = 5, 3, 4, 8


@pytest.fixture
def layer() -> SpaceTimeLayer:
    torch.manual_seed(0)
    return SpaceTimeLayer(DIM, 2).eval()


@pytest.fixture
def tokens() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens of tracks and virtual tracks; point k is known from frame k on, the last one never."""
    torch.manual_seed(1)
    known = torch.arange(FRAMES) >= torch.arange(POINTS)[:, None]
    return torch.randn(2, POINTS, FRAMES, DIM), torch.randn(2, VIRTUAL, FRAMES, DIM), known.expand(2, -1, -1)


def test_unknown_frames_do_not_influence_known_ones(layer: SpaceTimeLayer, tokens) -> None:
    tracks, virtual, known = tokens
    found, shared = layer(tracks, virtual, known)
    other, other_shared = layer(torch.where(known[..., None], tracks, 9.0), virtual, known)
    assert torch.allclose(found[known], other[known], atol=1e-5) and torch.allclose(shared, other_shared, atol=1e-5)
    changed, _ = layer(tracks.index_fill(1, torch.tensor([0]), 9.0), virtual, known)
    assert not torch.allclose(found[known], changed[known], atol=1e-3)  # what is known does


def test_points_in_another_order_give_the_same(layer: SpaceTimeLayer, tokens) -> None:
    tracks, virtual, known = tokens
    order = torch.tensor([3, 0, 4, 2, 1])
    found, shared = layer(tracks, virtual, known)
    other, other_shared = layer(tracks[:, order], virtual, known[:, order])
    assert torch.allclose(found[:, order], other, atol=1e-5) and torch.allclose(shared, other_shared, atol=1e-5)


def test_points_that_are_nowhere_give_no_nan(layer: SpaceTimeLayer, tokens) -> None:
    tracks, virtual, known = tokens
    for part in layer(tracks, virtual, torch.zeros_like(known)):
        assert part.isfinite().all()

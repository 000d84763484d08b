"""The network that corrects a flow."""

from __future__ import annotations

import pytest
import torch

from geometry.errors import GeometryError
from geometry.flow_net import FlowNet, correlation


@pytest.fixture
def net() -> FlowNet:
    torch.manual_seed(0)
    return FlowNet().eval()


def test_correlation_by_hand() -> None:
    # The score of a shift is the product with the pixel so far away; outside of the image it is 0.
    a, b = torch.rand(1, 4, 5, 6), torch.rand(1, 4, 5, 6)
    scores = correlation(a, b, 1)[0]
    assert scores.shape == (9, 5, 6)
    assert torch.isclose(scores[5, 2, 3], (a[0, :, 2, 3] * b[0, :, 2, 4]).sum()), "one to the right"
    assert torch.isclose(scores[1, 2, 3], (a[0, :, 2, 3] * b[0, :, 1, 3]).sum()), "one up"
    assert scores[0, 0, 0] == 0


@pytest.mark.parametrize("size", [(32, 32), (30, 45), (17, 64)])
def test_any_size(net: FlowNet, size: tuple[int, int]) -> None:
    a, b = torch.rand(2, 2, 3, *size)
    full, half, quarter = net(a, b, torch.zeros(2, 2, *size))
    assert full.shape == (2, 2, *size)
    assert half.shape[-1] == 2 * quarter.shape[-1] and half.shape[-2] * 2 >= size[0]


def test_untrained_it_keeps_the_flow_it_is_given(net: FlowNet) -> None:
    # The correction starts near zero: training begins at what the classical flow is worth.
    a, b = torch.rand(2, 1, 3, 32, 32)
    start = torch.tensor([2.0, -3.0])[None, :, None, None].expand(1, 2, 32, 32)
    for found in net(a, b, start):
        assert (found - found.new_tensor([2.0, -3.0])[None, :, None, None]).abs().max() < 0.3


def test_no_sample_sees_another(net: FlowNet) -> None:
    a, b = torch.rand(2, 3, 3, 24, 24)
    start = torch.randn(3, 2, 24, 24)
    together = net(a, b, start)[0]
    alone = torch.cat([net(a[k : k + 1], b[k : k + 1], start[k : k + 1])[0] for k in range(3)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_exposure_does_not_matter(net: FlowNet) -> None:
    a, b, start = torch.rand(1, 3, 24, 24), torch.rand(1, 3, 24, 24), torch.zeros(1, 2, 24, 24)
    assert torch.allclose(net(a, b, start)[0], net(0.4 * a + 0.1, 0.4 * b + 0.1, start)[0], atol=2e-2)


def test_every_weight_learns(net: FlowNet) -> None:
    a, b = torch.rand(2, 1, 3, 32, 32)
    sum(flow.square().mean() for flow in net(a, b, torch.randn(1, 2, 32, 32))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize(
    ("a", "b", "start"),
    [
        ((1, 3, 16, 16), (1, 3, 16, 20), (1, 2, 16, 16)),
        ((1, 1, 16, 16), (1, 1, 16, 16), (1, 2, 16, 16)),
        ((1, 3, 16, 16), (1, 3, 16, 16), (1, 2, 8, 8)),
    ],
)
def test_wrong_shapes_are_named(net: FlowNet, a: tuple, b: tuple, start: tuple) -> None:
    with pytest.raises(GeometryError, match="expected"):
        net(torch.rand(a), torch.rand(b), torch.zeros(start))


@pytest.mark.parametrize("size", [(32, 32), (30, 45)])
def test_a_pair_both_ways(net: FlowNet, size: tuple[int, int]) -> None:
    # As the two pairs one by one.
    a, b, start = torch.rand(3, *size), torch.rand(3, *size), torch.randn(2, 2, *size)
    images = torch.stack([a, b])
    wanted, found = net(images, images.flip(0), start)[0], net.both_ways(a, b, start)
    assert torch.allclose(torch.stack(found), wanted, atol=1e-4)

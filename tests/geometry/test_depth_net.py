"""Depth of a single image, and completion."""

from __future__ import annotations

import pytest
import torch

from geometry.depth_net import DepthNet
from geometry.errors import GeometryError

K = torch.tensor([[[40.0, 0, 20], [0, 40.0, 16], [0, 0, 1]]])


@pytest.fixture
def net() -> DepthNet:
    torch.manual_seed(0)
    return DepthNet(channels=(4, 6, 8, 8, 8), decoder=(4, 6, 8, 8)).eval()


@pytest.mark.parametrize("size", [(32, 64), (30, 41), (33, 33)])
def test_four_scales_within_the_bounds(net: DepthNet, size: tuple[int, int]) -> None:
    disparities = net(torch.rand(2, 3, *size))
    assert disparities[0].shape == (2, 1, *size)
    sides = [d.shape[-1] for d in disparities[1:]]
    assert sides == [sides[2] * 4, sides[2] * 2, sides[2]] and 2 * sides[0] >= size[1]
    for disparity in disparities:
        depth = 1 / disparity
        assert depth.min() >= 0.1 and depth.max() <= 100


def test_depth_is_one_over_the_finest_disparity(net: DepthNet) -> None:
    image = torch.rand(1, 3, 32, 40)
    assert torch.allclose(net.depth(image, K), 1 / net(image, K)[0])


def test_extreme_weights_stay_within_the_bounds_and_keep_a_gradient(net: DepthNet) -> None:
    with torch.no_grad():
        net.heads[0].bias[0] = 3.0
    image = torch.rand(1, 3, 32, 32)
    depth = net.depth(image)
    assert depth.max() <= 100
    depth.sum().backward()
    assert net.heads[0].bias.grad[0].abs() > 0


def test_the_camera_matters(net: DepthNet) -> None:
    # The same image through a wider lens shows another scene.
    image, wide = torch.rand(1, 3, 32, 40), K.clone()
    wide[:, 0, 0] /= 3
    assert (net.depth(image, K) - net.depth(image, wide)).abs().max() > 1e-3


def test_known_depth_matters_but_not_its_scale(net: DepthNet) -> None:
    image, known = torch.rand(1, 3, 32, 40), torch.rand(1, 2, 32, 40)
    known[:, 0] += 0.5
    known[:, :, :16] = 0
    scaled = known * torch.tensor([7.0, 1.0])[None, :, None, None]
    told = net.depth(image, K, known)
    assert torch.allclose(told, net.depth(image, K, scaled), rtol=1e-3)
    assert (told - net.depth(image, K)).abs().max() > 1e-3


def test_nothing_known_is_the_same_as_not_told(net: DepthNet) -> None:
    # Confidence without depth says nothing.
    image, known = torch.rand(1, 3, 32, 40), torch.zeros(1, 2, 32, 40)
    known[:, 1] = 0.7
    assert torch.equal(net.depth(image, K, known), net.depth(image, K))


def test_all_weights_learn(net: DepthNet) -> None:
    sum(d.log().square().mean() for d in net(torch.rand(2, 3, 32, 32), K.expand(2, 3, 3))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_timm_backbone_takes_the_place_of_the_encoder() -> None:
    pytest.importorskip("timm")
    net = DepthNet(backbone="resnet10t", decoder=(4, 6, 8, 8), completes=False).eval()
    assert net.depth(torch.rand(1, 3, 48, 64), K).shape == (1, 1, 48, 64)


@pytest.mark.parametrize("name", ["no_such_network", "vit_tiny_patch16_224"])
def test_a_backbone_that_does_not_fit_is_refused(name: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(GeometryError, match=name):
        DepthNet(backbone=name)


def test_errors(net: DepthNet) -> None:
    with pytest.raises(GeometryError, match="min_depth"):
        DepthNet(min_depth=2, max_depth=1)
    with pytest.raises(GeometryError, match="RGB"):
        net(torch.rand(1, 1, 32, 32))
    with pytest.raises(GeometryError, match="intrinsics"):
        net(torch.rand(2, 3, 32, 32), K)
    with pytest.raises(GeometryError, match="known depth"):
        net(torch.rand(1, 3, 32, 32), K, torch.rand(1, 2, 16, 16))
    with pytest.raises(GeometryError, match="no known depth"):
        DepthNet(completes=False)(torch.rand(1, 3, 32, 32), K, torch.rand(1, 2, 32, 32))

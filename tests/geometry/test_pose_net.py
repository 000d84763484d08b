"""Camera motion of a pair or window."""

from __future__ import annotations

import pytest
import torch

from geometry.errors import GeometryError
from geometry.pose_net import PoseNet

K = torch.tensor([[[40.0, 0, 20], [0, 40.0, 16], [0, 0, 1]]])


def make(**options) -> PoseNet:
    torch.manual_seed(0)
    return PoseNet(channels=(4, 6, 8), **options).eval()


@pytest.mark.parametrize("targets", [1, 2])
def test_rigid_motions_near_none(targets: int) -> None:
    motion = make(targets=targets)(torch.rand(2, 1 + targets, 3, 30, 41), K.expand(2, 3, 3))
    assert motion.shape == (2, targets, 4, 4)
    rotation = motion[..., :3, :3]
    eye = torch.eye(3).expand_as(rotation)
    assert torch.allclose(rotation @ rotation.transpose(-1, -2), eye, atol=1e-5)
    assert (motion - torch.eye(4)).abs().max() < 0.2 and (motion[..., 3, :] == torch.tensor([0, 0, 0, 1.0])).all()


def test_a_known_motion_is_corrected() -> None:
    net = make()
    images = torch.rand(1, 2, 3, 32, 40)
    known = torch.eye(4)[None, None].clone()
    known[..., 0, 3] = 0.5
    assert torch.allclose(net(images, K, known=known), net(images, K) @ known)


def test_flow_alone_is_enough() -> None:
    net = make(images=False, flow=True)
    flow = torch.randn(1, 1, 3, 32, 40)
    flow[:, :, 2] = 1
    images = torch.rand(1, 2, 3, 32, 40)
    first = net(images, K, flow)
    assert torch.equal(first, net(torch.zeros_like(images), K, flow)), "the images are not looked at"
    assert not torch.equal(first, net(images, K, -flow))


def test_flow_that_is_not_trusted_is_not_looked_at() -> None:
    net = make(images=False, flow=True)
    flow = torch.randn(1, 1, 3, 32, 40)
    flow[:, :, 2] = 1
    flow[..., :, :10] = 0
    other = flow.clone()
    other[:, :, :2, :, :10] = 99
    images = torch.rand(1, 2, 3, 32, 40)
    assert torch.equal(net(images, K, flow), net(images, K, other))


def test_errors() -> None:
    with pytest.raises(GeometryError, match="images, at flow, or at both"):
        PoseNet(images=False)
    with pytest.raises(GeometryError, match=r"images \(B, 2, 3, H, W\)"):
        make()(torch.rand(1, 3, 3, 32, 32), K)
    with pytest.raises(GeometryError, match="expected flow"):
        make(flow=True)(torch.rand(1, 2, 3, 32, 32), K)


def test_all_weights_learn() -> None:
    net = make(flow=True)
    net(torch.rand(1, 2, 3, 32, 40), K, torch.rand(1, 1, 3, 32, 40))[..., :3, :].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())

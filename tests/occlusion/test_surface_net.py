"""The network that tells what can be seen of a surface."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from scenegraph_track.occlusion.surface_net import CELLS, SIDE, SurfaceNet, SurfaceNetSettings, shifts

SMALL = SurfaceNetSettings(first=4, width=6, deep=8, hidden=4, look=8)
BOXES = torch.tensor([[20.0, 24, 44, 52], [60, 10, 90, 40]])


def net() -> SurfaceNet:
    torch.manual_seed(0)
    return SurfaceNet(SMALL).eval()


def texture(height: int = 80, width: int = 112) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return interpolate(torch.rand(1, 3, height // 4, width // 4, generator=draw), (height, width), mode="bilinear")


def still(images: Tensor) -> Tensor:
    return images.new_zeros(len(images), 4, *images.shape[2:])


def test_all_is_told_of_each_object() -> None:
    network, images = net(), texture()
    before = network.begin(images, BOXES, torch.zeros(2, dtype=torch.long))
    after, seen = network(before, images, still(images), torch.zeros(2, dtype=torch.long))
    assert before.first.shape == (2, 5, SIDE, SIDE) and after.memory.shape == (2, SMALL.hidden, CELLS, CELLS)
    assert seen.visible.shape == seen.member.shape == (2, CELLS, CELLS)
    assert seen.where.shape == (2, *shifts().shape[:2])
    torch.testing.assert_close(seen.where.exp().sum((1, 2)), torch.ones(2))
    assert ((seen.fraction > 0.5) & (seen.fraction < 1)).all(), "at first most is believed to be seen"
    assert after.age.tolist() == [1, 1]


@torch.no_grad()
def test_objects_share_nothing_in_one_clip_or_in_several() -> None:
    network, images, other = net(), texture(), texture().flip(3)
    flows = torch.randn(2, 4, 80, 112, generator=torch.Generator().manual_seed(2))
    both, clip = torch.cat([images, other]), torch.tensor([0, 1])
    state = network.begin(both, BOXES, clip)
    _, together = network(state, both, flows, clip)
    for row in range(2):
        alone = network.begin(both[row : row + 1], BOXES[row : row + 1], torch.zeros(1, dtype=torch.long))
        _, one = network(alone, both[row : row + 1], flows[row : row + 1], torch.zeros(1, dtype=torch.long))
        torch.testing.assert_close(one.fraction, together.fraction[row : row + 1])
        torch.testing.assert_close(one.shift, together.shift[row : row + 1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("moved", [(6, 0), (-9, 4), (0, -10)])
def test_what_flow_has_lost_is_found_in_the_view_before_any_training(moved: tuple[int, int]) -> None:
    network, images = net(), texture()
    clip = torch.zeros(1, dtype=torch.long)
    state = network.begin(images, BOXES[:1], clip)
    after, seen = network(state, images.roll(moved[::-1], (2, 3)), still(images), clip)
    row, column = divmod(int(seen.where[0].argmax()), seen.where.shape[2])
    expected = torch.tensor(moved) / state.pose.half[0]
    assert (network.shifts[row, column] - expected).abs().max() < 0.2
    assert (after.pose.middle - state.pose.middle)[0] @ torch.tensor(moved).float() > 0, "and the view goes there"


def test_gradients_reach_the_first_view_and_go_through_time() -> None:
    network, images = net(), texture()
    torch.nn.init.normal_(network.whole[-1].weight)
    clip = torch.zeros(2, dtype=torch.long)
    state = network.begin(images, BOXES, clip)
    middle, _ = network(state, images, still(images), clip)
    middle.memory.retain_grad()
    _, seen = network(middle, images.flip(2), still(images), clip)
    (seen.fraction.sum() + seen.where.amax() + seen.member.sum()).backward()
    assert middle.memory.grad is not None and float(middle.memory.grad.abs().sum()) > 0
    assert all(float(p.grad.abs().sum()) > 0 for p in network.look.parameters())

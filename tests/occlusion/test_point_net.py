"""Corrections of a window."""

from __future__ import annotations

import torch
from torch import Tensor

from scenegraph_track.occlusion.point_features import describe, pyramid
from scenegraph_track.occlusion.point_net import PointNet, Supposed
from scenegraph_track.occlusion.point_window import begin
from scenegraph_track.occlusion.sight import Sight
from scenegraph_track.occlusion.templates import grey, templates_of

POINTS = 6


def corrected(
    net: PointNet, images: Tensor, first: Tensor, places: Tensor, iterations: int | None = None
) -> list[Supposed]:
    """Of clips (B, T, 3, H, W) with points given in frames (B, N) at places (B, N, 2)."""
    batch, frames = images.shape[:2]
    levels = pyramid(net.features(images.flatten(0, 1).float() / 255))
    numbers = torch.arange(batch)[:, None] * frames + first
    looks = describe(levels, numbers.flatten(), places.flatten(0, 1)).unflatten(0, first.shape)
    greys = grey(images)
    sight = Sight(torch.zeros(batch, frames - 1, 4, *images.shape[-2:]), greys, templates_of(greys, first, places))
    supposed, known, given = begin(places, first, frames, None)
    return net(levels, supposed, looks, known, given, sight, iterations)


def given(batch: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    return torch.randint(0, 3, (batch, POINTS)), 48 * torch.rand(batch, POINTS, 2)


def test_given_positions_stay_and_others_move(net: PointNet, moving: list[Tensor]) -> None:
    first, places = given(1)
    found = corrected(net, torch.stack(moving[:4])[None], first, places)
    assert len(found) == net.settings.iterations
    positions = found[-1].positions[0]
    assert torch.equal(positions[torch.arange(POINTS), first[0]], places[0])
    later = torch.arange(4) > first[0][:, None]
    assert ((positions - places[0][:, None]).abs().amax(-1) > 0)[later].all()


def test_number_of_iterations(net: PointNet, moving: list[Tensor]) -> None:
    first, places = given(1)
    one, three = (corrected(net, torch.stack(moving[:4])[None], first, places, count) for count in (1, 3))
    assert len(one) == 1 and len(three) == 3
    assert torch.allclose(one[0].positions, three[0].positions) and not torch.equal(one[0].visible, three[2].visible)


def test_clips_of_a_batch_do_not_mix(net: PointNet, moving: list[Tensor]) -> None:
    first, places = given(2)
    images = torch.stack([torch.stack(moving[:4]), torch.stack(moving[4:8])])
    both = corrected(net, images, first, places)[-1]
    for clip in range(2):
        alone = corrected(net, images[[clip]], first[[clip]], places[[clip]])[-1]
        assert torch.allclose(both.positions[clip], alone.positions[0], atol=1e-3)
        assert torch.allclose(both.visible[clip], alone.visible[0], atol=1e-4)


def test_gradients_reach_every_weight(net: PointNet, moving: list[Tensor]) -> None:
    # From the errors of positions and visibility to the first convolution of the encoder.
    net.requires_grad_(True)
    first, places = given(1)
    found = corrected(net, torch.stack(moving[:4])[None], first, places)
    sum(one.positions.square().sum() + one.visible.sum() + one.confident.sum() for one in found).backward()
    still = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.abs().sum() > 0]
    assert still == []

"""There and back: what is found in whole frames, and the views of it."""

from __future__ import annotations

import torch

from scenegraph_track.pretraining.cycle import views_there, way_there
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork

SMALL = TargetNetSettings(
    channels=(8, 8, 8), blocks=(0, 0), dim=8, layers=1, decoder_layers=1, hidden=8, tower=8, view=64
)


def frames(count: int = 3) -> torch.Tensor:
    return torch.rand(2, count, 3, 48, 64, generator=torch.Generator().manual_seed(0))


def test_no_gradient_comes_back_from_the_way_there() -> None:
    torch.manual_seed(0)
    network = TargetNetwork(SMALL)
    boxes = torch.tensor([[10.0, 10, 30, 30], [20.0, 5, 40, 20]], requires_grad=True)
    found = way_there(network, frames().requires_grad_(), boxes)
    assert found.boxes.shape == (2, 2, 4) and found.scores.shape == (2, 2)
    assert not found.boxes.requires_grad and not found.scores.requires_grad
    low, high = found.boxes[..., :2], found.boxes[..., 2:]
    assert (low >= 0).all() and (high <= torch.tensor([64.0, 48])).all() and (high - low >= 4 - 1e-4).all()


def test_each_target_is_looked_for_in_its_own_frames() -> None:
    torch.manual_seed(0)
    network, seen = TargetNetwork(SMALL).eval(), frames()
    boxes = torch.tensor([[10.0, 10, 30, 30], [20.0, 5, 40, 20]])
    both, alone = way_there(network, seen, boxes), way_there(network, seen[1:], boxes[1:])
    assert torch.allclose(both.boxes[1], alone.boxes[0], atol=1e-3)
    assert torch.allclose(both.scores[1], alone.scores[0], atol=1e-5)


def test_views_are_round_what_was_found() -> None:
    seen = torch.zeros(2, 2, 3, 48, 64)
    boxes = torch.tensor([[[8.0, 8, 24, 24], [30.0, 20, 46, 36]], [[4.0, 4, 20, 20], [40.0, 10, 56, 26]]])
    for target in range(2):
        for frame in range(2):
            left, top, right, bottom = boxes[target, frame].int().tolist()
            seen[target, frame, :, top:bottom, left:right] = 1
    views, inside = views_there(seen, boxes, 2.0, 32)
    assert views.shape == (2, 2, 3, 32, 32)
    assert torch.allclose(inside, torch.tensor([8.0, 8, 24, 24]).expand(2, 2, 4))
    assert (views[..., 10:22, 10:22] == 1).all() and (views[..., :6, :] == 0).all() and (views[..., :, :6] == 0).all()

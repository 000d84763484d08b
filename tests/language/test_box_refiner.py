"""Rough boxes made tight."""

from __future__ import annotations

import torch

from scenegraph_track.language.box_refiner import BoxRefiner
from scenegraph_track.language.network import LanguageNetwork
from scenegraph_track.target.losses import giou


def scene(rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A bright rectangle on black, as the network sees images, and its box."""
    size = torch.randint(10, 24, (2,), generator=rng)
    corner = torch.randint(8, 30, (2,), generator=rng)
    image = torch.zeros(1, 7, 64, 64)
    image[0, :3, corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]] = 1
    return image, torch.cat([corner, corner + size]).float()[None]


def rough(box: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    sides = (box[:, 2:] - box[:, :2]).repeat(1, 2)
    return box + 0.2 * sides * (2 * torch.rand(1, 4, generator=rng) - 1)


def test_it_begins_by_leaving_boxes_as_they_are(network: LanguageNetwork) -> None:
    image, box = scene(torch.Generator().manual_seed(0))
    assert torch.allclose(BoxRefiner()(image, box, torch.zeros(1, dtype=torch.long)), box, atol=1e-4)
    seen = network.see(image[:, :3])
    assert torch.allclose(network.tighter(seen, box), box, atol=1e-3)
    assert network.tighter(seen, box[:0]).shape == (0, 4)


def test_it_learns_to_draw_boxes_tight() -> None:
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    net, images, boxes, starts = BoxRefiner((8, 12, 12), 24), [], [], []
    for _ in range(40):
        image, box = scene(rng)
        images.append(image)
        boxes.append(box)
        starts.append(rough(box, rng))
    images, boxes, starts, rows = torch.cat(images), torch.cat(boxes), torch.cat(starts), torch.arange(40)
    optimizer = torch.optim.Adam(net.parameters(), 0.005)
    for _ in range(25):
        optimizer.zero_grad()
        giou(net(images[:32], starts[:32], rows[:32]), boxes[:32]).mean().backward()
        optimizer.step()
    before, after = giou(starts[32:], boxes[32:]).mean(), giou(net(images, starts, rows)[32:], boxes[32:]).mean()
    assert after < 0.7 * before

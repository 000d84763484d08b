"""What flow and templates say about supposed tracks."""

from __future__ import annotations

import torch

from scenegraph_track.occlusion.sight import EVIDENCE, SETTLING, Sight, both_ways, disagreement, evidence
from scenegraph_track.occlusion.templates import cut_templates, grey

MOVED = torch.tensor([2.0, 1.0])
FLOWS = torch.tensor([2.0, 1.0, -2.0, -1.0]).view(1, 1, 4, 1, 1).expand(1, 3, 4, 48, 64)


def tracks(*places: tuple[float, float]) -> torch.Tensor:
    return torch.tensor([places])[:, :, None] + torch.arange(4)[:, None] * MOVED


def test_tracks_along_the_flow_agree_with_it_there_and_back() -> None:
    assert disagreement(tracks((10, 12), (30, 20)), FLOWS)[..., :4].abs().max() < 1e-5


def test_a_jump_is_seen_where_it_happens() -> None:
    positions = tracks((10, 12))
    positions[:, :, 2:, 0] += 4
    found = disagreement(positions, FLOWS)[0, 0]
    assert (found[[1, 3], :4].abs() < 1e-5).all()
    assert torch.allclose(found[2, :4], torch.tensor([-1.0, 0, 1, 0]), atol=1e-5)
    assert (found[2, 4:] > 1.5).all()


def test_flow_that_does_not_lead_back_is_told() -> None:
    flows = FLOWS.clone()
    flows[:, 1, 2:] = 0
    found = disagreement(tracks((10, 12)), flows)[0, 0]
    assert found[2, 5] > 1 and found[2, 4] < 0.01 and found[[1, 3], 5].max() < 0.01


def test_templates_tell_that_the_same_is_seen(moving: list[torch.Tensor]) -> None:
    greys = grey(torch.stack(moving[:4]))[None]
    positions = tracks((20, 20), (36, 28))
    sight = Sight(FLOWS, greys, cut_templates(greys[:, 0], positions[:, :, 0]))
    found = evidence(positions, sight)
    assert found.shape == (1, 2, 4, EVIDENCE)
    assert (found[..., 6] > 0.99).all() and found[..., SETTLING].abs().max() < 0.05
    elsewhere = evidence(positions + torch.tensor([9.0, -7.0]), sight)
    assert (elsewhere[..., 6] < 0.9).all()
    unknown = evidence(positions, sight._replace(flows=None))
    assert (unknown[..., :6] == 0).all() and torch.equal(unknown[..., 6:], found[..., 6:])


def test_flow_there_and_back_of_moving_images(moving: list[torch.Tensor]) -> None:
    found = both_ways(moving[0], moving[1], "dis_fine")
    assert found.shape == (4, 48, 64)
    assert (found[:2].mean((1, 2)) - MOVED).abs().max() < 0.3 and (found[2:].mean((1, 2)) + MOVED).abs().max() < 0.3

"""What is supposed before a window is looked at."""

from __future__ import annotations

import torch

from scenegraph_track.occlusion.point_net import Supposed
from scenegraph_track.occlusion.point_window import FIRST_CONFIDENT, FIRST_VISIBLE, begin
from scenegraph_track.occlusion.sight import Sight
from scenegraph_track.occlusion.templates import SIDE, cut_templates, grey

FRAMES = 5
STEP = [2.0, -1.0]
FLOWS = torch.tensor([*STEP, -2.0, 1.0]).view(1, 1, 4, 1, 1).expand(1, FRAMES - 1, 4, 20, 30)
PLAIN = Sight(FLOWS, torch.zeros(1, FRAMES, 1, 20, 30), torch.zeros(1, 2, SIDE + 2, SIDE + 2))  # nothing to settle by
PLACES = torch.tensor([[[10.0, 12.0], [4.0, 5.0]]])


def test_points_move_along_the_flow_from_where_they_are_given() -> None:
    supposed, known, given = begin(PLACES, torch.tensor([[0, 2]]), FRAMES, PLAIN)
    steps = torch.arange(FRAMES)[:, None] * torch.tensor([2.0, -1.0])
    assert torch.allclose(supposed.positions[0, 0], PLACES[0, 0] + steps, atol=1e-4)
    assert torch.allclose(supposed.positions[0, 1, 2:], PLACES[0, 1] + steps[:3], atol=1e-4)
    assert known[0].int().tolist() == [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]
    assert given[0].int().tolist() == [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]]
    assert (supposed.visible == FIRST_VISIBLE).all() and (supposed.confident == FIRST_CONFIDENT).all()


def test_without_flow_they_stay() -> None:
    supposed, _, _ = begin(PLACES, torch.tensor([[0, 2]]), FRAMES, None)
    assert torch.equal(supposed.positions, PLACES[:, :, None].expand(-1, -1, FRAMES, -1))


def test_what_is_known_of_the_overlap_is_carried_over() -> None:
    # Of a point from before the window, and on along the flow from there; one that is given in the window begins anew.
    before = Supposed(
        torch.full((1, 2, 2, 2), 8.0), torch.tensor([[[3.0, -3.0], [7.0, 7.0]]]), torch.full((1, 2, 2), 5.0)
    )
    supposed, known, given = begin(PLACES, torch.tensor([[-3, 1]]), FRAMES, PLAIN, before)
    old, new = supposed.positions[0]
    assert (old[:2] == 8).all() and torch.allclose(old[2:], 8 + torch.tensor([[2.0, -1], [4, -2], [6, -3]]), atol=1e-4)
    assert supposed.visible[0, 0].tolist() == [3, -3, -3, -3, -3] and (supposed.confident[0, 0] == 5).all()
    assert known[0, 0].all() and not given[0, 0].any()
    assert torch.allclose(new[1:3], PLACES[0, 1] + torch.tensor([[0.0, 0], [2, -1]]), atol=1e-4)
    assert (supposed.visible[0, 1] == FIRST_VISIBLE).all()


def test_they_settle_where_their_templates_fit(moving: list[torch.Tensor]) -> None:
    # The image moves by (2, 1) a frame; a flow that is wrong by a pixel and more does not accumulate.
    greys = grey(torch.stack(moving[:FRAMES]))[None]
    places = torch.tensor([[[20.0, 20.0], [33.3, 25.6]]])
    wrong = torch.tensor([3.0, 0.2, 0.0, 0.0]).view(1, 1, 4, 1, 1).expand(1, FRAMES - 1, 4, 48, 64)
    sight = Sight(wrong, greys, cut_templates(greys[:, 0], places))
    supposed, _, _ = begin(places, torch.zeros(1, 2, dtype=torch.long), FRAMES, sight)
    true = places[:, :, None] + torch.arange(FRAMES)[:, None] * torch.tensor([2.0, 1.0])
    assert (supposed.positions - true).abs().max() < 0.1

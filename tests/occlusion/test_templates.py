"""Pieces of the image round points."""

from __future__ import annotations

import torch
from torch import Tensor

from scenegraph_track.occlusion.templates import NEAR, cut_templates, fit, grey, settle, templates_of

PLACES = torch.tensor([[[22.0, 20.5], [40.25, 30.0], [30.0, 18.0]]])
MOVED = torch.tensor([2.0, 1.0])
"""Pixels a frame of the images."""


def test_they_fit_where_they_were_cut(moving: list[Tensor]) -> None:
    image = grey(moving[0][None])
    found = fit(image, cut_templates(image, PLACES), PLACES)
    assert (found.alike > 0.999).all() and found.step.abs().max() < 1e-3 and (found.corner > 1).all()


def test_one_step_leads_to_the_true_place(moving: list[Tensor]) -> None:
    first, second = grey(torch.stack(moving[:2])).unsqueeze(1)
    supposed = PLACES + MOVED + torch.tensor([0.4, -0.3])
    found = fit(second, cut_templates(first, PLACES), supposed)
    assert ((supposed + found.step) - (PLACES + MOVED)).abs().max() < 0.2


def test_points_settle_from_nearby_and_else_stay(moving: list[Tensor]) -> None:
    first, second = grey(torch.stack(moving[:2])).unsqueeze(1)
    templates, true = cut_templates(first, PLACES), PLACES + MOVED
    assert (settle(second, templates, true + torch.tensor([1.2, -0.8])) - true).abs().max() < 0.02
    far = true + torch.tensor([3 * NEAR, 0.0])
    moved = (settle(second, templates, far) - far).norm(dim=-1)
    assert (moved < NEAR).all()


def test_without_texture_they_stay() -> None:
    plain = torch.full((1, 1, 40, 50), 90.0)
    assert torch.equal(settle(plain, cut_templates(plain, PLACES), PLACES + 0.7), PLACES + 0.7)


def test_brightness_does_not_matter(moving: list[Tensor]) -> None:
    first, second = grey(torch.stack(moving[:2])).unsqueeze(1)
    found = fit(0.6 * second + 30, cut_templates(first, PLACES), PLACES + MOVED)
    assert (found.alike > 0.99).all()


def test_each_is_cut_from_its_own_frame(moving: list[Tensor]) -> None:
    greys = grey(torch.stack(moving[:3]))[None]
    found = templates_of(greys, torch.tensor([[2, 0, 1]]), PLACES)
    for point, frame in enumerate((2, 0, 1)):
        assert torch.equal(found[0, point], cut_templates(greys[:, frame], PLACES)[0, point])

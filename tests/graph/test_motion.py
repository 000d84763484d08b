"""What tracks tell of their motion, and what lies in front of them."""

from __future__ import annotations

import math

import torch

from scenegraph_track.graph import Motion
from scenegraph_track.graph.motion import hiding, inside_part, motion_features

STEP = 0.1


def box(x: float, y: float = 100, w: float = 30, h: float = 80) -> list[float]:
    return [x, y, x + w, y + h]


def test_motion_features_do_not_depend_on_resolution() -> None:
    motion, found = (
        [torch.tensor([box(100.0)]), torch.tensor([[40.0, 0, 40, 0]]), torch.full((1, 4), 8.0)],
        [box(108.0)],
    )
    here, found = torch.ones(1), torch.tensor(found)
    rest = 0 * here, STEP * here, here, 0 * here
    one = motion_features(Motion(*motion), found, 80 * here, *rest)
    two = motion_features(Motion(*(2 * part for part in motion)), 2 * found, 160 * here, *rest)
    torch.testing.assert_close(one, two)
    spread = math.log(0.1) / 3
    by_hand = [1 / 3, 0, 1 / 3, 0, 0.1, 0, 0.1, 0, spread, spread, 1 / 3, 0, 1, 1, 0]
    torch.testing.assert_close(one, torch.tensor([by_hand]))


def test_inside_and_behind_by_hand() -> None:
    boxes = torch.tensor([box(-15), box(0), box(300)])
    torch.testing.assert_close(inside_part(boxes, torch.tensor([310.0, 140])), torch.tensor([0.25, 0.5, 1 / 6]))
    several = torch.tensor([[310.0, 140], [30, 180], [30, 180]])
    torch.testing.assert_close(inside_part(boxes, several), torch.tensor([0.25, 1, 0]))
    boxes = torch.tensor([box(0), box(15, h=90), box(3, h=85), box(-10), box(200)])
    covered, by = hiding(boxes, torch.tensor([False, True, False, False, False]))
    torch.testing.assert_close(covered, torch.tensor([15 / 30, 0, 18 / 30, 5 / 30, 0]))
    assert by.tolist() == [1, -1, 1, -1, -1]

"""Views that go along with surfaces."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scenegraph_track.occlusion.surface import (
    Pose,
    alike,
    begin_pose,
    carried,
    corrected,
    grid,
    looked_up,
    reduced,
)

BOX = torch.tensor([[10.0, 20, 30, 60]])
PLACES = grid(12, 1.0).flatten(0, 1)


def turned(angle: float, scale: float, shift: tuple[float, float]) -> Pose:
    pose = begin_pose(BOX)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return pose._replace(matrix=scale * turn[None], middle=pose.middle + torch.tensor([shift]))


def test_places_are_in_half_sides_of_the_box_and_back() -> None:
    pose = begin_pose(BOX)
    places = torch.tensor([[[-1.0, -1], [1, 1], [0, 0.5]]])
    assert pose.at(places)[0, 0].tolist() == [[10, 20], [30, 60], [20, 50]]
    moved = turned(0.3, 1.2, (4, -3))
    pixels = moved.at(torch.tensor([[[0.4, -0.7]]]))[:, 0, 0]
    torch.testing.assert_close(moved.of(pixels), torch.tensor([[0.4, -0.7]]))
    assert float(moved.grown) == pytest.approx(1.44)


def test_a_grid_fills_its_square_with_x_first() -> None:
    found = grid(4, 2.0)
    assert found[0, :, 0].tolist() == [-1.5, -0.5, 0.5, 1.5] and found[:, 0, 1].tolist() == [-1.5, -0.5, 0.5, 1.5]


@pytest.mark.parametrize(("reach", "part"), [(9.0, 0.0), (1.1, 0.083), (0.95, 0.333)])
def test_motion_is_that_of_most_places(reach: float, part: float) -> None:
    # The ground in the corners of the box stays behind.
    before, after = begin_pose(BOX), turned(0.1, 1.05, (5, -3))
    start, flow = before.at(PLACES[None])[:, 0], after.at(PLACES[None])[:, 0]
    ground = PLACES.norm(dim=-1) > reach
    assert float(ground.float().mean()) == pytest.approx(part, abs=0.02)
    flow = torch.where(ground[:, None], start, flow)
    pose, trust = carried(before, PLACES, flow, torch.ones(1, len(PLACES)))
    for _ in range(8):  # the motion before holds the pose, and gives way
        pose, trust = carried(pose, PLACES, flow, torch.ones(1, len(PLACES)))
    apart = (pose.at(PLACES[None]) - after.at(PLACES[None])).norm(dim=-1)[0, 0]
    assert apart[~ground].max() < 0.3 + 4 * part, "pixels"
    assert float(trust) == pytest.approx(1 - part, abs=0.15)


def test_where_nothing_counts_the_speed_goes_on_and_ebbs() -> None:
    pose = begin_pose(BOX)._replace(speed=torch.tensor([[3.0, -1.0]]))
    there = pose.at(PLACES[None])[:, 0] + 50
    moved, _ = carried(pose, PLACES, there, torch.zeros(1, len(PLACES)))
    torch.testing.assert_close(moved.middle, pose.middle + pose.speed)
    torch.testing.assert_close(moved.matrix, pose.matrix)
    torch.testing.assert_close(moved.speed, 0.95 * pose.speed)


def test_a_shape_that_falls_together_is_not_believed() -> None:
    pose = begin_pose(BOX)
    moved, _ = carried(pose, PLACES, pose.middle[:, None].expand(-1, len(PLACES), -1), torch.ones(1, len(PLACES)) * 99)
    torch.testing.assert_close(moved.matrix, pose.matrix)


def test_corrections_are_in_places_of_the_pose() -> None:
    pose = turned(math.pi / 2, 1.0, (0, 0))
    moved = corrected(pose, torch.tensor([[0.5, 0.0]]), torch.tensor([2.0]))
    torch.testing.assert_close(moved.middle, pose.middle + torch.tensor([[0.0, 5.0]]))  # x of the object points down
    torch.testing.assert_close(moved.grown, torch.tensor([4.0]))


def test_values_are_those_of_the_clip_and_the_resolution() -> None:
    images = torch.arange(2.0)[:, None, None, None] * 100 + torch.arange(16.0).expand(2, 1, 16, 16)
    maps = reduced(images)
    assert [tuple(one.shape[2:]) for one in maps] == [(16, 16), (8, 8), (4, 4)]
    pixels = torch.tensor([[[[4.5, 8.0]]]]).expand(4, 1, 1, 2)
    found = looked_up(maps, pixels, torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 2]))
    assert found[:, 0, 0, 0].tolist() == pytest.approx([4.0, 104.0, 4.0, 104.0], abs=0.01)


def test_likeness_is_the_correlation_of_what_is_round_a_pixel() -> None:
    draw = torch.Generator().manual_seed(0)
    one, two = torch.rand(2, 1, 1, 9, 9, generator=draw)
    expected = np.corrcoef(one[0, 0, 2:7, 2:7].flatten(), two[0, 0, 2:7, 2:7].flatten())[0, 1]
    assert float(alike(one, two)[0, 0, 4, 4]) == pytest.approx(expected, abs=0.01)
    assert float(alike(one, 0.5 * one + 0.2)[0, 0].min()) > 0.95, "brightness does not count"
    assert float(alike(torch.full_like(one, 0.5), two).abs().max()) < 1e-3, "nor does what has no texture"

"""Points on objects and maps of them."""

from __future__ import annotations

import torch

from scenegraph_track.occlusion.object_points import box_priors, points_in_boxes, visibility_maps


def test_points_are_spread_over_each_box() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 20], [50, 40, 90, 60]])
    points = points_in_boxes(boxes, 16)
    assert points.shape == (2, 16, 2)
    assert ((points > boxes[:, None, :2]) & (points < boxes[:, None, 2:])).all()
    quarters = (points > (boxes[:, None, :2] + boxes[:, None, 2:]) / 2).long()
    for each in quarters[..., 0] * 2 + quarters[..., 1]:
        assert each.bincount(minlength=4).min() >= 3
    torch.testing.assert_close(points_in_boxes(boxes[1:], 16), points[1:])


def test_priors_peak_in_the_middle_of_boxes() -> None:
    maps = box_priors(torch.tensor([[8.0, 16, 24, 32], [0, 0, 40, 8]]), (48, 60))
    assert maps.shape == (2, 12, 15)
    assert divmod(int(maps[0].argmax()), 15) in {(5, 3), (5, 4), (6, 3), (6, 4)}
    assert maps[0, 0, 14] < 1e-3 < 0.5 < maps[1, 0, 4]


def test_visibility_maps_show_visible_points_only() -> None:
    positions = torch.tensor([[[2.5, 3.5], [7.5, 1.5]]])
    maps = visibility_maps(positions, torch.tensor([[1.0, 0.0]]), (6, 10))
    assert maps.shape == (1, 6, 10)
    assert maps[0, 3, 2] == 1 and maps[0, 1, 7] < 1e-3
    assert maps.min() >= 0 and maps.max() <= 1


def test_visibility_maps_pass_gradients_to_visibility() -> None:
    visibility = torch.tensor([[0.4, 0.7]], requires_grad=True)
    visibility_maps(torch.tensor([[[2.5, 3.5], [4.0, 3.0]]]), visibility, (6, 10)).sum().backward()
    assert (visibility.grad > 0).all()

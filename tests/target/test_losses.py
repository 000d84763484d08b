"""Losses: formulas by hand, the same as torchvision's and kornia's where they have them, gradients by differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track.target.labels import heat_maps
from scenegraph_track.target.losses import centre_loss, filter_loss, focal, giou, lb_hinge, ltrb_giou


def random_boxes(count: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 40, (count, 2))
    return torch.from_numpy(np.concatenate([corner, corner + rng.uniform(2, 30, (count, 2))], 1)).to(dtype)


def test_giou_is_that_of_torchvision() -> None:
    ops = pytest.importorskip("torchvision.ops")
    a, b = random_boxes(50, 0), random_boxes(50, 1)
    assert torch.allclose(giou(a, b), ops.generalized_box_iou_loss(a, b), atol=1e-5)
    assert torch.allclose(giou(a, a), torch.zeros(50), atol=1e-6)


def test_giou_of_boxes_far_apart_pulls_them_together() -> None:
    a = torch.tensor([[0.0, 0, 4, 4]], requires_grad=True)
    loss = giou(a, torch.tensor([[20.0, 0, 24, 4]]))
    loss.sum().backward()
    assert 1 < float(loss.detach()) < 2 and a.grad[0, 2] < 0


def test_distances_give_the_same_as_boxes() -> None:
    a, b = random_boxes(20, 2), random_boxes(20, 3)
    point = torch.tensor([20.0, 20.0])

    def distances(boxes: torch.Tensor) -> torch.Tensor:
        return torch.cat([point - boxes[:, :2], boxes[:, 2:] - point], 1)

    assert torch.allclose(ltrb_giou(distances(a), distances(b)), giou(a, b), atol=1e-5)


def test_focal_by_hand() -> None:
    probability, label = torch.tensor([0.8, 0.3, 0.1]), torch.tensor([1.0, 0.5, 0.0])
    expected = -(np.log(0.8) * 0.2**2 + np.log(0.7) * 0.3**2 * 0.5**4 + np.log(0.9) * 0.1**2)
    assert float(focal(probability, label)) == pytest.approx(expected, rel=1e-5)
    assert float(focal(torch.tensor([0.5]), torch.tensor([0.0]))) == pytest.approx(-np.log(0.5) * 0.25)  # no target
    assert focal(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])).isfinite()


def test_focal_of_hard_labels_is_that_of_kornia() -> None:
    losses = pytest.importorskip("kornia.losses")
    logit = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(2, 1, 4, 4)
    label[0, 0, 1, 2] = label[1, 0, 3, 3] = 1
    theirs = losses.binary_focal_loss_with_logits(logit, label, alpha=None, gamma=2.0, reduction="sum")
    assert float(focal(logit.sigmoid(), label)) == pytest.approx(float(theirs) / 2, rel=1e-4)


def test_hinge_by_hand() -> None:
    score, label = torch.tensor([-3.0, 0.5, 0.6, -0.2]), torch.tensor([0.0, 0.04, 0.9, 0.3])
    assert float(lb_hinge(score, label)) == pytest.approx((0 + 0.25 + 0.09 + 0.25) / 4)


@pytest.mark.parametrize("loss", [focal, lb_hinge])
def test_gradients_are_those_of_differences(loss) -> None:
    values = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    label = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).round(decimals=1)
    label[0, 0] = 1
    assert torch.autograd.gradcheck(lambda x: loss(x, label), [values.requires_grad_()])


def test_gradients_of_giou() -> None:
    a, b = random_boxes(6, 4, torch.float64), random_boxes(6, 5, torch.float64)
    assert torch.autograd.gradcheck(lambda x: giou(x, b), [a.requires_grad_()])


def test_the_weights_of_the_sums() -> None:
    truth = torch.full((1, 4, 3, 3), 2.0)
    positive = torch.zeros(1, 3, 3, dtype=torch.bool)
    positive[0, 1, 1] = True
    total, parts = filter_loss(torch.tensor(0.02), torch.full((1, 4, 3, 3), 1.0), truth, positive)
    assert float(parts["giou"]) == pytest.approx(0.75) and float(total) == pytest.approx(2 + 0.75)
    nothing, _ = filter_loss(torch.tensor(0.02), truth, truth, torch.zeros_like(positive))
    assert float(nothing) == pytest.approx(2)

    box, found = torch.tensor([[0.2, 0.2, 0.6, 0.6]]), torch.tensor([[0.3, 0.2, 0.7, 0.6]])
    label = heat_maps(box * 32, (4, 4), 8)
    total, parts = centre_loss(torch.full((1, 4, 4), 0.5), found, label, box)
    assert float(parts["l1"]) == pytest.approx(0.05)
    assert float(total) == pytest.approx(float(parts["focal"] + 2 * parts["giou"] + 5 * parts["l1"]))
    absent, parts = centre_loss(torch.full((1, 4, 4), 0.5), found, 0 * label, box, torch.tensor([False]))
    assert parts["giou"] == parts["l1"] == 0 and absent == parts["focal"]

"""Heads: one product for many targets, boxes from windows that equal those of whole maps, the centre head."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track.target.heads import (
    BoxTower,
    CellNorm,
    CentreHead,
    CentreMaps,
    Response,
    classify,
    decode,
    hann_window,
)
from scenegraph_track.target.labels import ltrb_maps
from scenegraph_track.target.views import View


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_targets_that_share_features_give_the_same_as_one_by_one() -> None:
    filters, features = random(5, 6), random(6, 4, 7, seed=1)
    together = classify(filters, features)
    assert together.shape == (5, 4, 7)
    for k in range(5):
        by_hand = (filters[k][:, None, None] * features).sum(0)
        assert torch.allclose(together[k], by_hand, atol=1e-5)
    assert torch.equal(together, classify(filters, features[None]))
    assert torch.allclose(together, classify(filters, features.expand(5, -1, -1, -1)), atol=1e-5)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("layers", [0, 2])
def test_boxes_of_windows_are_those_of_the_whole_map(own: bool, layers: int) -> None:
    """At every cell, corners and borders too; for features that are shared and for features of each target."""
    torch.manual_seed(0)
    tower = BoxTower(6, 8, layers)
    torch.nn.init.normal_(tower.out.weight, std=0.3)
    for norm in tower.norms:
        torch.nn.init.normal_(norm.bias)  # what lies outside the map is not zero behind a normalisation
    count = 5 * 9
    filters, features = random(count, 6), random(count if own else 1, 6, 5, 9, seed=1)
    dense = tower(filters, features)
    assert dense.shape == (count, 4, 5, 9) and (dense > 0).all()
    cells = torch.arange(count)
    found = tower.at(filters, features if own else features[0], cells)
    assert torch.allclose(found, dense.flatten(2)[cells, :, cells], rtol=1e-4, atol=1e-6)
    alone = tower.at(filters[7:8], features[7:8] if own else features, cells[7:8])
    assert torch.allclose(alone, found[7:8], rtol=1e-4)


def test_the_tower_learns() -> None:
    tower = BoxTower(6, 8, 2)
    filters = random(3, 6).requires_grad_()
    tower.at(filters, random(6, 5, 5), torch.tensor([0, 12, 24])).sum().backward()
    assert filters.grad.any() and all(weight.grad.any() for weight in tower.parameters())


def test_a_cell_is_normalised_by_itself() -> None:
    norm = CellNorm(6)
    x = random(2, 6, 3, 4)
    theirs = torch.nn.functional.layer_norm(x.movedim(1, -1), (6,)).movedim(-1, 1)
    assert torch.allclose(norm(x), theirs, atol=1e-5)


def test_the_window_prefers_the_middle() -> None:
    window = hann_window((3, 5), torch.zeros(()))
    assert window[1, 2] == window.max() == 1 and window.min() > 0
    assert window[0, 2] == pytest.approx(0.5 * (1 - np.cos(2 * np.pi / 4)))


def test_true_distances_give_the_true_boxes() -> None:
    boxes = torch.tensor([[10.0, 20, 42, 36], [3, 5, 50, 47]])
    maps = ltrb_maps(boxes, (6, 8), 8, 64)
    cells = torch.tensor([3 * 8 + 2, 5 * 8 + 1])
    ltrb = maps.flatten(2)[torch.arange(2), :, cells]
    score = torch.zeros(2, 6, 8)
    score.flatten(1)[torch.arange(2), cells] = torch.tensor([0.7, 0.4])
    response = Response(score, cells, ltrb)
    assert torch.allclose(decode(response, 8, 64), boxes, atol=1e-4)
    views = [View((100, 50), 32, 64), View((30, 30), 128, 64)]
    found = decode(response, 8, 64, views)
    assert torch.allclose(found[0], boxes[0] / 2 + torch.tensor([84.0, 34, 84, 34]), atol=1e-4)
    assert torch.allclose(found[1], boxes[1] * 2 - 34, atol=1e-4)
    assert torch.allclose(response.peaks, torch.tensor([0.7, 0.4])) and len(response) == 2


def test_centre_maps_by_hand() -> None:
    score = torch.full((1, 4, 5), 0.1)
    score[0, 2, 3] = 0.9
    size, offset = torch.zeros(1, 2, 4, 5), torch.zeros(1, 2, 4, 5)
    size[0, :, 2, 3], offset[0, :, 2, 3] = torch.tensor([0.4, 0.5]), torch.tensor([0.25, 0.5])
    maps = CentreMaps(score, size, offset)
    boxes, scores = maps.boxes()
    middle = torch.tensor([3.25 / 5, 2.5 / 4])
    half = torch.tensor([0.2, 0.25])
    assert torch.allclose(boxes[0], torch.cat([middle - half, middle + half])) and scores.tolist() == [
        pytest.approx(0.9)
    ]
    prior = torch.zeros(4, 5)
    prior[0, 0] = 1
    assert maps.boxes(prior)[1].tolist() == [pytest.approx(0.1)]


def test_the_centre_head_gives_bounded_maps_and_learns() -> None:
    torch.manual_seed(0)
    head = CentreHead(6, 16)
    features = random(2, 6, 4, 5).requires_grad_()
    maps = head(features)
    assert maps.score.shape == (2, 4, 5) and maps.size.shape == maps.offset.shape == (2, 2, 4, 5)
    assert (maps.score > 0).all() and (maps.score < 1).all()
    boxes, scores = maps.boxes()
    (boxes.sum() + scores.sum()).backward()
    assert features.grad.any() and [c.out_channels for c in head.score if hasattr(c, "out_channels")] == [
        16,
        8,
        4,
        2,
        1,
    ]

"""Following with a one-stream network: where views go, what is carried, and boxes at the border."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.target.heads import CentreMaps
from scenegraph_track.target.one_stream_follow import (
    OneStreamFollowSettings,
    OneStreamSettings,
    follow_one_stream,
    start_one_stream,
    within_image,
)
from scenegraph_track.target.one_stream_network import OneStreamResponse
from scenegraph_track.target.views import cut, view_of_box

NET = OneStreamSettings(template=16, search=32, width=16, depth=1, channels=16)
SHAPE = torch.Size((1, 3, 48, 64))


class Brightest:
    """Finds the bright square by its pixels, as a network would say it, and counts its calls in the query."""

    def __init__(self) -> None:
        self.templates: list[Tensor] = []

    def __call__(self, templates: Tensor, search: Tensor, query: Tensor | None) -> Any:
        self.templates.append(templates)
        count, side = len(search), search.shape[-1]
        score, size, offset = torch.zeros(count, 4, 4), torch.zeros(count, 2, 4, 4), torch.zeros(count, 2, 4, 4)
        for k, view in enumerate(search.mean(1)):
            rows, columns = (view > 0.5).nonzero().unbind(1)
            ends = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / side
            middle = (ends[:2] + ends[2:]) / 2 * 4
            x, y = middle.long().tolist()
            score[k, y, x] = 0.9
            size[k, :, y, x], offset[k, :, y, x] = ends[2:] - ends[:2], middle - middle.floor()
        asked = torch.zeros(count, 1, 1) if query is None else query + 1
        return OneStreamResponse(CentreMaps(score, size, offset), asked, None)  # type: ignore[arg-type]


def image(*boxes: tuple[int, int, int, int]) -> Tensor:
    """One dark image for each box, bright in it."""
    images = torch.zeros(len(boxes), *SHAPE[1:])
    for k, (left, top, right, bottom) in enumerate(boxes):
        images[k, :, top:bottom, left:right] = 1
    return images


def test_targets_are_followed_where_they_go_with_the_first_template_and_the_query() -> None:
    paths = [[(20 + 3 * t, 20, 32 + 3 * t, 32), (30, 30 - 4 * t, 40, 40 - 4 * t)] for t in range(4)]
    settings, network = OneStreamFollowSettings(hann=0.0), Brightest()
    state = start_one_stream(NET, settings, image(*paths[0]), torch.tensor(paths[0]).float())
    first = state.templates
    assert torch.equal(first[:, 0], cut(image(*paths[0]), [view_of_box(box, 2.0, 16) for box in paths[0]]))
    assert state.query is None and state.scores.tolist() == [1, 1]
    for boxes in paths[1:]:
        state = follow_one_stream(network, NET, settings, state, image(*boxes))  # type: ignore[arg-type]
        assert (state.boxes - torch.tensor(boxes)).abs().max() < 1.5
    assert state.query.flatten().tolist() == [2, 2] and torch.allclose(state.scores, torch.tensor(0.9))
    assert all(torch.equal(templates, first) for templates in network.templates)


@pytest.mark.parametrize(("share", "side"), [(1.0, 20.0), (0.5, 200**0.5)])
def test_a_part_of_a_change_of_size_is_believed(share: float, side: float) -> None:
    settings = OneStreamFollowSettings(resizing=share)
    state = start_one_stream(NET, settings, image((25, 17, 35, 27)), torch.tensor([[25.0, 17, 35, 27]]))
    state = follow_one_stream(Brightest(), NET, settings, state, image((20, 12, 40, 32)))  # type: ignore[arg-type]
    sides = state.boxes[0, 2:] - state.boxes[0, :2]
    assert sides.tolist() == pytest.approx([side, side], abs=1.3)


def test_the_middle_is_preferred_by_the_window() -> None:
    """Of two cells of nearly equal score the one where the target was."""

    def two(templates: Tensor, search: Tensor, query: None) -> Any:
        score = torch.zeros(1, 4, 4)
        score[0, 1, 1], score[0, 0, 3] = 0.5, 0.6
        size, offset = torch.full((1, 2, 4, 4), 0.25), torch.full((1, 2, 4, 4), 0.5)
        return OneStreamResponse(CentreMaps(score, size, offset), None, None)  # type: ignore[arg-type]

    found = []
    for hann in (0.0, 1.0):
        settings = OneStreamFollowSettings(hann=hann)
        state = start_one_stream(NET, settings, image((25, 17, 35, 27)), torch.tensor([[25.0, 17, 35, 27]]))
        found.append(follow_one_stream(two, NET, settings, state, image((25, 17, 35, 27))).boxes[0])  # type: ignore[arg-type]
    assert found[0][0] > 35 and found[1][0] < 25 and found[1][2] < 35


def test_boxes_stay_in_the_image_by_a_margin() -> None:
    boxes = torch.tensor([[-9.0, -9, -5, 60], [70.0, 10, 90, 20], [5.0, 5, 15, 15]])
    assert within_image(boxes, SHAPE, 4.0).tolist() == [[0, 0, 4, 48], [60, 10, 64, 20], [5, 5, 15, 15]]


def test_a_network_of_the_settings() -> None:
    network = NET.network().eval()
    response = network(torch.rand(2, 1, 3, 16, 16), torch.rand(2, 3, 32, 32))
    assert response.maps.score.shape == (2, 4, 4) and response.query.shape == (2, 1, 16)
    begun = [response.maps.score.mean(), response.maps.size.mean(), response.maps.offset.mean()]
    assert [float(value.detach()) for value in begun] == pytest.approx([0.1, 0.25, 0.5], abs=0.1), "likely answers"
    with pytest.raises(UserError, match="heads the width"):
        OneStreamSettings(width=15).network()


def test_tokens_attend_to_their_like_before_any_training() -> None:
    """A patch of the template gets more attention from a search view where the same patch is than elsewhere."""
    torch.manual_seed(0)
    network = OneStreamSettings(template=16, search=32, width=64, depth=1, heads=2).network().eval()
    search = torch.rand(8, 3, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    templates = search[:, None, :, 8:24, 8:24]
    attention = network.encoder(templates, search, attention=True).attention.mean(1)  # B, template tokens, h, w
    where = attention.flatten(2).argmax(2)
    assert (where == torch.tensor([5, 6, 9, 10])).float().mean() > 0.9


def test_tokens_of_the_target_models_tell_a_square_from_another_before_any_training() -> None:
    """With the backbone that ships: the colours of the image go in as they are, and like attends to like."""
    torch.manual_seed(0)
    network = (
        OneStreamSettings(template=48, search=96, width=64, depth=1, heads=2, backbone="embedded").network().eval()
    )
    assert network.encoder.mean.abs().max() == 0 and (network.encoder.std == 1).all()
    search = torch.rand(8, 3, 6, 6).repeat_interleave(16, 2).repeat_interleave(16, 3)
    templates = search[:, None, :, 16:64, 32:80]
    attention = network.encoder(templates, search, attention=True).attention.mean(1)  # B, template tokens, h, w
    inner = [row * 6 + column for row in range(1, 5) for column in range(1, 5)]  # those that do not see the border
    where = attention.flatten(2).argmax(2)[:, inner]
    expected = torch.tensor([(2 + token // 6) * 12 + 4 + token % 6 for token in inner])
    assert (where == expected).float().mean() > 0.6  # by chance: 1 of 144

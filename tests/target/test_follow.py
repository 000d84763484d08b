"""Following: views that go with the target, boxes that stay while it is gone, memories of sure views alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import avg_pool2d

from scenegraph_track.target.follow import Followed, FollowSettings, follow, start_following
from scenegraph_track.target.heads import Response
from scenegraph_track.target.memory import MemoryRules, Verdict
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.target.predictor import Filters, MemoryTokens

SETTINGS = FollowSettings(factor=4, interval=2, memory=MemoryRules(views=3, confident=0.8))


class Colours:
    """Stands in for a network: a target is the mean colour of its middle in the memory, its size that of its box."""

    stride, unit = 4, 64.0
    settings = SimpleNamespace(view=64, sigma=0.9, sees_current=False)

    def __init__(self) -> None:
        self.predicted = 0

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(images, 4)

    def filters(self, memory: MemoryTokens, current: torch.Tensor | None = None) -> Filters:
        self.predicted += len(memory)
        weight = memory.labels[:, :1].pow(4)
        weight = weight / weight.sum((-1, -2), keepdim=True)
        colour = (memory.features[:, 0] * weight).sum((-1, -2))
        return Filters(colour, (memory.ltrb[:, 0] * weight).sum((-1, -2)))

    def respond(self, filters: Filters, features: torch.Tensor, prior: torch.Tensor) -> Response:
        away = (features - filters.classification[:, :, None, None]).square().sum(1)
        score = avg_pool2d((-8 * away).exp(), 3, 1, 1)
        return Response(score, (score * prior).flatten(1).argmax(1), filters.box)


def scene(x: float, red: bool = True) -> torch.Tensor:
    """A red square at x and a blue one that stands still, on grey."""
    image = torch.full((1, 3, 96, 128), 0.5)
    if red:
        image[0, :, 40:52, round(x) : round(x) + 12] = torch.tensor([1.0, 0, 0])[:, None, None]
    image[0, :, 60:76, 90:106] = torch.tensor([0.0, 0, 1])[:, None, None]
    return image


def begin(network: Colours, settings: FollowSettings = SETTINGS) -> Followed:
    boxes = torch.tensor([[10.0, 40, 22, 52], [90, 60, 106, 76]])
    return start_following(network, settings, scene(10), boxes)


def test_two_targets_are_followed() -> None:
    network = Colours()
    state = begin(network)
    for k in range(1, 13):
        state = follow(network, SETTINGS, state, scene(10 + 4 * k))
        truth = torch.tensor([[10.0 + 4 * k, 40, 22 + 4 * k, 52], [90, 60, 106, 76]])
        assert (state.boxes - truth).abs().max() < 4
    assert state.verdicts == (Verdict.SURE, Verdict.SURE)
    assert [len(memory) for memory in state.memories] == [3, 3]


def test_a_target_that_is_gone_keeps_its_box_and_its_memory() -> None:
    network = Colours()
    state = follow(network, SETTINGS, begin(network), scene(14))
    before = state.boxes[0]
    for _ in range(4):
        state = follow(network, SETTINGS, state, scene(0, red=False))
    assert state.verdicts == (Verdict.NOT_FOUND, Verdict.SURE)
    assert torch.equal(state.boxes[0], before) and state.scores[0] < 0.25
    assert [len(memory) for memory in state.memories] == [1, 3]


def test_hidden_targets_are_not_remembered() -> None:
    network = Colours()
    state = begin(network)
    for k in range(1, 5):
        state = follow(network, SETTINGS, state, scene(10 + k), torch.tensor([0.5, float("nan")]))
    assert state.verdicts == (Verdict.HIDDEN, Verdict.SURE)
    assert [len(memory) for memory in state.memories] == [1, 3]


def test_filters_are_predicted_when_a_memory_has_changed_only() -> None:
    network, settings = Colours(), SETTINGS.model_copy(update={"interval": 3})
    state = begin(network, settings)
    assert network.predicted == 2
    kept = []
    for k in range(1, 7):
        state = follow(network, settings, state, scene(10 + k))
        kept.append(network.predicted)
    assert kept == [2, 2, 4, 4, 4, 6]


def test_the_state_before_is_left_alone() -> None:
    network = Colours()
    state = begin(network)
    boxes, filters = state.boxes.clone(), state.filters.classification.clone()
    for _ in range(2):
        after = follow(network, SETTINGS, follow(network, SETTINGS, state, scene(14)), scene(18))
        assert torch.equal(state.boxes, boxes) and torch.equal(state.filters.classification, filters)
    again = follow(network, SETTINGS, follow(network, SETTINGS, state, scene(14)), scene(18))
    assert torch.equal(after.boxes, again.boxes) and torch.equal(after.scores, again.scores)


def test_boxes_stay_in_the_image() -> None:
    network = Colours()
    state = begin(network)
    for k in range(1, 8):
        state = follow(network, SETTINGS, state, scene(max(10 - 3 * k, 0)))
    left, top, right, bottom = state.boxes[0].tolist()
    assert left >= 0 and top >= 0 and right - left >= SETTINGS.margin and bottom <= 96


@pytest.mark.parametrize("sees", [False, True])
def test_targets_together_and_one_by_one(sees: bool) -> None:
    """The real network, with the current features or without."""
    torch.manual_seed(0)
    tiny = {"channels": (4, 6, 8), "blocks": (0, 1), "dim": 8, "layers": 1, "decoder_layers": 1, "view": 32}
    network = TargetNetwork(TargetNetSettings(**tiny, sees_current=sees)).eval()
    network.bias.data.fill_(1.0)
    boxes = torch.tensor([[10.0, 40, 22, 52], [90, 60, 106, 76]])
    settings = SETTINGS.model_copy(update={"interval": 1})

    def run(chosen: slice) -> Followed:
        state = start_following(network, settings, scene(10), boxes[chosen])
        for k in range(1, 4):
            state = follow(network, settings, state, scene(10 + k))
        return state

    both = run(slice(0, 2))
    for k in range(2):
        alone = run(slice(k, k + 1))
        assert torch.allclose(alone.boxes[0], both.boxes[k], atol=1e-3)
        assert alone.verdicts[0] == both.verdicts[k] and len(alone.memories[0]) == len(both.memories[k])
    assert (both.filters is None) == sees

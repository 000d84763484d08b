"""Many targets in the features of whole images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.target.followed import Followed, FollowSettings
from scenegraph_track.target.memory import MemoryRules, Verdict
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.target.shared import follow_shared, start_shared

SETTINGS = FollowSettings(
    factor=4, interval=2, widening=1, everywhere=0, found_again=0.25, memory=MemoryRules(views=3, confident=0.3)
)
BOXES = torch.tensor([[10.0, 40, 22, 52], [90, 60, 106, 76]])
Scene = Callable[..., torch.Tensor]


def test_targets_are_followed_by_one_look(colours: Any, scene: Scene) -> None:
    state = start_shared(colours, scene(10), BOXES)
    colours.looked_at.clear()
    for k in range(1, 13):
        state = follow_shared(colours, SETTINGS, state, scene(10 + 4 * k))
        truth = torch.tensor([[10.0 + 4 * k, 40, 22 + 4 * k, 52], [90, 60, 106, 76]])
        assert (state.boxes - truth).abs().max() < 5
    assert colours.looked_at == [(1, 3, 96, 128)] * 12
    assert [len(memory) for memory in state.memories] == [3, 3]


def test_what_lies_outside_the_windows_does_not_count(colours: Any, scene: Scene) -> None:
    """A lost target stays where it was, until its window has grown or the whole image is due."""
    away = scene(70, y=8)

    def run(frames: int, **settings: float) -> Followed:
        how, state = SETTINGS.model_copy(update=settings), start_shared(colours, scene(10), BOXES)
        for _ in range(frames):
            state = follow_shared(colours, how, state, away)
        return state

    for state in (run(4), run(2, widening=1.5, widest=3.0), run(3, everywhere=3)):
        assert torch.equal(state.boxes[0], BOXES[0]) and state.verdicts == (Verdict.NOT_FOUND, Verdict.SURE)
    for state in (run(4, widening=1.5, widest=3.0), run(4, everywhere=3)):
        assert state.lost == (0, 0)
        assert (state.boxes[0] - torch.tensor([70.0, 8, 82, 20])).abs().max() < 5


def test_only_some_targets_are_renewed_in_a_frame(colours: Any, scene: Scene) -> None:
    """Those that have waited longest, so that all have their turn."""
    state, counts = start_shared(colours, scene(10), BOXES), []
    for _ in range(4):
        colours.predicted = 0
        state = follow_shared(colours, SETTINGS, state, scene(10), renewed=1)
        counts.append((colours.predicted, *(len(memory) for memory in state.memories)))
    assert counts == [(0, 1, 1), (1, 2, 1), (1, 2, 2), (1, 3, 2)]


def test_the_real_network_together_and_one_by_one(scene: Scene) -> None:
    torch.manual_seed(0)
    tiny = {"channels": (4, 6, 8), "blocks": (0, 1), "dim": 8, "layers": 1, "decoder_layers": 1, "view": 32}
    network = TargetNetwork(TargetNetSettings(**tiny)).eval()
    network.bias.data.fill_(1.0)

    def run(boxes: torch.Tensor) -> Followed:
        state = start_shared(network, scene(10), boxes)
        for k in range(1, 4):
            state = follow_shared(network, SETTINGS, state, scene(10 + k))
        return state

    both = run(BOXES)
    for k in range(2):
        alone = run(BOXES[k : k + 1])
        assert torch.allclose(alone.boxes[0], both.boxes[k], atol=1e-3)
        assert torch.allclose(alone.filters.box[0], both.filters.box[k], atol=1e-5)


def test_networks_that_see_the_current_features_are_refused(scene: Scene) -> None:
    tiny = {"channels": (4, 6, 8), "blocks": (0, 0), "dim": 8, "layers": 1, "decoder_layers": 1, "view": 32}
    network = TargetNetwork(TargetNetSettings(**tiny, sees_current=True)).eval()
    with pytest.raises(UserError, match="expected a network without sees_current"):
        start_shared(network, scene(10), BOXES)

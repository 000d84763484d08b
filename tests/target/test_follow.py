"""Following: views that go with the target, boxes that stay while it is gone, memories of sure views alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from scenegraph_track.target.follow import follow, start_following
from scenegraph_track.target.followed import Followed, FollowSettings, believed
from scenegraph_track.target.memory import MemoryRules, Verdict
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork

SETTINGS = FollowSettings(
    factor=4, interval=2, widening=1, everywhere=0, found_again=0.25, memory=MemoryRules(views=3, confident=0.8)
)
Scene = Callable[..., torch.Tensor]


def begin(network: Any, scene: Scene, settings: FollowSettings = SETTINGS) -> Followed:
    boxes = torch.tensor([[10.0, 40, 22, 52], [90, 60, 106, 76]])
    return start_following(network, settings, scene(10), boxes)


def test_two_targets_are_followed(colours: Any, scene: Scene) -> None:
    state = begin(colours, scene)
    for k in range(1, 13):
        state = follow(colours, SETTINGS, state, scene(10 + 4 * k))
        truth = torch.tensor([[10.0 + 4 * k, 40, 22 + 4 * k, 52], [90, 60, 106, 76]])
        assert (state.boxes - truth).abs().max() < 4
    assert state.verdicts == (Verdict.SURE, Verdict.SURE)
    assert [len(memory) for memory in state.memories] == [3, 3]


def test_a_target_that_is_gone_keeps_its_box_and_its_memory(colours: Any, scene: Scene) -> None:
    state = follow(colours, SETTINGS, begin(colours, scene), scene(14))
    before = state.boxes[0]
    for _ in range(4):
        state = follow(colours, SETTINGS, state, scene(0, red=False))
    assert state.verdicts == (Verdict.NOT_FOUND, Verdict.SURE)
    assert torch.equal(state.boxes[0], before) and state.scores[0] < 0.25
    assert [len(memory) for memory in state.memories] == [1, 3]


def test_hidden_targets_are_not_remembered(colours: Any, scene: Scene) -> None:
    state = begin(colours, scene)
    for k in range(1, 5):
        state = follow(colours, SETTINGS, state, scene(10 + k), torch.tensor([0.5, float("nan")]))
    assert state.verdicts == (Verdict.HIDDEN, Verdict.SURE)
    assert [len(memory) for memory in state.memories] == [1, 3]


def test_filters_are_predicted_when_a_memory_has_changed_only(colours: Any, scene: Scene) -> None:
    settings = SETTINGS.model_copy(update={"interval": 3})
    state = begin(colours, scene, settings)
    assert colours.predicted == 2
    kept = []
    for k in range(1, 7):
        state = follow(colours, settings, state, scene(10 + k))
        kept.append(colours.predicted)
    assert kept == [2, 2, 4, 4, 4, 6]


def test_the_state_before_is_left_alone(colours: Any, scene: Scene) -> None:
    state = begin(colours, scene)
    boxes, filters = state.boxes.clone(), state.filters.classification.clone()
    for _ in range(2):
        after = follow(colours, SETTINGS, follow(colours, SETTINGS, state, scene(14)), scene(18))
        assert torch.equal(state.boxes, boxes) and torch.equal(state.filters.classification, filters)
    again = follow(colours, SETTINGS, follow(colours, SETTINGS, state, scene(14)), scene(18))
    assert torch.equal(after.boxes, again.boxes) and torch.equal(after.scores, again.scores)


def test_boxes_stay_in_the_image(colours: Any, scene: Scene) -> None:
    state = begin(colours, scene)
    for k in range(1, 8):
        state = follow(colours, SETTINGS, state, scene(max(10 - 3 * k, 0)))
    left, top, right, bottom = state.boxes[0].tolist()
    assert left >= 0 and top >= 0 and right - left >= SETTINGS.margin and bottom <= 96


def lost(network: Any, scene: Scene, settings: FollowSettings, frames: int) -> Followed:
    """The state after so many frames without the red square."""
    state = begin(network, scene, settings)
    for _ in range(frames):
        state = follow(network, settings, state, scene(0, red=False))
    return state


def test_a_lost_target_is_looked_for_in_a_growing_view(colours: Any, scene: Scene) -> None:
    """Out of reach of its usual view it is found again where that has grown, at the same scale, and not at once."""
    settings = SETTINGS.model_copy(update={"widening": 1.2, "widest": 2.0})
    assert lost(colours, scene, settings, 6).lost == (6, 0)
    away = scene(50)
    assert follow(colours, SETTINGS, lost(colours, scene, SETTINGS, 6), away).lost == (7, 0)
    assert follow(colours, settings, lost(colours, scene, settings, 1), away).lost == (2, 0)
    colours.looked_at.clear()
    state = follow(colours, settings, lost(colours, scene, settings, 6), away)
    assert colours.looked_at[-2:] == [(1, 3, 128, 128), (1, 3, 64, 64)]
    assert state.lost == (0, 0) and (state.boxes[0] - torch.tensor([50.0, 40, 62, 52])).abs().max() < 4


def test_a_lost_target_is_looked_for_in_the_whole_image_now_and_then(colours: Any, scene: Scene) -> None:
    settings = SETTINGS.model_copy(update={"everywhere": 3, "longest": 256})
    state, found = lost(colours, scene, settings, 3), []
    for _ in range(3):
        colours.looked_at.clear()
        state = follow(colours, settings, state, scene(110, y=10))
        found.append(state.lost[0] == 0)
    assert found == [False, False, True]
    assert (1, 3, 136, 181) in colours.looked_at  # 48 pixels are 64 in a view, which is about the root of 2
    assert (state.boxes[0] - torch.tensor([110.0, 10, 122, 22])).abs().max() < 4
    assert state.verdicts[0] == Verdict.UNSURE and len(state.memories[0]) == 1


def test_in_the_whole_image_a_higher_score_is_needed(colours: Any, scene: Scene) -> None:
    for least, expected in ((0.5, 0), (1.1, 2)):
        settings = SETTINGS.model_copy(update={"everywhere": 2, "found_again": least})
        state = lost(colours, scene, settings, 1)
        assert follow(colours, settings, state, scene(110, y=10)).lost == (expected, 0)
        assert follow(colours, settings, state, scene(10)).lost == (0, 0)


def test_views_in_which_a_target_is_found_again_are_not_remembered(colours: Any, scene: Scene) -> None:
    settings = SETTINGS.model_copy(update={"widening": 1.2, "interval": 1})
    state, counts = lost(colours, scene, settings, 3), []
    for _ in range(2):
        state = follow(colours, settings, state, scene(10))
        counts.append(len(state.memories[0]))
    assert counts == [1, 2]


@pytest.mark.parametrize("together", [False, True])
def test_images_of_bytes(colours: Any, scene: Scene, together: bool) -> None:
    """They are cut by OpenCV, and the boxes are the same; also those of an image for each target."""
    settings = SETTINGS.model_copy(update={"everywhere": 1})

    def run(kind: torch.dtype) -> Followed:
        def image(x: float) -> torch.Tensor:
            shown = scene(x).expand(2 if together else 1, -1, -1, -1)
            return shown if kind == torch.float32 else (shown * 255).round().byte()

        state = start_following(colours, settings, image(10), torch.tensor([[10.0, 40, 22, 52], [90, 60, 106, 76]]))
        for x in (14, 18, 90):
            state = follow(colours, settings, state, image(x))
        return state

    exact, bytes_ = run(torch.float32), run(torch.uint8)
    assert exact.verdicts[0] == Verdict.UNSURE
    assert exact.verdicts == bytes_.verdicts and (exact.boxes - bytes_.boxes).abs().max() < 1


@pytest.mark.parametrize("sees", [False, True])
def test_targets_together_and_one_by_one(sees: bool, scene: Scene) -> None:
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


def test_sides_change_by_the_part_that_is_believed(colours: Any, scene: Scene) -> None:
    """The middle is that of the new box, whatever is believed of its sides."""
    before, after = torch.tensor([[0.0, 0, 10, 40]]), torch.tensor([[20.0, 20, 60, 30]])

    def found(share: float) -> torch.Tensor:
        return believed(before, after, (96, 128), SETTINGS.model_copy(update={"resizing": share}))

    assert torch.allclose(found(1.0), after)
    assert torch.allclose(found(0.5), torch.tensor([[30.0, 15, 50, 35]]))

"""One target with an eye on what hides it beside its target model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track.occlusion.single import OcclusionAwareTracker, _moved
from scenegraph_track.occlusion.surface_tracker import SurfaceTracker
from scenegraph_track.occlusion.visibility import VisibilityTracker, VisibleParts
from scenegraph_track.target.embedded import follow_settings, target_network
from scenegraph_track.target.memory import Verdict
from scenegraph_track.target.single import SingleTracker
from tests.occlusion.tiny_points import square_video, tiny_net, tiny_solver
from tests.occlusion.tiny_surface import tiny_surface

BOX = np.array([6.0, 12, 22, 28])


class Told:
    """A visibility tracker that says what it is told to."""

    def __init__(self, visible: list[float], step: float = 0.0) -> None:
        self.visible, self.step_, self.given = visible, step, []

    def start(self):
        return 0

    def step(self, state, image, boxes=None):
        if boxes:
            self.given.append(state)
        positions = torch.tensor([[0.0, 0], [self.step_, 0]]).expand(1, 4, 2, 2)
        fraction = torch.full((1, 2), self.visible[state])
        return state + 1, VisibleParts(max(state - 1, 0), (0,), fraction, positions, torch.ones(1, 4, 2))

    def give(self, state, boxes):
        self.given.append(state)
        return state


def frames(count: int) -> list[np.ndarray]:
    return [image.permute(1, 2, 0).numpy() for image in square_video(count, 64)]


def remembered(visible: float) -> int:
    """Views in the memory after some frames of which so much is said to be seen."""
    settings = follow_settings()
    easy = settings.memory.model_copy(update={"confident": -1.0, "not_found": -2.0, "distractor": 100.0})
    target = SingleTracker(target_network(), settings.model_copy(update={"interval": 2, "memory": easy}))
    ours = OcclusionAwareTracker(target, Told([1.0] + [visible] * 8), renew=100)
    images = frames(6)
    state = ours.start(images[0], BOX)
    for image in images[1:]:
        state, _, _ = ours.step(state, image)
    return len(state.followed.memories[0])


def test_what_is_hardly_seen_is_not_remembered() -> None:
    assert remembered(1.0) == 2
    assert remembered(0.3) == 1


def test_a_target_that_is_not_found_moves_with_its_points() -> None:
    settings = follow_settings()
    never = settings.memory.model_copy(update={"not_found": 1e9})
    target = SingleTracker(target_network(), settings.model_copy(update={"memory": never, "everywhere": 0}))
    images = frames(3)
    for carry, moved in ((True, 3.0), (False, 0.0)):
        ours = OcclusionAwareTracker(target, Told([1.0] * 3, step=3.0), carry=carry)
        state = ours.start(images[0], BOX)
        state, box, _ = ours.step(state, images[1])
        assert state.followed.verdicts[0] == Verdict.NOT_FOUND
        np.testing.assert_allclose(box, BOX + np.array([moved, 0, moved, 0]), atol=1e-4)


@pytest.mark.parametrize("by", ["surface", "points"])
def test_runs_with_real_parts(by: str) -> None:
    points = VisibilityTracker(tiny_net(), tiny_solver(), count=5, stride=1)
    ours = OcclusionAwareTracker(SingleTracker.load(), points if by == "points" else SurfaceTracker(tiny_surface()))
    images = frames(4)
    state = ours.start(images[0], BOX)
    for image in images[1:]:
        state, box, score = ours.step(state, image)
        assert box.shape == (4,) and np.isfinite(box).all() and np.isfinite(score)
        assert 0 <= state.visible <= 1


def test_hidden_points_do_not_decide_where_seen_ones_go() -> None:
    positions = torch.zeros(1, 6, 2, 2)
    positions[0, :3, 1, 0], positions[0, 3:, 1, 0] = 2.0, -9.0
    visibility = torch.tensor([1.0, 1, 1, 0, 0, 0])[None, :, None].expand(1, 6, 2)
    assert _moved(VisibleParts(0, (0,), torch.ones(1, 2), positions, visibility)).tolist() == [2.0, 0.0]

"""The stage of OccuSolver: what it is shown, and that it learns."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from scenegraph_track.occlusion.point_net import Supposed
from scenegraph_track.training import occlusion
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.occlusion import OcclusionStage, grouped_by_object
from scenegraph_track.training.occlusion_data import OcclusionData, agreement, draw_objects
from scenegraph_track.training.point_data import PointClipSettings, make_point_clip
from tests.occlusion.tiny_points import tiny_net

CLIPS = PointClipSettings(scenes=2, size=(64, 64), frames=10, points=40)
DATA = OcclusionData(frames=8, objects=3, points=6, workers=0, crossed=0.0, covered=0.0)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@cache
def clips() -> Chunks:
    return Chunks(CLIPS, make_point_clip, "point_clips", few=True)


def draw(seed: int, **changes: object) -> dict[str, torch.Tensor]:
    return draw_objects(np.random.default_rng(seed), clips(), DATA.model_copy(update=changes))


def test_samples_have_the_promised_shapes() -> None:
    item = draw(0)
    shapes = {name: tuple(value.shape[1:]) for name, value in item.items()}
    assert shapes == {
        "images": (8, 3, 64, 64),
        "flows": (7, 4, 64, 64),
        "queries": (3, 6, 3),
        "seen": (3, 6, 8),
        "member": (3, 6),
        "fraction": (3, 8),
        "priors": (3, 16, 16),
        "told": (),
    }
    assert torch.equal(item["images"], draw(0)["images"])


def test_members_are_seen_where_they_are_chosen_and_objects_are_mostly_seen() -> None:
    for seed in range(6):
        item = draw(seed)
        first = int(item["queries"][0, 0, 0, 0])
        assert (item["queries"][..., 0] == first).all()
        assert item["seen"][0, :, :, first].all()
        assert (item["fraction"][0, :, first] >= DATA.visible - 1e-6).all()


def test_what_is_stuck_to_an_object_hides_a_part_of_it() -> None:
    """The same sample with a block in front shows less of some object, and no more of any."""
    less = 0
    for seed in range(8):
        with_block = draw(seed, covered=1.0, veiled=0.0)
        assert (with_block["fraction"] <= 1).all() and (with_block["fraction"] >= 0).all()
        first = int(with_block["queries"][0, 0, 0, 0])
        less += bool((with_block["fraction"][0, :, first + 1 :] < 0.75).any())
    assert less >= 4


def test_flow_that_agrees_there_and_back_keeps_points() -> None:
    """A point is lost where flow does not lead back, outside of the image, and ever after."""
    forward, backward = torch.zeros(3, 2, 20, 20), torch.zeros(3, 2, 20, 20)
    forward[:, 0], backward[:, 0] = 4.0, -4.0
    backward[1, 0, :10] = 6.0
    points = np.array([[3.0, 3.0], [3.0, 15.0], [11.0, 15.0]])
    assert agreement(forward, backward, points, 0).tolist() == [
        [True, True, False, False],
        [True, True, True, True],
        [True, True, True, False],
    ]


def test_labels_without_truth_come_from_flow() -> None:
    """No point that is on nothing but the image's own flow is asked of the world."""
    item = draw(1, labels="agreement")
    assert torch.allclose(item["fraction"][0], item["seen"][0].float().mean(1), atol=1e-6)


def stage(monkeypatch: pytest.MonkeyPatch) -> OcclusionStage:
    monkeypatch.setattr(occlusion, "given_points", lambda name: tiny_net())
    torch.manual_seed(0)
    settings = OcclusionStage.Settings(clips=CLIPS, data=DATA, points="untrained")
    return OcclusionStage(settings, 0)


def test_it_learns_one_sample_by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    made, item = stage(monkeypatch), draw(3, covered=1.0, veiled=0.0)
    windows = list(made.followed(item))  # the points stay as they are
    monkeypatch.setattr(made, "followed", lambda batch: windows)
    optimiser, losses = torch.optim.Adam(made.solver.parameters(), 3e-3), []
    for step in range(25):
        loss, _ = made.loss(item, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.85 * losses[0]
    assert all(weight.grad is None for weight in made.points.parameters())


def test_points_are_grouped_by_object() -> None:

    numbers = torch.arange(6.0)[None, :, None].expand(1, 6, 2)
    one = grouped_by_object(Supposed(numbers[..., None].expand(1, 6, 2, 2), numbers, numbers), 3)
    assert one.visible[:, :, 0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert one.tokens is None

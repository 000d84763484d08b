"""The stage of surfaces: what it is shown, what counts as an error, and that it learns."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.occlusion.surface_net import SurfaceNetSettings
from scenegraph_track.training import surface
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.point_data import PointClipSettings, make_point_clip
from scenegraph_track.training.surface import SurfaceStage
from scenegraph_track.training.surface_data import COVERED, SurfaceData, draw_surfaces

CLIPS = PointClipSettings(scenes=2, size=(64, 64), frames=10, points=8)
DATA = SurfaceData(batch=1, frames=6, objects=3, smallest=4.0, workers=0, crossed=0.0, covered=0.0)
NET = SurfaceNetSettings(first=8, width=8, deep=8, hidden=8, look=4)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@cache
def clips() -> Chunks:
    return Chunks(CLIPS, make_point_clip, "point_clips", few=True)


def draw(seed: int, **changes: object) -> dict[str, torch.Tensor]:
    return draw_surfaces(np.random.default_rng(seed), clips(), DATA.model_copy(update=changes))


def stage(monkeypatch: pytest.MonkeyPatch) -> SurfaceStage:
    monkeypatch.setattr(surface, "point_clips", lambda *_: clips())
    torch.manual_seed(0)
    return SurfaceStage(SurfaceStage.Settings(clips=CLIPS, data=DATA, surface_net=NET), 0)


def test_samples_have_the_promised_shapes_and_follow_from_the_seed() -> None:
    item = draw(0)
    shapes = {name: tuple(value.shape[1:]) for name, value in item.items()}
    assert shapes == {
        "images": (6, 3, 64, 64),
        "flows": (5, 4, 64, 64),
        "instance": (6, 16, 16),
        "count": (),
        "objects": (3,),
        "given": (3, 4),
        "boxes": (3, 6, 4),
        "fraction": (3, 6),
    }
    assert all(torch.equal(value, draw(0)[name]) for name, value in item.items())


def test_objects_are_seen_at_first_and_given_near_their_boxes() -> None:
    for seed in range(6):
        item = draw(seed)
        count = int(item["count"])
        assert 1 <= count <= 3
        assert (item["fraction"][0, :count, 0] >= DATA.visible - 1e-6).all()
        sides = (item["boxes"][0, :, 0, 2:] - item["boxes"][0, :, 0, :2]).repeat(1, 2)
        assert ((item["given"] - item["boxes"][:, :, 0]).abs()[0] <= 0.2 * sides).all()
        assert len(set(item["objects"][0, :count].tolist())) == count


def test_what_is_stuck_to_an_object_hides_a_part_of_it_and_stands_in_the_map() -> None:
    hidden = 0
    for seed in range(8):
        item = draw(seed, covered=1.0, veiled=0.0)
        assert ((item["fraction"] >= 0) & (item["fraction"] <= 1)).all()
        hidden += bool((item["instance"] == COVERED).any() and (item["fraction"].amin() < 0.75))
        assert not (item["instance"][:, 0] == COVERED).any(), "nothing sticks to it when it is given"
    assert hidden >= 4


def test_longer_stretches_than_the_clips_are_refused() -> None:
    with pytest.raises(UserError, match="at most the 10 frames of a clip, found 11"):
        draw(0, frames=11)


def test_masks_are_read_where_cells_are() -> None:
    maps = torch.zeros(2, 3, 4)
    maps[1, 2, 1] = 5
    cells = torch.tensor([[[[1.5, 2.5], [0.5, 2.5], [1.5, 3.5], [-0.5, 2.5]]]])
    assert surface._at(maps, cells, torch.tensor([1]), torch.tensor([5])).tolist() == [[[1, 0, 0, 0]]]
    assert surface._at(maps, cells, torch.tensor([0]), torch.tensor([5])).sum() == 0


def test_rows_that_only_fill_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = stage(monkeypatch)
    item = next(item for seed in range(20) if int((item := draw(seed))["count"]) < 3)
    error, shown = ours.loss(item, 0)
    changed = {**item, "fraction": item["fraction"].clone(), "given": item["given"].clone()}
    changed["fraction"][:, int(item["count"]) :] = 0.123
    changed["given"][:, int(item["count"]) :] += 9
    assert torch.equal(ours.loss(changed, 0)[0], error)
    assert set(shown) == {"error", "off", "off_by_flow", "fraction", "visible", "member", "place"}


def test_it_learns_one_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = stage(monkeypatch)
    item = draw(3, covered=1.0, veiled=0.0)
    optimiser = torch.optim.Adam(ours.net.parameters(), 0.01)
    errors = []
    for step in range(14):
        error, shown = ours.loss(item, step)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append({"all": float(error.detach()), **{name: float(value) for name, value in shown.items()}})
    for name in ("all", "visible", "member", "place"):
        assert errors[-1][name] < 0.9 * errors[0][name], name

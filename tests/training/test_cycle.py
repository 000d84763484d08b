"""The stage without labels: what it is shown, what counts, and that the truth of worlds stays unseen."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.pretraining import cycle as there_and_back
from scenegraph_track.pretraining.paste import PasteSettings
from scenegraph_track.training import cycle as cycle_stage
from scenegraph_track.training.cycle import CycleStage
from scenegraph_track.training.cycle_data import (
    PROPOSALS,
    CycleData,
    FreeClipSettings,
    draw_free_target,
    found_objects,
    make_free_clip,
)
from scenegraph_track.training.settings import load_recipe
from scenegraph_track.training.target_data import TargetData

SIZE = 64
NET = {
    "channels": (8, 12, 16),
    "blocks": (0, 1),
    "dim": 16,
    "layers": 1,
    "decoder_layers": 1,
    "view": SIZE,
    "tower": 16,
}


class Clips:
    """A bright square that drifts over noise, its proposals as a detector would give them."""

    def __init__(self, count: int = 6) -> None:
        rng = np.random.default_rng(0)
        self.items = []
        for _ in range(count):
            images = rng.integers(0, 60, (5, 72, 96, 3), dtype=np.uint8)
            labels = np.zeros((3, 72, 96), np.uint8)
            boxes, presence = np.zeros((3, PROPOSALS, 4), np.float32), np.zeros((3, PROPOSALS), np.float32)
            colour, start, way = rng.integers(100, 256, 3), rng.uniform(20, 40, 2), rng.uniform(-3, 3, 2)
            for t in range(5):
                x, y = np.round(start + way * t).astype(int)
                images[t, y : y + 16, x : x + 18] = colour
                if t in (0, 2, 4):
                    labels[t // 2, y : y + 16, x : x + 18] = 1
                    boxes[t // 2, 0], presence[t // 2, 0] = (x, y, x + 18, y + 16), 0.9
            frames = np.array([0, 2, 4])
            item = {"images": images, "frames": frames, "labels": labels, "boxes": boxes, "presence": presence}
            self.items.append(item)

    def __len__(self) -> int:
        return len(self.items)

    def rows(self, chosen):
        return (self.items[index] for index in chosen)


@cache
def clips() -> Clips:
    return Clips()


def batch(count: int = 4, first: int = 0, made: Clips | None = None, **changes) -> dict[str, torch.Tensor]:
    data = TargetData(colour=0.0, noise=0.0, blur=0.0)
    items = [
        draw_free_target(
            np.random.default_rng(k),
            made or clips(),
            data,
            CycleData(**changes),
            PasteSettings(sides=(12.0, 30.0)),
            SIZE,
        )
        for k in range(first, first + count)
    ]
    return {name: torch.cat([item[name] for item in items]) for name in items[0]}


def stage(**sections) -> CycleStage:
    torch.manual_seed(0)
    return CycleStage(CycleStage.Settings(target_net=NET, **sections), 0)


def test_views_of_a_proposal_show_it_in_their_boxes() -> None:
    item = batch(8)
    assert item["frames"].shape == (8, 3, 3, 72, 96) and item["views"].shape == (8, 2, 3, SIZE, SIZE)
    for frames, box in zip(item["frames"], item["first"].int().tolist()):
        assert (frames[0, :, box[1] : box[3], box[0] : box[2]].float().amax(0) >= 100).all()
    for views, boxes in zip(item["views"], item["view_boxes"]):
        for view, box in zip(views, boxes.round().int().clamp(0, SIZE).tolist()):
            inside = view[:, box[1] + 2 : box[3] - 2, box[0] + 2 : box[2] - 2].float().amax(0)
            assert (inside > 90).all()


def test_pasted_targets_come_as_those_with_labels() -> None:
    item = batch(3)
    assert item["memory"].shape == item["test"].shape == (3, 2, 3, SIZE, SIZE)
    assert item["memory_boxes"].shape == (3, 2, 4) and item["valid"].shape == (3, 2) and item["present"].shape == (3, 2)
    again = batch(3)
    assert all(torch.equal(item[name], again[name]) for name in item)


def test_nothing_but_images_of_a_world_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip is what the detector finds in the images, whatever the truth is."""
    from scenegraph_track.training import cycle_data

    settings = FreeClipSettings(size=(64, 48), frames=3, objects=3, presets={"standard": 1.0})
    made = make_free_clip(3, settings)
    real = cycle_data.make_target_clip
    lie = {"boxes": np.full((3, 3, 4), 7.0), "visible": np.zeros((3, 3))}
    monkeypatch.setattr(cycle_data, "make_target_clip", lambda *given: {**real(*given), **lie})
    other = make_free_clip(3, settings)
    assert set(made) == {"images", "frames", "labels", "boxes", "presence"}
    assert all(np.array_equal(made[name], other[name]) for name in made)


def test_proposals_are_numbered_by_presence_and_boxes_are_theirs() -> None:
    found = found_objects(make_free_clip(0, FreeClipSettings(size=(96, 96), frames=4))["images"], "embedded")
    assert found["frames"].tolist() == [0, 2, 3]
    assert found["presence"].any()
    for labels, boxes, presence in zip(found["labels"], found["boxes"], found["presence"]):
        seen = presence[presence > 0]
        assert (np.diff(seen) <= 1e-6).all()
        for number in np.flatnonzero(presence > 0):
            rows, columns = np.nonzero(labels == number + 1)
            assert boxes[number].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_before_it_begins_only_pasted_targets_count() -> None:
    made, shown = stage(cycle_loss={"begins": 10}), batch()
    early, told = made.loss(shown, 9)
    assert told["contrast"] == 0 and told["reached"] == 0
    blank = {**shown, "frames": torch.zeros_like(shown["frames"])}
    assert torch.equal(made.loss(blank, 9)[0], early)
    assert not torch.equal(made.loss(shown, 10)[0], early)


def test_targets_that_were_not_found_do_not_count() -> None:
    made = stage(cycle_loss={"begins": 0, "confident": 1e6, "contrast": 0.0})
    shown = batch()
    total, told = made.loss(shown, 0)
    total.backward()
    alone = stage(cycle_loss={"begins": 100})
    assert told["reached"] == 0 and torch.allclose(total, alone.loss(shown, 0)[0])
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in made.net.parameters())


def test_the_way_back_begins_at_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views of the memory are cut at the boxes of the way there, the surest first."""
    made, shown = stage(cycle_loss={"begins": 0, "confident": 0.0}), batch(2)
    boxes = torch.tensor([[[5.0, 5, 20, 20], [30.0, 30, 60, 50]], [[6.0, 6, 26, 26], [40.0, 20, 60, 40]]])
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.2]])
    cut: list[torch.Tensor] = []
    monkeypatch.setattr(cycle_stage, "way_there", lambda *_: there_and_back.Reached(boxes, scores))
    real = there_and_back.views_there
    monkeypatch.setattr(
        cycle_stage, "views_there", lambda frames, where, *rest: cut.append(where) or real(frames, where, *rest)
    )
    made.loss(shown, 0)
    assert torch.equal(cut[0], torch.stack([boxes[0].flip(0), boxes[1]]))


def test_it_learns_what_it_was_shown_without_labels() -> None:
    made, shown = stage(cycle_loss={"begins": 8, "confident": 0.2}), batch(6)
    optimiser = torch.optim.Adam(made.net.parameters(), 4e-3)
    losses = []
    for step in range(16):
        loss, told = made.loss(shown, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[7] < 0.5 * losses[0] and torch.tensor(losses).isfinite().all()
    assert 0 <= told["reached"] <= 1


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(UserError, match="one filter has to do for all frames"):
        load_recipe("cycle", ["target_net.sees_current=true"])
    with pytest.raises(UserError, match="expected proposals, found none"):
        batch(1, presence=0.95)

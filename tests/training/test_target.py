"""The stage of target models: what it is shown, that it learns, and how it is judged."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.single_clips import SingleClip
from scenegraph_track.training.settings import load_recipe
from scenegraph_track.training.target import TargetStage, alike
from scenegraph_track.training.target_data import TargetClipSettings, TargetData, draw_target, make_target_clip

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
PLAIN = {"colour": 0.0, "noise": 0.0, "blur": 0.0, "absent": 0.0, "single": 0.0}


class Squares:
    """Clips of two squares of random colours that drift over a dark, noisy ground; the second is hidden at the end."""

    def __init__(self, count: int = 24) -> None:
        rng = np.random.default_rng(0)
        self.items = []
        for _ in range(count):
            images = rng.integers(0, 40, (6, 72, 96, 3), dtype=np.uint8)
            colours = rng.integers(60, 256, (2, 3))
            start, way, side = rng.uniform(12, 40, (2, 2)), rng.uniform(-2, 2, (2, 2)), rng.integers(10, 18, 2)
            boxes, visible = np.zeros((6, 3, 4), np.float32), np.zeros((6, 3), np.float32)
            for t in range(6):
                for k in range(2):
                    x, y = np.round(start[k] + way[k] * t + (32 * k, 0)).astype(int)
                    boxes[t, k], visible[t, k] = (x, y, x + side[k], y + side[k]), k == 0 or t < 4
                    if visible[t, k]:
                        images[t, max(y, 0) : y + side[k], max(x, 0) : x + side[k]] = colours[k]
            self.items.append({"images": images, "boxes": boxes, "visible": visible})

    def __len__(self) -> int:
        return len(self.items)

    def rows(self, chosen):
        return (self.items[index] for index in chosen)


@cache
def squares() -> Squares:
    return Squares()


def batch(data: TargetData, count: int, first: int = 0) -> dict[str, torch.Tensor]:
    items = [draw_target(np.random.default_rng(k), squares(), data, SIZE) for k in range(first, first + count)]
    return {name: torch.cat([item[name] for item in items]) for name in items[0]}


def stage(**sections) -> TargetStage:
    torch.manual_seed(0)
    net = {**NET, **sections.pop("target_net", {})}
    return TargetStage(TargetStage.Settings(target_net=net, **sections), 0)


def test_a_clip_follows_from_its_number() -> None:
    settings = TargetClipSettings(size=(64, 48), frames=3, objects=3, presets={"standard": 1.0})
    one, two, other = (make_target_clip(index, settings) for index in (4, 4, 5))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["images"], other["images"])
    assert one["images"].shape == (3, 48, 64, 3) and one["boxes"].shape == (3, 3, 4) and one["visible"].shape == (3, 3)
    assert one["boxes"].min() >= 0 and one["boxes"][..., 2].max() <= 64 and one["boxes"][..., 3].max() <= 48


def test_the_box_is_where_the_target_is_in_every_view() -> None:
    """Bright pixels end at the box, mirrored or not, in remembered views and in the others."""
    data = TargetData(**PLAIN, tests=3, wide=0.5)
    seen = 0
    for seed in range(40):
        item = draw_target(np.random.default_rng(seed), squares(), data, SIZE)
        assert item["memory"].shape == (1, 2, 3, SIZE, SIZE) and item["test"].shape == (1, 3, 3, SIZE, SIZE)
        for name in ("memory", "test"):
            for view, box in zip(item[name][0], item[f"{name}_boxes"][0]):
                left, top, right, bottom = box.round().int().clamp(0, SIZE).tolist()
                if right - left < 6 or bottom - top < 6:
                    continue
                bright = view.float().amax(0) > 50
                assert bright[top + 2 : bottom - 2, left + 2 : right - 2].all()
                beside = bright[top + 2 : bottom - 2, max(left - 3, 0) : max(left - 2, 0)]
                seen += beside.numel() > 0 and not beside.any()
    assert seen > 100  # where the other square is not beside it


def test_views_of_targets_are_of_the_wanted_scale() -> None:
    data = TargetData(**PLAIN, wide=0.0, memory_jitter=(0.0, 0.0), factors=(4.0, 4.0))
    item = batch(data, 12)
    sides = (item["memory_boxes"][..., 2:] - item["memory_boxes"][..., :2]).prod(-1).sqrt()
    assert torch.allclose(sides, torch.full_like(sides, SIZE / 4), rtol=0.05)
    middles = (item["memory_boxes"][..., :2] + item["memory_boxes"][..., 2:]) / 2
    assert torch.allclose(middles, torch.full_like(middles, SIZE / 2), atol=1e-3)
    away = (item["test_boxes"][..., :2] + item["test_boxes"][..., 2:]) / 2 - SIZE / 2
    assert away.abs().max() > 8


def test_shares_of_single_memories_and_hidden_targets() -> None:
    never = batch(TargetData(**PLAIN), 30)
    assert never["valid"].all() and never["present"].all()
    often = batch(TargetData(**{**PLAIN, "single": 1.0, "absent": 1.0}), 30)
    assert torch.equal(often["valid"], torch.tensor([[True, False]]).expand(30, -1))
    share = 1 - float(often["present"].float().mean())
    assert 0.3 < share < 0.7  # the first square is never hidden


def test_the_same_generator_gives_the_same_views() -> None:
    data = TargetData()
    one, two = (draw_target(np.random.default_rng(3), squares(), data, SIZE) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["test"], draw_target(np.random.default_rng(4), squares(), data, SIZE)["test"])


def test_a_clip_without_anything_to_see_is_passed_over() -> None:
    clips = Squares(2)
    clips.items[0]["visible"][:] = 0
    data = TargetData(**PLAIN)
    assert all(draw_target(np.random.default_rng(k), clips, data, SIZE)["present"].all() for k in range(8))
    clips.items[1]["visible"][:] = 0
    with pytest.raises(UserError, match="expected objects that can be seen"):
        draw_target(np.random.default_rng(0), clips, data, SIZE)


@pytest.mark.parametrize("kind", ["lb_hinge", "focal", "sees_current"])
def test_it_learns_to_find_what_it_remembers(kind: str) -> None:
    """On views that it was not shown."""
    focal = kind == "focal"
    net = {"probabilities": focal, "sees_current": kind == "sees_current"}
    made = stage(target_net=net, loss={"classification": "focal" if focal else "lb_hinge"})
    data = TargetData(**PLAIN, wide=0.0, tests=2, test_jitter=(3.0, 0.1))
    shown, other = batch(data, 12), batch(data, 12, 1000)
    optimiser = torch.optim.Adam(made.net.parameters(), 4e-3)
    first = made.loss(shown, 0)[0].item()
    for step in range(30):
        loss, _ = made.loss(shown, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    made.net.eval()
    with torch.no_grad():
        loss, parts = made.loss(other, 0)
    assert loss.item() < 0.6 * first
    assert parts["hit"] > 0.8 and parts["giou"] < 0.5


def test_a_batch_without_any_target_has_a_loss() -> None:
    made, shown = stage(), batch(TargetData(**PLAIN), 2)
    loss, parts = made.loss({**shown, "present": torch.zeros_like(shown["present"])}, 0)
    loss.backward()
    assert loss.isfinite() and parts["giou"] == 0


def held_out() -> list[SingleClip]:
    clips = []
    for item in Squares(2).items:
        boxes, absent = item["boxes"].astype(np.float64), item["visible"] < 0.5
        for k in range(2):
            true = np.where(absent[:, k, None], np.nan, boxes[:, k])
            clips.append(
                SingleClip(str(k), list(item["images"]), true, absent[:, k], item["visible"][:, k], (96, 72), ())
            )
    return clips


def test_validation_follows_targets_and_stands_beside_a_constant_box() -> None:
    made = stage()
    made.net.eval()
    made.__dict__["_held_out"] = held_out()
    found = made.validate()
    assert set(found) == {"ao", "sr50", "sr75", "auc", "ao_constant", "alike"}
    truths = [(clip, clip.boxes[~clip.absent]) for clip in held_out()]
    overlaps = []
    for _, boxes in truths:
        low, high = np.maximum(boxes[0, :2], boxes[1:, :2]), np.minimum(boxes[0, 2:], boxes[1:, 2:])
        both = np.clip(high - low, 0, None).prod(1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        overlaps += (both / (area[0] + area[1:] - both)).tolist()
    assert found["ao_constant"] == pytest.approx(np.mean(overlaps), abs=0.02)
    assert 0 <= found["ao"] <= 1 and -1 <= found["alike"] <= 1
    assert found == made.validate()


def test_collapse_is_one_filter_for_all() -> None:
    filters = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    assert float(alike(filters[:1].expand(5, -1))) == pytest.approx(1)
    by_hand = torch.nn.functional.cosine_similarity(filters[:, None], filters[None], dim=2)
    assert float(alike(filters)) == pytest.approx(float((by_hand.sum() - 5) / 20), abs=1e-5)
    assert float(alike(filters[:1])) == pytest.approx(0, abs=1e-6)
    made = stage()
    assert made.collapse({"val/alike": 0.9995}) == "all targets have the same filter"
    assert made.collapse({"val/alike": 0.9}) is None and made.collapse({}) is None
    made.dry_run = True
    assert made.collapse({"val/alike": 1.0}) is None


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(UserError, match="expected true with the focal loss, false with lb_hinge"):
        load_recipe("target", ["loss.classification=focal"])
    with pytest.raises(UserError, match=r"expected some of .*standard.*, found ballet"):
        load_recipe("target", ["clips.presets={ballet: 1}"])
    recipe = load_recipe("target", ["loss.classification=focal", "target_net.probabilities=true"])
    assert recipe.sections.target_net.probabilities

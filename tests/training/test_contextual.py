"""The stage of the contextual association: what it is shown, how its cycle goes, and what it leaves behind."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.single_clips import SingleClip
from scenegraph_track.target.heads import CentreMaps
from scenegraph_track.target.one_stream import OneStreamOutput
from scenegraph_track.target.one_stream_network import OneStreamNetwork, OneStreamResponse
from scenegraph_track.target.views import cut, view_of_box
from scenegraph_track.training import contextual
from scenegraph_track.training.contextual import ContextualStage
from scenegraph_track.training.contextual_data import draw_contextual, held_out_targets
from scenegraph_track.training.run import run_training
from scenegraph_track.training.settings import load_recipe
from scenegraph_track.training.stage import find_stage
from scenegraph_track.training.weights import load_weights

SMALL = {
    "data": {"batch": 3, "whole": 48, "workers": 0, "smallest": 4.0, "colour": 0.0},
    "one_stream": {"template": 32, "search": 32, "width": 16, "depth": 2, "heads": 2, "channels": 16},
    "cycle": {"warmup": 2, "confident": 0.0},
    "association": {"prompts": 4, "noise": 4, "switch": 1},
}


class Squares:
    """Clips of two squares of random colours that drift over a dark ground; the second is hidden in the last frame."""

    def __init__(self, count: int = 24) -> None:
        rng = np.random.default_rng(0)
        self.items = []
        for _ in range(count):
            images = rng.integers(0, 40, (4, 48, 64, 3), dtype=np.uint8)
            start, way = rng.uniform(8, 24, (2, 2)), rng.uniform(-1.5, 1.5, (2, 2))
            boxes, visible = np.zeros((4, 3, 4), np.float32), np.zeros((4, 3), np.float32)
            for k, (colour, side) in enumerate(zip(rng.integers(80, 256, (2, 3)), rng.integers(9, 13, 2))):
                for t in range(4):
                    x, y = np.round(start[k] + way[k] * t + (24 * k, 0)).astype(int)
                    boxes[t, k], visible[t, k] = (x, y, x + side, y + side), k == 0 or t < 3
                    if visible[t, k]:
                        images[t, y : y + side, x : x + side] = colour
            self.items.append({"images": images, "boxes": boxes, "visible": visible})

    def __len__(self) -> int:
        return len(self.items)

    def rows(self, chosen):
        return (self.items[index] for index in chosen)


@cache
def squares() -> Squares:
    return Squares()


def settings(**changes: dict[str, Any]) -> ContextualStage.Settings:
    sections = {name: {**values, **changes.pop(name, {})} for name, values in SMALL.items()}
    return ContextualStage.Settings.model_validate({**sections, **changes})


def stage(**changes: dict[str, Any]) -> ContextualStage:
    torch.manual_seed(0)
    return ContextualStage(settings(**changes), 0)


def item(seed: int, asked: ContextualStage.Settings | None = None) -> dict[str, Tensor]:
    asked = asked or settings()
    return draw_contextual(np.random.default_rng(seed), squares(), asked.data, asked.one_stream, asked.following)


def batch(count: int = 3, first: int = 0, asked: ContextualStage.Settings | None = None) -> dict[str, Tensor]:
    items = [item(seed, asked) for seed in range(first, first + count)]
    return {name: torch.cat([one[name] for one in items]) for name in items[0]}


def test_views_and_their_boxes_show_the_target() -> None:
    """Pixels in the boxes of the whole frame, the local views and the template are bright."""
    seen = 0
    for seed in range(20):
        drawn = item(seed)
        assert drawn["template"].shape == (1, 1, 3, 32, 32) and drawn["views"].shape == (1, 2, 3, 32, 32)
        assert drawn["frames"].shape == (1, 2, 3, 48, 64) and drawn["later"].shape == (1, 2, 3, 48, 48)
        assert (drawn["template"][0, 0, :, 10:22, 10:22].amax(0) > 60).all()
        for name in ("whole", "view"):
            pixels = drawn["whole" if name == "whole" else "views"][0]
            for view, box in zip(pixels, drawn[f"{name}_box{'es' if name == 'view' else ''}"][0]):
                left, top, right, bottom = box.round().int().clamp(0, view.shape[-1]).tolist()
                inside = view.float().amax(0)[top + 2 : bottom - 2, left + 2 : right - 2]
                assert (inside > 60).all()
                seen += inside.numel() > 0
    assert seen > 50


def test_later_frames_follow_in_order_and_whole_views_are_padded_below() -> None:
    drawn = [item(seed) for seed in range(20)]
    assert all((one["later"][..., 36:, :] == 0).all() and (one["later"][..., 30, :] > 0).any() for one in drawn)
    hidden = torch.cat([~one["seen"] for one in drawn])
    assert hidden.any() and not hidden.all()
    asked = settings(data={"frames": 4})
    with pytest.raises(UserError, match="expected fewer than the 4 frames of a clip"):
        item(0, asked)
    with pytest.raises(UserError, match="expected objects that can be seen"):
        item(0, settings(data={"smallest": 40.0}))


def test_the_same_generator_gives_the_same_views() -> None:
    one, two = item(3, settings(data={"colour": 0.3})), item(3, settings(data={"colour": 0.3}))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["views"], item(4)["views"])


def test_it_learns_to_find_the_target_in_its_own_frame() -> None:
    made, shown = stage(cycle={"warmup": 1000}), batch(6)
    optimiser = torch.optim.Adam(made.net.parameters(), 5e-3)
    losses = []
    for _ in range(25):
        loss, parts = made.loss(shown, 0)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert parts["noise"] == parts["confident"] == parts["prompted"] == 0
    assert losses[-1] < 0.6 * losses[0] and parts["giou"] < 0.8


def gradients(made: ContextualStage, step: int) -> tuple[set[str], dict[str, float]]:
    """Which parts get a gradient at a step, and its metrics."""
    modules = torch.nn.ModuleDict(made.modules())
    modules.zero_grad()
    torch.manual_seed(0)
    loss, parts = made.loss(batch(), step)
    loss.backward()
    named = [name for name, weight in modules.named_parameters() if weight.grad is not None and weight.grad.any()]
    return {".".join(name.split(".")[:2]) for name in named}, {
        name: float(value.detach()) for name, value in parts.items()
    }


def test_prompts_come_behind_the_warm_up_and_noise_behind_the_switch() -> None:
    made, phases = stage(), []
    for step in (1, 2, 3, 4):
        got, parts = gradients(made, step)
        phases.append(({name for name in got if "association" in name}, parts["prompted"], parts["noise"] > 0))
        assert "one_stream.encoder" in got and "one_stream.head" in got and parts["confident"] == (step > 1)
    prompts, noise = {"association.prompts"}, {"association.noise"}
    assert phases == [(set(), 0, False), (prompts, 1, False), (prompts, 1, False), (noise, 0, True)]
    assert set(gradients(made, 1)[1]) == set(gradients(made, 4)[1])
    parts = gradients(made, 2)[1]
    assert 0 <= parts["inside"] <= parts["most_inside"] <= 1 and parts["most_inside"] > 0


def test_the_soft_switch() -> None:
    made = stage(association={"switch": 0, "soft": 100})
    phases = []
    for seed in range(8):
        torch.manual_seed(seed)
        phases.append(bool(made.loss(batch(2), 52)[1]["noise"] > 0))
    assert 0 < sum(phases) < 8
    with pytest.raises(UserError, match="behind the first"):
        stage(association={"switch": 5, "soft": 3})


def test_parts_can_be_left_out() -> None:
    bare = stage(association={"prompts": 0, "noise": 0})
    assert list(bare.modules()) == ["one_stream"]
    assert all("association" not in name for step in (2, 4) for name in gradients(bare, step)[0])
    learned = stage(association={"semantic": False})
    got, parts = gradients(learned, 2)
    assert "association.prompts" in got and parts["prompted"] == parts["inside"] == 0


def test_only_the_first_box_is_learned_from() -> None:
    """True boxes of later frames change what is measured, not the loss."""
    made, shown = stage(), batch()
    made.net.eval()  # no running means of normalisations that the next call would see
    moved = {**shown, "true_boxes": shown["true_boxes"] + 100, "seen": ~shown["seen"]}
    for step in (0, 2, 4):
        torch.manual_seed(0)
        loss = made.loss(shown, step)[0]
        torch.manual_seed(0)
        assert torch.equal(loss, made.loss(moved, step)[0])
    wrong = {**shown, "view_boxes": shown["view_boxes"] + 4}
    torch.manual_seed(0)
    assert not torch.equal(loss, made.loss(wrong, 4)[0])


def test_the_way_forward_changes_nothing_and_carries_prompts_and_query() -> None:
    made, shown = stage(), batch()
    before = {name: value.clone() for name, value in made.net.state_dict().items()}
    first = shown["template"].float() / 255
    way = made._forward(shown, first, prompting=True)
    assert all(torch.equal(value, before[name]) for name, value in made.net.state_dict().items())
    assert made.net.training and not way.templates.requires_grad and not way.query.requires_grad
    assert way.prompts.shape == (3, 4, 16) and way.prompts.requires_grad, "the type embedding learns"
    assert made._forward(shown, first, prompting=False).prompts is None


def test_prompts_are_where_tokens_in_the_box_of_the_template_attend_more_than_others() -> None:
    made = stage(association={"prompts": 1, "kind": "attention"})
    attention = torch.full((2, 2, 1 + 16, 6, 6), 0.1)
    attention[:, :, 1:, 0, 0] = 0.9  # all of the template
    attention[:, :, 0, 5, 5] = 0.9  # the query
    inside = torch.tensor([5, 6, 9, 10])  # of four by four tokens
    attention[:, :, 1 + inside, 3, 4] = 0.3
    maps = CentreMaps(torch.full((2, 6, 6), 0.5), torch.zeros(2, 2, 6, 6), torch.zeros(2, 2, 6, 6))
    output = OneStreamOutput(torch.rand(2, 16, 6, 6), *[None] * 3, attention)  # type: ignore[arg-type]
    box = torch.tensor([[8.0, 8, 24, 24]] * 2)
    assert made._prompts(OneStreamResponse(maps, None, output), box).index.tolist() == [[3 * 6 + 4]] * 2


class Knows(torch.nn.Module):
    """Says where the targets are, with a score, in the order of the frames."""

    def __init__(self, boxes: Tensor, score: float) -> None:
        super().__init__()
        self.boxes, self.score, self.calls = boxes / 64, score, 0

    def forward(self, templates: Tensor, search: Tensor, *carried: Any, attention: bool) -> OneStreamResponse:
        boxes = self.boxes[:, self.calls]
        self.calls += 1
        middle, count = (boxes[:, :2] + boxes[:, 2:]) / 2 * 6, len(boxes)
        score = torch.full((count, 6, 6), 0.01)
        columns, rows = middle.long().unbind(1)
        score[torch.arange(count), rows, columns] = self.score
        size = (boxes[:, 2:] - boxes[:, :2])[:, :, None, None].expand(-1, -1, 6, 6)
        offset = (middle - middle.floor())[:, :, None, None].expand(-1, -1, 6, 6)
        return OneStreamResponse(CentreMaps(score, size, offset), None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("score", [0.5, 0.1])
def test_found_boxes_give_templates_where_the_score_is_high_enough(score: float) -> None:
    made, shown = stage(cycle={"confident": 0.3}), batch()
    made.net = Knows(shown["true_boxes"], score)
    first = shown["template"].float() / 255
    way = made._forward(shown, first, prompting=False)
    assert way.figures["hit"] == 1 and way.figures["confident"] == (score > 0.3)
    for k in range(2):
        views = [view_of_box(box, 2.0, 32) for box in shown["true_boxes"][:, k].round().tolist()]
        wanted = cut(shown["frames"][:, k].float() / 255, views) if score > 0.3 else first[:, 0]
        assert torch.allclose(way.templates[:, k], wanted, atol=0.02)


def test_noise_is_of_other_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views of a target never attend to background of either of its own views."""
    made, given = stage(), []
    rows = torch.arange(6.0)[:, None, None].expand(6, 4, 16)
    monkeypatch.setattr(contextual, "background_tokens", lambda *_: rows)
    monkeypatch.setattr(made.noise, "forward", lambda features, noise: given.append(noise) or made.net.head(features))
    for seed in range(6):
        torch.manual_seed(seed)
        made.loss(batch(), 4)
    targets = torch.stack(given)[..., 0].div(2, rounding_mode="floor")  # step, view, token
    own = torch.arange(6).div(2, rounding_mode="floor")[:, None]
    assert (targets != own).all() and len(targets.unique()) == 3


def held_out(worlds: int, size: tuple[int, int], frames: int) -> list[SingleClip]:
    clips = []
    for one in squares().items[:2]:
        boxes, absent = one["boxes"][:, 0].astype(np.float64), one["visible"][:, 0] < 0.5
        clips.append(SingleClip("0", list(one["images"]), boxes, absent, one["visible"][:, 0], (64, 48), ()))
    return clips


def test_validation_follows_targets_and_stands_beside_a_constant_box(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contextual, "held_out_targets", held_out)
    made = stage()
    made.net.eval()
    found = made.validate()
    assert set(found) == {"ao", "sr50", "auc", "ao_constant"} and found == made.validate()
    assert 0 <= found["ao"] <= 1 and 0.3 < found["ao_constant"] < 1


def test_held_out_targets_are_of_as_many_worlds() -> None:
    clips = held_out_targets(2, (64, 48), 3)
    assert len({clip.name.rpartition("_")[0] for clip in clips}) == 2 and all(len(clip) == 3 for clip in clips)


def _bytes(network: OneStreamNetwork) -> bytes:
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        response = network.eval()(torch.rand(2, 1, 3, 32, 32, generator=draw), torch.rand(2, 3, 32, 32, generator=draw))
    return b"".join(part.numpy().tobytes() for part in (response.maps.score, response.maps.size, response.query))


def test_the_trained_network_stands_without_the_association(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the weights file of a run with prompts and noise: a plain network's parameters, and the same output bytes
    whether the modules are there or deleted."""
    monkeypatch.setattr(contextual, "target_clips", lambda *_: squares())
    monkeypatch.setattr(contextual, "held_out_targets", held_out)
    made: list[ContextualStage] = []
    monkeypatch.setattr(ContextualStage, "batches", _kept(made, ContextualStage.batches))
    values = {**SMALL, "train": {"steps": 5, "warmup_steps": 0, "learning_rate": 0.01}}
    overrides = [f"{part}.{name}={value}" for part, section in values.items() for name, value in section.items()]
    best = run_training("contextual", [*overrides, "train.accelerator=cpu"], tmp_path / "run")

    plain = settings(one_stream={"backbone": "embedded"}).one_stream.network()  # as in the recipe that ships
    started = _bytes(plain)
    names = {name.removeprefix("one_stream.") for name in load_file(best) if name.startswith("one_stream.")}
    assert names == set(plain.state_dict()) and any(name.startswith("association.") for name in load_file(best))
    trained = made[0]
    together = _bytes(trained.net)
    weights = dict(trained.net.named_parameters())
    assert {name: value.shape for name, value in weights.items()} == {
        name: value.shape for name, value in plain.named_parameters()
    }
    del trained.prompts, trained.noise
    assert _bytes(trained.net) == together
    load_weights(plain, best, "one_stream")
    assert _bytes(plain) == together != started


def _kept(made: list[ContextualStage], batches: Any) -> Any:
    def kept(self: ContextualStage, *arguments: int) -> Any:
        made.append(self)
        return batches(self, *arguments)

    return kept


def test_the_stage_is_registered_and_its_recipe_fits() -> None:
    assert find_stage("contextual") is ContextualStage
    recipe = load_recipe("contextual", ["association.kind=correlation"])
    assert recipe.sections.association.kind == "correlation"
    with pytest.raises(UserError, match=r"association\.kind"):
        load_recipe("contextual", ["association.kind=best"])

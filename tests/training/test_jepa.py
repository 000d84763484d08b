"""The stage of JEPA: who is trained, what the student is shown, that it comes to agree, and what stops it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.single_clips import SingleClip
from scenegraph_track.pretraining.jepa_target import TargetWeights
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.training.jepa import JepaStage
from scenegraph_track.training.settings import load_recipe
from scenegraph_track.training.target import TargetStage
from scenegraph_track.training.target_data import TargetData, draw_target
from scenegraph_track.training.weights import save_weights

SIZE = 64
NET = {
    "channels": (8, 12, 16),
    "blocks": (0, 1),
    "dim": 16,
    "layers": 1,
    "decoder_layers": 1,
    "hidden": 16,
    "view": SIZE,
    "tower": 16,
}
STUDENT = {**NET, "refined": True, "train_backbone": False}
PLAIN = {"colour": 0.0, "noise": 0.0, "blur": 0.0, "absent": 0.0, "single": 0.0, "tests": 1}


class Squares:
    """Clips of a square of a random colour that drifts over a dark, noisy ground."""

    def __init__(self, count: int = 32) -> None:
        rng = np.random.default_rng(0)
        self.items = []
        for _ in range(count):
            images = rng.integers(0, 60, (5, 72, 96, 3), dtype=np.uint8)
            colour, start, way = rng.integers(60, 256, 3), rng.uniform(20, 40, 2), rng.uniform(-2, 2, 2)
            boxes = np.zeros((5, 1, 4), np.float32)
            for t in range(5):
                x, y = np.round(start + way * t).astype(int)
                images[t, y : y + 14, x : x + 16] = colour
                boxes[t, 0] = x, y, x + 16, y + 14
            self.items.append({"images": images, "boxes": boxes, "visible": np.ones((5, 1), np.float32)})

    def __len__(self) -> int:
        return len(self.items)

    def rows(self, chosen):
        return (self.items[index] for index in chosen)


@cache
def squares() -> Squares:
    return Squares()


def batch(count: int = 16, first: int = 0) -> dict[str, torch.Tensor]:
    data = TargetData(**PLAIN)
    items = [draw_target(np.random.default_rng(k), squares(), data, SIZE) for k in range(first, first + count)]
    return {name: torch.cat([item[name] for item in items]) for name in items[0]}


def weights(folder: Path, **changes) -> str:
    """A file with weights of a network that was drawn, as a run of the stage target leaves them."""
    torch.manual_seed(5)
    settings = TargetNetSettings(**{**NET, **changes})
    net = TargetNetwork(settings)
    path = folder / "teacher.safetensors"
    values = {f"target.{name}": value for name, value in net.state_dict().items()}
    save_weights(path, values, {"stage": "target", "recipe": {"target_net": settings.model_dump(mode="json")}})
    return str(path)


def stage(file: str, net: dict | None = None, jepa: dict | None = None, **sections) -> JepaStage:
    torch.manual_seed(0)
    settings = {"target_net": {**STUDENT, **(net or {})}, "jepa": {"weights": file, **(jepa or {})}, **sections}
    return JepaStage(JepaStage.Settings(**settings), 0)


def test_only_predictor_and_predictors_learn_and_the_rest_is_the_teachers(tmp_path: Path) -> None:
    made = stage(weights(tmp_path))
    learning = {name for name, weight in made.net.named_parameters() if weight.requires_grad}
    assert learning == {name for name, _ in made.net.named_parameters() if name.startswith(("predictor.", "refine."))}
    theirs = made.teacher.state_dict()
    same = {name for name, value in made.net.state_dict().items() if torch.equal(value, theirs.get(name, value + 1))}
    assert {name for name in theirs if not name.startswith("predictor.")} <= same
    assert not torch.equal(made.net.predictor.classification.weight, theirs["predictor.classification.weight"])
    made.loss(batch(4), 0)[0].backward()
    assert all(weight.grad is None for weight in made.teacher.parameters())
    assert all((weight.grad is not None) == weight.requires_grad for weight in made.net.parameters())


def test_a_student_that_begins_as_its_teacher_and_sees_the_same_agrees_with_it(tmp_path: Path) -> None:
    same = stage(weights(tmp_path), jepa={"student": "teacher"}, corruption={"relocated": (0.0, 0.0)})
    _, told = same.loss(batch(6), 0)
    assert told["agreement"] == pytest.approx(1, abs=1e-4) and told["similarity"] < 1e-8
    less = stage(weights(tmp_path), jepa={"student": "teacher"}, corruption={"relocated": (0.9, 0.9)})
    assert less.loss(batch(6), 0)[1]["agreement"] < 0.999


@pytest.mark.parametrize("kind", ["relocate", "occlude", "noise", "blur"])
def test_the_newest_memory_is_corrupted_for_the_student_alone(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher is shown the views as they are, the student the newest one otherwise."""
    made, shown = stage(weights(tmp_path), corruption={"kinds": {kind: 1.0}, "relocated": (0.3, 0.3)}), batch(3)
    seen = []
    real = TargetWeights.weights
    monkeypatch.setattr(
        TargetWeights, "weights", lambda self, past, now: seen.append((past, now)) or real(self, past, now)
    )
    made.loss(shown, 0)
    (clean, none), (spoilt, nothing) = seen
    assert none is None and nothing is None
    assert torch.equal(clean.features[:, 0], spoilt.features[:, 0])
    assert all(not torch.equal(one, other) for one, other in zip(clean.features[:, 1], spoilt.features[:, 1]))
    assert torch.equal(clean.labels, spoilt.labels)


def test_a_network_that_sees_the_current_frame_is_corrupted_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = weights(tmp_path, sees_current=True)
    made, shown, seen = stage(file, net={"sees_current": True}, corruption={"relocated": (0.3, 0.3)}), batch(3), []
    real = TargetWeights.weights
    monkeypatch.setattr(
        TargetWeights, "weights", lambda self, past, now: seen.append((past, now)) or real(self, past, now)
    )
    loss, _ = made.loss(shown, 0)
    loss.backward()
    (clean, frame), (same, spoilt) = seen
    assert torch.equal(clean.features, same.features) and not torch.equal(frame, spoilt)
    assert made.net.predictor.test.grad.abs().sum() > 0


def test_boxes_of_the_frames_to_be_found_are_not_used(tmp_path: Path) -> None:
    made, shown = stage(weights(tmp_path)), batch(4)
    told = []
    for boxes in (shown["test_boxes"], torch.full_like(shown["test_boxes"], torch.nan)):
        torch.manual_seed(3)
        told.append(made.loss({**shown, "test_boxes": boxes, "present": torch.zeros_like(shown["present"])}, 0)[0])
    assert torch.equal(*told)


def trained(made: JepaStage, shown: dict[str, torch.Tensor], steps: int) -> dict[str, torch.Tensor]:
    """The figures of the last of some steps on one batch."""
    parts = [weight for module in made.modules().values() for weight in module.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(parts, 5e-3)
    torch.manual_seed(0)
    for step in range(steps):
        loss, told = made.loss(shown, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return told


@pytest.mark.parametrize("teacher", ["frozen", "ema"])
def test_a_fresh_student_agrees_with_its_teacher_on_targets_that_it_was_not_shown(teacher: str, tmp_path: Path) -> None:
    made = stage(weights(tmp_path), jepa={"teacher": teacher, "decay": 0.99})
    trained(made, batch(24), 21)
    with torch.no_grad():
        told = made.loss(batch(24, 500), 21)[1]
    assert told["agreement"] > 0.9
    assert told["rank"] > 0.7 * told["teacher_rank"]


def test_a_student_without_the_mean_of_what_is_remembered_has_to_learn_all(tmp_path: Path) -> None:
    made, shown = stage(weights(tmp_path), net={"from_mean": False}), batch(24)
    with torch.no_grad():
        first = made.loss(shown, 0)[1]
    last = trained(made, shown, 60)
    assert first["agreement"] < 0.2 and last["agreement"] > first["agreement"] + 0.1
    assert last["similarity"] < 0.1 * first["similarity"]


def test_a_teacher_follows_once_a_step_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    made = stage(weights(tmp_path), jepa={"teacher": "ema", "decay": 0.5})
    shown = batch(4)
    made.loss(shown, 0)
    head, own = made.teacher.predictor.classification.bias, made.net.predictor.classification.bias
    assert torch.equal(head, own)
    with torch.no_grad():
        own.add_(1.0)
    made.loss(shown, 0)
    assert torch.equal(head, own), "before the first step it is like its student"
    with torch.no_grad():
        own.add_(1.0)
    made.loss(shown, 1)
    made.loss(shown, 1)  # a second batch of the same step
    assert torch.allclose(head, own - 0.5)
    kept = made.state()
    again = stage(weights(tmp_path), jepa={"teacher": "ema", "decay": 0.5})
    again.load_state(kept)
    assert torch.equal(again.teacher.predictor.classification.bias, head) and again.state().keys() == kept.keys()
    assert stage(weights(tmp_path)).state().keys() == {"updates", "first_rank"}


def test_a_student_may_begin_without_any_teacher(tmp_path: Path) -> None:
    made = stage("none", jepa={"teacher": "ema"})
    assert made.loss(batch(4), 0)[0].isfinite()
    with pytest.raises(UserError, match="expected those of a teacher"):
        load_recipe("jepa", ["jepa.weights=none"])


def test_filters_of_low_rank_stop_the_run(tmp_path: Path) -> None:
    made = stage(weights(tmp_path), jepa={"watched_from": 3})
    made.loss(batch(8), 0)
    full = made.teaching.first_rank
    assert full > 2
    assert made.collapse({"rank": 1.0}) is None, "not yet watched"
    made.loss(batch(8), 3)
    assert "effective rank is 1" in made.collapse({"rank": 1.0})
    assert made.collapse({"rank": 0.3 * full}) is None and made.collapse({}) is None
    assert made.collapse({"val/alike": 0.9999}) == "all targets have the same filter"
    made.dry_run = True
    assert made.collapse({"rank": 1.0}) is None


def test_validation_tells_agreement_on_held_out_targets_and_how_the_student_follows(tmp_path: Path) -> None:
    made = stage(weights(tmp_path), jepa={"student": "teacher"}, data=PLAIN)
    clips = []
    for item in Squares(3).items:
        boxes, seen = item["boxes"][:, 0].astype(np.float64), np.ones(5)
        clips.append(SingleClip("x", list(item["images"]), boxes, seen < 0.5, seen, (96, 72), ()))
    clips[0] = replace(clips[0], boxes=np.where(np.arange(5)[:, None] == 3, np.nan, clips[0].boxes))
    made._held_out = clips
    torch.manual_seed(0)
    with torch.no_grad():
        told = made.validate()
    assert told["agreement"] > told["agreement_occluded"] and told["agreement_occluded"] < 1
    assert {"ao", "ao_constant", "rank", "teacher_rank", "alike"} <= told.keys()


def test_the_student_is_fine_tuned_with_its_predictors(tmp_path: Path) -> None:
    """The weights of the stage fit the stage target with predictors, which learn twice as fast there."""
    made = stage(weights(tmp_path))
    torch.manual_seed(0)
    tuned = TargetStage(TargetStage.Settings(target_net=STUDENT), 0)
    tuned.net.load_state_dict(made.net.state_dict())
    assert tuned.learning_rate_factors() == {"target.refine": 2.0}
    loss, _ = tuned.loss(batch(3), 0)
    loss.backward()
    assert all(weight.grad.abs().sum() > 0 for weight in tuned.net.refine.parameters())
    assert TargetStage(TargetStage.Settings(target_net=NET), 0).learning_rate_factors() == {}


def test_the_tuned_student_may_be_the_next_teacher(tmp_path: Path) -> None:
    """Then its predictors belong to the targets, and to the student that begins like it."""
    made = stage(weights(tmp_path, refined=True, train_backbone=False), jepa={"student": "teacher"})
    with torch.no_grad():
        made.teacher.refine.box.second.weight.normal_()
        _, _, targets = made._both(batch(3), made.settings.corruption)
        plain = TargetWeights(made.teacher)
        torch.manual_seed(0)
    assert made.teacher.refine is not None and targets["box"].shape == (3, 16)
    assert plain.predicted(targets)["box"].shape == (3, 16)


def test_wrong_teachers_are_refused(tmp_path: Path) -> None:
    file = weights(tmp_path)
    with pytest.raises(UserError, match="is of another network than target_net describes"):
        stage(file, net={"layers": 2})
    with pytest.raises(UserError, match="no such file of weights"):
        stage(str(tmp_path / "nothing.safetensors"))
    with pytest.raises(UserError, match="expected refined true and train_backbone false"):
        load_recipe("jepa", ["target_net.refined=false"])

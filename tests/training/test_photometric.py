"""The photometric stage: phases that freeze what they should, its recipe, and what it begins with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.training.optimiser import learning_rate
from scenegraph_track.training.photometric import PhotometricStage, any_way_up
from scenegraph_track.training.run import run_training
from scenegraph_track.training.settings import load_recipe, named_recipes
from scenegraph_track.training.weights import save_weights
from scenegraph_track.training.windows import WindowData, held_window

SMALL = [
    "data.worlds=2",
    "data.parallax=0",
    "data.size=32",
    "data.windows=1",
    "data.validation_windows=1",
    "train.accelerator=cpu",
]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def weights(out: Path, step: int) -> dict[str, Tensor]:
    return load_file(out / "checkpoints" / f"step-{step:08d}" / "weights.safetensors")


def test_any_way_up_draws_by_torchs_generator() -> None:
    windows = [held_window(WindowData(size=32, worlds=4, parallax=0.0), "train", number) for number in range(2)]
    batch = {name: torch.stack([window[name] for window in windows]) for name in windows[0]}
    torch.manual_seed(3)
    one = any_way_up(batch)
    torch.manual_seed(3)
    assert torch.equal(one["images"], any_way_up(batch)["images"])
    assert not torch.equal(one["images"], batch["images"])


def test_phases_freeze_what_they_should(tmp_path: Path) -> None:
    # Three steps of the cure: motion, depth, both.  Bits, so neither decay nor moments of the optimiser moved anything.
    torch.manual_seed(0)
    steps = ["train.steps=3", "train.checkpoint_every=1", "train.keep_last=3", "train.warmup_steps=0"]
    options = [*SMALL, *steps, "phases.pose=1", "phases.depth=1", "train.seed=4"]
    run_training("geometry", options, tmp_path / "run")
    torch.manual_seed(4)
    stage = load_recipe("geometry", options).create_stage()
    before = {f"{m}.{name}": value for m, part in stage.modules().items() for name, value in part.state_dict().items()}
    moved = []
    for step in (1, 2, 3):
        after = weights(tmp_path / "run", step)
        moved.append({name.split(".")[0] for name in after if not torch.equal(after[name], before[name])})
        before = after
    assert moved == [{"pose"}, {"depth"}, {"depth", "pose"}]


def test_the_shipped_recipe() -> None:
    # It is the default, complete, and joint training has about a tenth of the learning rate.
    recipe = load_recipe("geometry")
    assert recipe.sections == PhotometricStage.Settings()
    written = yaml.safe_load(named_recipes()["geometry"].read_text())
    assert {key: written[key] for key in written if key != "train"} == {
        key: value for key, value in recipe.values().items() if key != "train"
    }
    joint = recipe.sections.phases.pose + recipe.sections.phases.depth
    assert joint < recipe.train.steps
    assert learning_rate(joint, recipe.train) < 0.12 * recipe.train.learning_rate


@pytest.mark.parametrize(
    "settings",
    [
        ["regime=ssim_l1_joint", "loss.motion_scale=1.0", "loss.flow=0.1"],
        ["regime=l1_joint", "pose_net.flow=true"],
        ["pose_teacher=photometric"],
        ["phases.pose=1", "phases.depth=1"],
        [],
    ],
)
def test_two_steps(settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_training("geometry", [*SMALL, *settings], tmp_path / "run", dry_run=True)
    said = capsys.readouterr().err
    assert "step 2/2  val/abs_rel" in said
    assert "nan" not in said


def test_it_begins_with_given_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = load_recipe("geometry", SMALL).create_stage()
    both = {f"{m}.{name}": value for m, part in first.modules().items() for name, value in part.state_dict().items()}
    path = tmp_path / "both.safetensors"
    save_weights(path, both, {})
    second = load_recipe("geometry", [*SMALL, f"start.depth={path}"]).create_stage()
    assert all(torch.equal(a, b) for a, b in zip(first.depth.parameters(), second.depth.parameters()))
    assert not all(torch.equal(a, b) for a, b in zip(first.pose.parameters(), second.pose.parameters()))
    with pytest.raises(UserError, match="the weights of pose do not fit PoseNet"):
        load_recipe("geometry", [*SMALL, f"start.pose={path}", "pose_net.flow=true"]).create_stage()


def test_the_classical_teacher_teaches(tmp_path: Path) -> None:
    # A few dozen steps on one window bring the motion nearer to the one that its flow tells.
    options = [*SMALL, "data.worlds=1", "data.size=64", "phases.pose=1000", "phases.depth=0", "train.warmup_steps=0"]
    torch.manual_seed(0)
    stage = load_recipe("geometry", options).create_stage()
    optimiser = torch.optim.AdamW(stage.pose.parameters(), 2e-3)
    batch = next(stage.batches(0, 1, 0))
    losses = []
    for step in range(60):
        torch.manual_seed(0)  # always the same mirror
        loss, _ = stage.loss(batch, step)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    assert all(weight.grad is None for weight in stage.depth.parameters())

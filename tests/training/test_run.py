"""Runs from recipes: folders, resuming, dry runs, devices that are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import yaml

from scenegraph_track.errors import UserError
from scenegraph_track.training.run import run_training
from scenegraph_track.training.weights import read_metadata
from scenegraph_track.version import __version__


def test_what_a_run_leaves(tiny: Path, tmp_path: Path) -> None:
    # the newest two checkpoints, the best weights with their story, the complete recipe, the log; nothing half written
    out = tmp_path / "run"
    best = run_training(tiny, ["train.validate_every=3", "train.checkpoint_every=3"], out)
    names = {"recipe.yaml", "log.jsonl", "best.safetensors", "checkpoints"}
    assert {path.name for path in out.iterdir()} - {"tensorboard"} == names
    assert [path.name for path in sorted((out / "checkpoints").iterdir())] == ["step-00000009", "step-00000012"]
    story = read_metadata(best)
    assert (story["stage"], story["seed"], story["version"]) == ("tiny", 0, __version__)
    assert story["recipe"] == yaml.safe_load((out / "recipe.yaml").read_text())
    assert story["recipe"]["train"]["betas"] == [0.9, 0.999]
    assert story["held_out"]["step"] == story["step"]
    assert set(story["held_out"]) == {"step", "error"}


def test_the_best_weights_are_those_of_the_best_validation(tiny: Path, tmp_path: Path) -> None:
    # at a learning rate that leads nowhere the first validation stays the best
    options = ["train.learning_rate=30", "train.clip_norm=null", "dropout=0.0", "train.validate_every=1"]
    best = run_training(tiny, [*options, "train.ema_decay=null", "train.warmup_steps=0"], tmp_path / "run")
    worst = run_training(tiny, [*options, "train.monitor_mode=max", "train.ema_decay=null"], tmp_path / "other")
    assert read_metadata(best)["held_out"]["error"] < read_metadata(worst)["held_out"]["error"]
    newest = read_metadata(tmp_path / "run" / "checkpoints" / "step-00000012" / "weights.safetensors")
    assert read_metadata(best)["held_out"]["error"] <= newest["held_out"]["error"]


def test_without_a_monitor_the_newest_weights_are_the_best(tiny: Path, tmp_path: Path) -> None:
    assert read_metadata(run_training(tiny, ["train.monitor=null"], tmp_path / "run"))["step"] == 12


def test_a_monitor_that_the_stage_does_not_compute(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"train\.monitor: expected one of the validation's metrics, error, found 'iou'"
    ):
        run_training(tiny, ["train.monitor=iou"], tmp_path / "run")


def test_a_folder_that_holds_a_run_is_not_overwritten(tiny: Path, tmp_path: Path) -> None:
    run_training(tiny, out=tmp_path / "run")
    with pytest.raises(UserError, match="run: the folder holds a run; resume it or choose another folder"):
        run_training(tiny, out=tmp_path / "run")


def test_resume_refuses_other_settings_but_not_free_ones(tiny: Path, tmp_path: Path) -> None:
    run_training(tiny, out=tmp_path / "run")
    with pytest.raises(UserError, match=r"with other settings than the run began with: data.noise, train.steps"):
        run_training(tiny, ["train.steps=20", "data.noise=0.5"], tmp_path / "run", resume=True)
    run_training(tiny, ["train.log_every=1"], tmp_path / "run", resume=True)  # finished: nothing more to do


def test_resume_without_a_run_starts_one_and_says_so(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    assert run_training(tiny, out=out, resume=True).is_file()
    assert caplog.messages == [f"{out}: no checkpoint there to go on from, this run begins at step 0"]
    run_training(tiny, out=out, resume=True)
    assert len(caplog.messages) == 1, "there is one now"


def test_a_dry_run_leaves_nothing(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_training(tiny, out=tmp_path / "run", dry_run=True)
    assert not (tmp_path / "run").exists()
    said = capsys.readouterr().err
    assert "step 2/2  val/error" in said
    assert "step 3" not in said


@pytest.mark.parametrize("free", ["run", "run/deeper/still"])
def test_a_dry_run_refuses_a_folder_that_cannot_be(tiny: Path, tmp_path: Path, free: str) -> None:
    # where a file stands, and below it
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match=r"run.*: cannot write there \(Not a directory\)"):
        run_training(tiny, out=tmp_path / free, dry_run=True)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["run", "tiny.yaml"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything can be written by root")
def test_a_dry_run_refuses_a_folder_without_permission(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(UserError, match=r"cannot write there \(Permission denied\)"):
        run_training(tiny, out=tmp_path / "shut" / "run", dry_run=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_devices_that_are_not_there(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train: these devices cannot be used"):
        run_training(tiny, ["train.accelerator=cuda"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_on_a_gpu_a_run_goes_on_to_the_same_bits(tiny: Path, tmp_path: Path, precision: str) -> None:
    from safetensors.torch import load_file

    options = ["train.accelerator=cuda", f"train.precision={precision}"]
    final = Path("checkpoints") / "step-00000012"
    run_training(tiny, options, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setenv("TINY_STAGE_INTERRUPT_AT", "10")
        run_training(tiny, options, tmp_path / "stopped")
    run_training(tiny, options, tmp_path / "stopped", resume=True)
    whole, stopped = (load_file(tmp_path / name / final / "weights.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)

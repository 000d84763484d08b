"""Training from the command line: every recipe for two steps, errors as sentences, a run that was killed."""

from __future__ import annotations

import os
import signal
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from geometry.errors import GeometryError
from scenegraph_track.cli.app import run
from scenegraph_track.training.flow import FlowStage
from scenegraph_track.training.settings import load_recipe, named_recipes

LABELS = ["labels.scenes=2", "labels.size=64", "labels.frames=5", "labels.flow=dis_fast", "labels.workers=1"]
FLOW = ["data.size=32", "data.crop=32", "data.clips=1", "data.frames=2", "data.pairs=1", "data.workers=0"]
TARGETS = [
    "clips.size=[64,48]",
    "clips.frames=3",
    "data.batch=2",
    "data.workers=0",
    "data.smallest=4",
    "target_net.view=64",
]
SMALL = {
    "contextual": [
        "clips.size=[64,48]",
        "clips.frames=3",
        "data.batch=2",
        "data.whole=48",
        "data.workers=0",
        "data.smallest=4",
        "one_stream.template=16",
        "one_stream.search=32",
        "cycle.warmup=1",
    ],
    "cycle": [*TARGETS, "cycle.smallest=4", "cycle.presence=0.1"],
    "depth": [*LABELS, "labels.folder={folder}", "data.batch=2", "data.workers=0"],
    "detector": [
        "labels.folder={folder}",
        "labels.size=64",
        "labels.flow=dis_sparse",
        "still_labels=null",
        "data.batch=2",
        "data.crop=48",
        "data.workers=0",
        "data.validation_frames=2",
    ],
    "flow": FLOW,
    "geometry": ["data.size=32", "data.worlds=1", "data.windows=1", "data.parallax=0"],
    "graph": ["data.clips=2", "data.frames=4", "data.warm_up=4", "data.workers=0"],
    "jepa": [setting for setting in TARGETS if not setting.startswith("target_net")],
    "jepa_graph": ["data.clips=2", "data.repeats=1", "data.frames=6", "data.warm_up=4", "data.workers=0"],
    "language": ["clips.size=[64,48]", "data.clips=2", "data.workers=0"],
    "target": TARGETS,
    "pose": [*LABELS, "labels.folder={folder}", "data.batch=2", "data.workers=0"],
    "occlusion": ["clips.size=[96,96]", "clips.points=32", "points=untrained", "data.objects=2", "data.workers=0"],
    "points": ["clips.size=[64,64]", "clips.points=24", "data.points=8", "data.workers=0"],
    "scene": ["worlds.size=[64,48]", "worlds.frames=6", "worlds.presets={{standard: 1.0}}", "data.batch=2"],
}
"""What makes a recipe small; a recipe that is not here is run as it is."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def sets(*settings: str) -> list[str]:
    return [word for setting in ("train.accelerator=cpu", *settings) for word in ("--set", setting)]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("labels")


@pytest.mark.parametrize("name", named_recipes())
def test_every_recipe_trains_two_steps(
    name: str, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = [setting.format(folder=labels) for setting in SMALL.get(name, [])]
    assert run(["train", name, "--dry-run", *sets(*small)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{name}: two steps went well\n"
    assert "step 2/2  val/" in said.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", named_recipes())
def test_recipes_are_complete(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    # Every setting of the stage is written in its recipe; what is printed is the recipe that is trained.
    written, recipe = yaml.safe_load(named_recipes()[name].read_text()), load_recipe(name)
    sections = recipe.sections.model_dump(mode="json")
    assert {key: value for key, value in written.items() if key not in ("stage", "train")} == sections
    assert run(["train", name, "--print-config", "--set", "train.seed=5"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == load_recipe(name, ["train.seed=5"]).values()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "flo",
            f"train flo: expected one of {', '.join(named_recipes())}",
        ),
        ("flo", "did you mean flow?"),
        ("flow --set train.stepz=3", "unknown setting train.stepz; did you mean train.steps?"),
        ("flow --config {geometry}", "expected a recipe of the stage flow, found one of geometry"),
        ("flow --config missing.yaml", "missing.yaml: no such file"),
        ("flow --devices many", "--devices many: expected a number of at least 1, or auto"),
    ],
)
def test_wrong_calls(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = arguments.format(geometry=named_recipes()["geometry"]).split()
    assert run(["train", *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert message in said.err


def test_help_names_the_recipes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TERMINAL_WIDTH", "160")
    assert run(["train", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"What to train: {', '.join(named_recipes())}." in shown


class Steps:
    """A loss of the flow stage in which something happens at a step, in place of the real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.real = FlowStage.loss
        monkeypatch.setattr(FlowStage, "loss", lambda stage, batch, step: self.loss(stage, batch, step))
        monkeypatch.setattr(FlowStage, "validate", lambda stage: {"epe_moving": 1.5})
        self.interrupt_at = self.nan_at = -1

    def loss(self, stage: FlowStage, batch: object, step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if step == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        loss, metrics = self.real(stage, batch, step)
        return (loss * float("nan") if step == self.nan_at else loss), metrics


SHORT = [*FLOW, "train.steps=3", "train.warmup_steps=0", "train.checkpoint_every=1", "train.log_every=1"]


def test_interrupt_and_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # --resume where nothing is begins and says so. Ctrl-C: one sentence and 130; --resume ends the run and says where
    # the weights are; another start is refused.
    steps = Steps(monkeypatch)
    steps.interrupt_at = 1
    command = ["train", "flow", "--out", str(tmp_path / "run"), *sets(*SHORT)]
    assert run([*command, "--resume"]) == 130
    said = capsys.readouterr().err
    assert f"warning: {tmp_path / 'run'}: no checkpoint there to go on from, this run begins at step 0\n" in said
    assert "error: stopped after step 2 of 3; resume goes on from" in said
    steps.interrupt_at = -1
    assert run(command) == 1
    assert "the folder holds a run; resume it or choose another folder" in capsys.readouterr().err
    assert run([*command, "--resume"]) == 0
    best = tmp_path / "run" / "best.safetensors"
    assert capsys.readouterr().out == f"weights: {best}\nheld out after step 3: epe_moving 1.5\n"
    assert best.is_file()


def test_a_dry_run_looks_whether_it_could_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "run"
    assert run(["train", "graph", "--dry-run", "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"error: {out}: cannot write there (Not a directory)\n")


def test_a_run_that_fails_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Steps(monkeypatch).nan_at = 1
    assert run(["train", "flow", "--out", str(tmp_path / "run"), *sets(*SHORT)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1].startswith("error: step 2: the loss is nan (before: loss")


def test_a_config_trains_in_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Steps(monkeypatch)
    Path("mine.yaml").write_text(load_recipe("flow", ["train.accelerator=cpu", *SHORT, "train.steps=1"]).text())
    assert run(["train", "flow", "--config", "mine.yaml", "--devices", "1"]) == 0
    assert Path("runs/mine/best.safetensors").is_file()
    assert capsys.readouterr().out.startswith(f"weights: {Path('runs/mine/best.safetensors')}\n")


def train_until_killed(arguments: list[str]) -> None:
    """Train in a process that is killed in its third step."""
    torch.set_num_threads(1)
    real = FlowStage.loss

    def loss(stage: FlowStage, batch: object, step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if step == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(stage, batch, step)

    FlowStage.loss = loss
    FlowStage.validate = lambda stage: {"epe_moving": 1.5}
    run(arguments)


def test_a_killed_run_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_workers: BaseContext
) -> None:
    # Killed in the third step, behind a checkpoint of the second.
    def command(name: str) -> list[str]:
        return ["train", "flow", "--out", str(tmp_path / name), *sets(*SHORT)]

    process = quick_workers.Process(target=train_until_killed, args=(command("killed"),), daemon=True)
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    Steps(monkeypatch)
    assert run([*command("killed"), "--resume"]) == 0
    assert run(command("whole")) == 0
    last = Path("checkpoints") / "step-00000003" / "weights.safetensors"
    resumed, whole = (load_file(tmp_path / name / last) for name in ("killed", "whole"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_errors_of_geometry_are_sentences(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # Of any command, without a traceback; other errors are left alone.
    def fail(error: Exception) -> None:
        raise error

    monkeypatch.setattr("scenegraph_track.cli.info.collect", lambda: fail(GeometryError("expected a flow, found none")))
    assert run(["info"]) == 1
    assert capsys.readouterr().err == "error: expected a flow, found none\n"
    monkeypatch.setattr("scenegraph_track.training.settings.load_recipe", lambda *_: fail(GeometryError("no such net")))
    assert run(["train", "flow"]) == 2
    assert capsys.readouterr().err == "error: no such net\n"
    monkeypatch.setattr("scenegraph_track.cli.info.collect", lambda: fail(ValueError("a mistake of ours")))
    with pytest.raises(ValueError, match="a mistake of ours"):
        run(["info"])

"""The training loop: exact resume after a kill, processes that agree, and runs that stop by themselves."""

from __future__ import annotations

import math
import os
import signal
import socket
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scenegraph_track.training.checkpoints import load_state
from scenegraph_track.training.interrupts import TrainingInterrupted
from scenegraph_track.training.loop import TrainingFailed, _told_of_workers
from scenegraph_track.training.monitor import read_log
from scenegraph_track.training.run import run_training
from scenegraph_track.training.settings import load_recipe
from scenegraph_track.training.stage import STAGES


def train_tiny(recipe: Path, out: Path, environment: dict[str, str]) -> None:
    """What a process of its own does."""
    if "TINY_STAGE_TERMINATE_AT" in environment:
        os.setsid()  # what is sent to its group is not sent to this one
    os.environ.update(environment)
    torch.set_num_threads(1)
    STAGES["tiny"] = "tiny_stage:TinyStage"
    run_training(recipe, out=out)


def start(context: BaseContext, recipe: Path, out: Path, daemon: bool = True, **environment: str) -> BaseProcess:
    given = recipe, out, environment | {"CUDA_VISIBLE_DEVICES": ""}
    process = context.Process(target=train_tiny, args=given, daemon=daemon)
    process.start()
    return process


def weights(out: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(out / "checkpoints" / f"step-{step:08d}" / "weights.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_killed_run_goes_on_to_the_same_bits(tiny: Path, tmp_path: Path, quick_workers: BaseContext) -> None:
    # killed in the tenth step, two steps behind a checkpoint; averaged weights, dropout, moments and log are the same
    killed = start(quick_workers, tiny, tmp_path / "killed", TINY_STAGE_KILL_AT="19")
    killed.join(300)
    assert killed.exitcode == -signal.SIGKILL
    assert sorted(p.name for p in (tmp_path / "killed" / "checkpoints").iterdir()) == ["step-00000004", "step-00000008"]
    run_training(tiny, out=tmp_path / "killed", resume=True)
    run_training(tiny, out=tmp_path / "whole")
    assert same(weights(tmp_path / "killed", 12), weights(tmp_path / "whole", 12))
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("killed", "whole")]
    timeless = [[{k: v for k, v in entry.items() if k != "steps_per_second"} for entry in log] for log in logs]
    assert [entry["step"] for entry in timeless[0]] == [3, 4, 6, 8, 9, 12, 12]
    # the entry of step 9 is a mean over the steps since the log or the resume before it; all others are the same
    assert [e for e in timeless[0] if e["step"] != 9] == [e for e in timeless[1] if e["step"] != 9]
    states = [load_state(tmp_path / name / "checkpoints" / "step-00000012") for name in ("killed", "whole")]
    assert states[0][0] == states[1][0]
    assert same(states[0][1]["modules"], states[1][1]["modules"])


def test_the_same_seed_gives_the_same_bits_and_another_one_others(tiny: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_training(tiny, [f"train.seed={seed}"], tmp_path / name)
    assert same(weights(tmp_path / "a", 12), weights(tmp_path / "b", 12))
    assert not same(weights(tmp_path / "a", 12), weights(tmp_path / "c", 12))


def test_two_processes_agree_with_one(tiny: Path, tmp_path: Path, quick_workers: BaseContext) -> None:
    # the batch of 8 is shared, gradients are averaged over processes and over two accumulated batches
    tiny.write_text(tiny.read_text().replace("dropout: 0.2", "dropout: 0.0"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    # what torchrun tells the processes that it starts
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    group |= {"GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "two"}
    ranks = [start(quick_workers, tiny, tmp_path / "two", RANK=k, LOCAL_RANK=k, **group) for k in "01"]
    for process in ranks:
        process.join(300)
    assert [process.exitcode for process in ranks] == [0, 0]
    run_training(tiny, out=tmp_path / "one")
    one = weights(tmp_path / "one", 12)
    for name, found in weights(tmp_path / "two", 12).items():
        torch.testing.assert_close(found, one[name], rtol=1e-5, atol=1e-6)
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("one", "two")]
    assert logs[1][0]["loss"] == pytest.approx(logs[0][0]["loss"], rel=1e-5)  # the mean over processes is logged
    assert [entry["step"] for entry in logs[1]] == [entry["step"] for entry in logs[0]]


def test_the_loop_is_a_plain_loop(tiny: Path, tmp_path: Path) -> None:
    # the same in a few lines of torch: mean of two batches, clipping, AdamW in groups, warm-up and cosine, averaging
    run_training(tiny, ["dropout=0.0", "train.clip_norm=0.5", "train.checkpoint_every=6"], tmp_path / "run")
    recipe = load_recipe(tiny, ["dropout=0.0"])
    torch.manual_seed(0)
    stage = recipe.create_stage()
    embed, head = stage.embed, stage.head
    groups = [([embed.weight], 1, 0.01), ([embed.bias], 1, 0), ([head.weight], 0.5, 0.01), ([head.bias], 0.5, 0)]
    optimiser = torch.optim.AdamW([{"params": p, "weight_decay": decay} for p, _, decay in groups])
    parameters = [*embed.parameters(), *head.parameters()]
    average = [p.detach().clone() for p in parameters]
    batches = stage.batches(0, 1, 0)
    for step in range(12):
        fallen = (step - 3) / 9
        rate = (step + 1) / 4 if step < 3 else 0.01 + 0.99 * (1 + math.cos(math.pi * fallen)) / 2
        for group, (_, factor, _) in zip(optimiser.param_groups, groups):
            group["lr"] = 0.05 * rate * factor
        optimiser.zero_grad()
        (sum(stage.loss(next(batches), step)[0] for _ in range(2)) / 2).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        optimiser.step()
        decay = min(0.9, (1 + step) / (10 + step))
        average = [decay * a + (1 - decay) * p.detach() for a, p in zip(average, parameters)]
    found = weights(tmp_path / "run", 12)
    for name, expected in zip(("embed.weight", "embed.bias", "head.weight", "head.bias"), average):
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-6)


def test_training_makes_the_error_smaller(tiny: Path, tmp_path: Path) -> None:
    run_training(tiny, ["train.steps=150", "train.validate_every=50", "dropout=0.0"], tmp_path / "run")
    errors = [entry["val/error"] for entry in read_log(tmp_path / "run" / "log.jsonl") if "val/error" in entry]
    assert len(errors) == 3
    assert errors[-1] < 0.15


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("nan_at=6", "step 7: the loss is nan (before: loss"),
        ("explode_at=6", "step 7: the norm of the gradient is nan (before: loss"),
    ],
)
def test_a_loss_that_is_no_number_stops_the_run(tiny: Path, tmp_path: Path, setting: str, message: str) -> None:
    out = tmp_path / "run"
    with pytest.raises(TrainingFailed) as failed:
        run_training(tiny, [setting], out)
    assert str(failed.value).startswith(message)
    assert str(failed.value).endswith(f"the last good checkpoint is {out / 'checkpoints' / 'step-00000004'}")
    assert all(value.isfinite().all() for value in weights(out, 4).values())


def test_a_loss_that_is_no_number_at_once(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="step 1: the loss is nan; no checkpoint was written before"):
        run_training(tiny, ["nan_at=0"], tmp_path / "run")


def test_a_collapse_stops_the_run(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="step 3: collapse: the error is too small to be true"):
        run_training(tiny, ["collapse_below=1000.0"], tmp_path / "run")


def test_interrupt_writes_a_checkpoint_and_the_run_goes_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ctrl-C in the sixth step lets it end; the run that goes on gives the same bits
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setenv("TINY_STAGE_INTERRUPT_AT", "10")
        with pytest.raises(
            TrainingInterrupted, match=r"stopped after step 6 of 12; resume goes on from .*step-00000006"
        ):
            run_training(tiny, out=tmp_path / "stopped")
    assert signal.getsignal(signal.SIGINT) is before
    run_training(tiny, out=tmp_path / "stopped", resume=True)
    run_training(tiny, out=tmp_path / "whole")
    assert same(weights(tmp_path / "stopped", 12), weights(tmp_path / "whole", 12))


def test_sigterm_to_all_processes_of_a_run_leaves_a_checkpoint(
    tiny: Path, tmp_path: Path, quick_workers: BaseContext
) -> None:
    # as schedulers send it: the process that prepares batches gets it too; the run that goes on gives the same bits
    tiny.write_text(tiny.read_text().replace("batch_size: 8", "batch_size: 8\n  workers: 1"))
    stopped = start(quick_workers, tiny, tmp_path / "stopped", daemon=False, TINY_STAGE_TERMINATE_AT="10")
    stopped.join(300)
    assert stopped.exitcode == 1, "interrupted, by an exception"
    assert [p.name for p in sorted((tmp_path / "stopped" / "checkpoints").iterdir())][-1] == "step-00000006"
    run_training(tiny, out=tmp_path / "stopped", resume=True)
    run_training(tiny, out=tmp_path / "whole")
    assert same(weights(tmp_path / "stopped", 12), weights(tmp_path / "whole", 12))


def test_mixed_precision_leaves_the_batch_as_it_is(tiny: Path, tmp_path: Path) -> None:
    best = run_training(tiny, ["train.precision=bf16-mixed"], tmp_path / "run")  # the stage checks what it is given
    assert all(value.dtype == torch.float32 for value in load_file(best).values())


def test_a_stage_that_runs_out_of_batches(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tiny: expected endless batches, found none behind number 4"):
        run_training(tiny, ["batches=5"], tmp_path / "run")


def test_a_process_that_prepares_batches_and_dies_is_one_sentence() -> None:
    # Torch raises it wherever the run is; other errors are left alone.
    with (
        pytest.raises(TrainingFailed, match="graph: a process that prepares batches has died"),
        _told_of_workers("graph"),
    ):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
    with pytest.raises(RuntimeError, match="a mistake of ours"), _told_of_workers("graph"):
        raise RuntimeError("a mistake of ours")

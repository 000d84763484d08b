"""The log of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from scenegraph_track.training.monitor import Means, Monitor, read_log


def test_means_are_taken_over_batches_and_start_anew() -> None:
    fabric, means = Fabric(accelerator="cpu", devices=1), Means()
    means.add({"loss": torch.tensor(1.0), "b": torch.tensor(2)})
    means.add({"loss": torch.tensor(4.0), "b": torch.tensor(2)})
    assert means.take(fabric) == {"loss": 2.5, "b": 2.0}
    means.add({"loss": torch.tensor(7.0)})
    assert means.take(fabric) == {"loss": 7.0}


def test_a_resumed_run_drops_later_entries_and_a_torn_line(tmp_path: Path) -> None:
    with Monitor(tmp_path, "tiny", 10, 0, enabled=True) as monitor:
        for step in (1, 2, 3):
            monitor.log(step, {"loss": float(step)})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert len(read_log(tmp_path / "log.jsonl")) == 3
    with Monitor(tmp_path, "tiny", 10, 2, enabled=True) as monitor:
        monitor.validation(3, {"val/loss": 0.5})
    assert [entry["step"] for entry in read_log(tmp_path / "log.jsonl")] == [1, 2, 3]
    assert read_log(tmp_path / "log.jsonl")[2] == {"step": 3, "val/loss": 0.5}


def test_other_processes_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Monitor(tmp_path, "tiny", 10, 0, enabled=False) as monitor:
        monitor.log(1, {"loss": 1.0})
        monitor.say("nothing")
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().err == ""


def test_tensorboard_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Monitor(tmp_path, "tiny", 10, 0, enabled=True) as monitor:
        monitor.log(1, {"loss": 0.5})
        monitor.validation(1, {"val/loss": 0.25})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Scalars("train/loss")[0].value == 0.5
    assert events.Scalars("val/loss")[0].value == 0.25

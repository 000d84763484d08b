"""A run that is killed or interrupted in the middle loses nothing that is finished, and goes on."""

from __future__ import annotations

import os
import signal
import time
from itertools import count
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest

from scenegraph_track.cli.app import run
from scenegraph_track.data.streams import simulate, write_mot
from scenegraph_track.tracking.tracker import Tracker

SHORT, LONG = "street-train-000000", "street-train-000001"


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One short sequence, then one that takes long."""
    folder = tmp_path_factory.mktemp("data") / "split"
    write_mot(simulate("street", 0, frames=10, objects=3), folder)
    write_mot(simulate("street", 1, frames=160, objects=8), folder)
    return folder


def arguments(split: Path, out: Path) -> list[str]:
    return ["track", str(split), "--save-graph", "--out", str(out)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(split: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run leaves that nothing stops."""
    out = tmp_path_factory.mktemp("whole")
    assert run(arguments(split, out)) == 0
    return contents(out)


def goes_on(split: Path, out: Path, whole: dict[str, bytes]) -> None:
    """The short sequence was finished and is not made again; the long one had left nothing, and is made as ever."""
    finished = {path: path.stat().st_mtime_ns for path in out.glob(f"{SHORT}*")}
    assert len(finished) == 3
    assert not list(out.glob(f"{LONG}*"))
    assert run(arguments(split, out)) == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert contents(out) == whole


@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_in_the_middle(
    split: Path, whole: dict[str, bytes], tmp_path: Path, workers: str, quick_workers: BaseContext
) -> None:
    process = quick_workers.Process(target=run, args=([*arguments(split, tmp_path), "--workers", workers, "-q"],))
    process.start()
    first, working = tmp_path / f"{SHORT}.run.json", tmp_path / f".{LONG}.unfinished"
    deadline = time.monotonic() + 300
    while not (first.exists() and working.exists()) and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    while workers == "2" and working.exists() and time.monotonic() < deadline and _writes(working):
        time.sleep(0.05)  # a worker ends when it sees that its parent is gone
    goes_on(split, tmp_path, whole)


@pytest.mark.usefixtures("ctrl_c")
def test_interrupted_in_the_middle(
    split: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step, steps = Tracker.step, count()

    def interrupted(*given):
        if next(steps) == 50:  # in the second sequence
            os.kill(os.getpid(), signal.SIGINT)
        return step(*given)

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "step", interrupted)
        assert run(arguments(split, tmp_path)) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: interrupted")
    assert not (tmp_path / f".{LONG}.unfinished").exists()
    goes_on(split, tmp_path, whole)


def _writes(folder: Path) -> bool:
    """Whether somebody still writes into a folder."""

    def sizes() -> list[int]:
        return [path.stat().st_size for path in folder.iterdir()]

    before = sizes()
    time.sleep(0.3)
    return sizes() != before

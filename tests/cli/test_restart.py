"""A run that is killed or interrupted in the middle loses nothing that is finished, and goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scenegraph_track.cli.app import run
from scenegraph_track.data.streams import simulate, write_mot

COMMAND = "import sys; from scenegraph_track.cli import main; sys.argv[0] = 'scenegraph-track'; main()"


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One short sequence, then one that takes long."""
    folder = tmp_path_factory.mktemp("data") / "split"
    write_mot(simulate("street", 0, frames=10, objects=3), folder)
    write_mot(simulate("street", 1, frames=700, objects=8), folder)
    return folder


@pytest.mark.parametrize(
    ("how", "workers", "code"), [(signal.SIGKILL, "1", -9), (signal.SIGKILL, "2", -9), (signal.SIGINT, "1", 130)]
)
def test_stopped_in_the_middle(split: Path, tmp_path: Path, how: signal.Signals, workers: str, code: int) -> None:
    arguments = ["track", str(split), "--save-graph", "--out", str(tmp_path / "out"), "--workers", workers]
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
    first = tmp_path / "out" / "street-train-000000.run.json"
    working = tmp_path / "out" / ".street-train-000001.unfinished"
    deadline = time.monotonic() + 60
    while not (first.exists() and working.exists()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(how)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == code
    finished = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("street-train-000000*")}
    assert len(finished) == 3
    assert not list((tmp_path / "out").glob("street-train-000001*"))
    if how == signal.SIGINT:
        assert said.splitlines()[-1].startswith("error: interrupted") and "Traceback" not in said
        assert not working.exists()
    while workers == "2" and working.exists() and time.monotonic() < deadline and _writes(working):
        time.sleep(0.05)  # a worker ends when it sees that its parent is gone

    assert run(arguments) == 0
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in finished} == finished
    assert run(["track", str(split), "--save-graph", "--out", str(tmp_path / "whole")]) == 0
    whole, again = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("whole", "out"))
    assert whole == again


def _writes(folder: Path) -> bool:
    """Whether somebody still writes into a folder."""

    def sizes() -> list[int]:
        return [path.stat().st_size for path in folder.iterdir()]

    before = sizes()
    time.sleep(0.3)
    return sizes() != before

"""Work spread over processes and over Ray: the same results whoever works, and whoever dies."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer

from scenegraph_track.cli.app import run
from scenegraph_track.cli.crew import RETRIES, Crew, Died, execute, parse_crew
from scenegraph_track.cli.manifest import Manifest, read_manifest
from scenegraph_track.cli.spread import _Without, spread
from scenegraph_track.data.streams import simulate, write_mot
from scenegraph_track.errors import UserError

NAMES = [f"street-train-{seed:06d}" for seed in range(3)]
VICTIM = NAMES[1]


@pytest.mark.parametrize("text", ["1", "4", "ray:2", "ray:12@auto", "ray:3@10.0.0.1:6379"])
def test_a_crew_reads_as_it_is_written(text: str) -> None:
    assert str(parse_crew(text)) == text


@pytest.mark.parametrize("text", ["0", "-1", "two", "ray", "ray:0", "4@auto", ""])
def test_no_crew(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected a number, ray:NUMBER"):
        parse_crew(text)


@pytest.mark.usefixtures("quick_workers")
def test_results_come_in_order() -> None:
    assert list(spread(math.factorial, [9, 1, 5, 3], 3)) == list(spread(math.factorial, [9, 1, 5, 3], Crew()))


@pytest.mark.usefixtures("quick_workers")
def test_what_is_raised_in_a_process_is_raised_here() -> None:
    with pytest.raises(ValueError, match="negative"):
        list(spread(math.factorial, [1, -1], 2))


@pytest.mark.usefixtures("quick_workers")
def test_what_always_dies_is_given_up() -> None:
    # Every death is told, so many and no more; as a sentence where results are wanted in order.
    told = list(execute(_Without(os._exit), [3, 3], Crew(2)))
    assert all(isinstance(one, Died) for one in told)
    for index in (0, 1):
        assert [one.deaths for one in told if one.index == index] == list(range(1, RETRIES + 2))
    assert sum(one.given_up for one in told) == 2
    with pytest.raises(UserError, match=f"died {RETRIES + 1} times"):
        list(spread(os._exit, [3, 3], 2))


def test_a_manifest_keeps_the_lines_of_earlier_calls(tmp_path: Path) -> None:
    for names in (["b", "a"], ["c", "b"]):
        manifest = Manifest(tmp_path)
        manifest.begin(names, {"z": 7})
        manifest.tell("b", state="done", frames=len(names))
        manifest.write()
    lines = read_manifest(tmp_path / "manifest.jsonl")
    states = {"a": "waiting", "b": "done", "c": "waiting", "z": "done"}
    assert {line["sequence"]: line["state"] for line in lines} == states
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]
    (tmp_path / "manifest.jsonl").write_text("{half a li")
    assert Manifest(tmp_path).lines == {}


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short sequences, and one that takes long enough to be interrupted."""
    folder = tmp_path_factory.mktemp("data") / "split"
    for seed, frames in enumerate((10, 140, 10)):
        write_mot(simulate("street", seed, frames=frames, objects=5), folder)
    return folder


@pytest.fixture(scope="module")
def alone(split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of them."""
    out = tmp_path_factory.mktemp("alone")
    assert run(["track", str(split), "--out", str(out), "--save-graph", "-q"]) == 0
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.jsonl"}


@contextmanager
def murder(folder: Path) -> Iterator[list[int]]:
    """While the block runs, the first process that holds a file of a folder open is killed."""
    killed: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not killed and not over.is_set():
            killed.extend(pid for pid in holders(folder) if pid != os.getpid())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield killed
    finally:
        over.set()
        watcher.join()


def holders(folder: Path) -> set[int]:
    """The processes that have a file of a folder open."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*") if folder.is_dir() else ():
        try:
            target = link.readlink()
        except OSError:
            continue
        if folder in target.parents:
            found.add(int(link.parts[2]))
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="sees in /proc who works on what")
@pytest.mark.usefixtures("quick_workers")
@pytest.mark.parametrize("workers", ["2", pytest.param("ray:2", marks=pytest.mark.slow)])
def test_a_worker_that_is_killed_changes_nothing(
    split: Path, alone: Path, tmp_path: Path, workers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # The sequence is begun anew, the others are not; the manifest says so, and the next call finds nothing to do.
    if workers.startswith("ray"):
        pytest.importorskip("ray")
    command = ["track", str(split), "--out", str(tmp_path), "--save-graph", "--workers", workers]
    with murder(tmp_path / f".{VICTIM}.unfinished") as killed:
        assert run(command) == 0
    assert len(killed) == 1
    assert f"{VICTIM}: the process that worked on it died; it is begun anew" in capsys.readouterr().err
    assert contents(tmp_path) == contents(alone)
    lines = {line["sequence"]: line for line in read_manifest(tmp_path / "manifest.jsonl")}
    assert {name: line["state"] for name, line in lines.items()} == dict.fromkeys(NAMES, "done")
    assert {name: line["retried"] for name, line in lines.items()} == {n: int(n == VICTIM) for n in NAMES}
    assert run(command) == 0
    assert "3 of 3 sequences are finished already" in capsys.readouterr().err


@pytest.mark.usefixtures("quick_workers")
def test_figures_do_not_depend_on_workers(split: Path, alone: Path, tmp_path: Path) -> None:
    written = []
    for workers in "12":
        path = tmp_path / f"{workers}.json"
        assert run(["eval", str(split), "--results", str(alone), "--json", str(path), "--workers", workers]) == 0
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_without_ray(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # One sentence says what to install.
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(["track", str(split), "--out", str(tmp_path), "--workers", "ray:2"]) == 1
    assert "Ray is not installed: pip install" in capsys.readouterr().err

"""Identities through occlusion, judged from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from scenegraph_track.cli.app import run

HIDDEN = range(11, 24)  # 1.3 s


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sequences, ten frames a second: in each, object 1 is hidden for 1.3 s, object 2 never."""
    for name in ("a", "b"):
        folder = tmp_path / "data" / name
        (folder / "gt").mkdir(parents=True)
        (folder / "seqinfo.ini").write_text("[Sequence]\nframeRate=10\nseqLength=40\n")
        rows = [f"{t},1,10,10,20,40,1,1,{0.0 if t in HIDDEN else 1.0}" for t in range(1, 41)]
        rows += [f"{t},2,200,10,20,40,1,1,1" for t in range(1, 41)]
        (folder / "gt" / "gt.txt").write_text("\n".join(rows))
    return tmp_path / "data"


def results(folder: Path, after: int, other: int) -> Path:
    """Identity 5 on object 1 while it is seen before, then ``after``; on object 2 none before, then ``other``."""
    folder.mkdir(parents=True)
    rows = [f"{t},{5 if t < 11 else after},10,10,20,40,1" for t in range(1, 41) if t not in HIDDEN]
    rows += [f"{t},{other},200,10,20,40,1" for t in range(24, 41)]
    for name in ("a", "b"):
        (folder / f"{name}.txt").write_text("\n".join(rows))
    return folder


def figures(arguments: list[str], tmp_path: Path) -> dict[str, Any]:
    assert run(["eval", "occlusion", *arguments, "--json", str(tmp_path / "f.json"), "--overwrite"]) == 0
    text = (tmp_path / "f.json").read_text()
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))["results"]


def test_results_side_by_side(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # One keeps the identity, the other gives it to the other object.
    good, bad = results(tmp_path / "good", 5, 6), results(tmp_path / "bad", 6, 5)
    found = figures([str(data), "--results", str(good), "--results", str(bad)], tmp_path)
    assert list(found) == ["good", "bad"]
    for name, kept, false in (("good", 100, 0), ("bad", 0, 2)):
        one = found[name]
        assert (one["episodes"], one["kept"], one["switched"]) == (2, kept, 100 - kept)
        assert one["seconds"]["1-2 s"]["kept"] == one["hidden"]["entirely"]["kept"] == kept
        assert (one["gaps"], one["false_reidentifications"], one["false_per_100_gaps"]) == (2, false, 50 * false)
        assert one["seconds"]["2-5 s"]["kept"] is None
    said = capsys.readouterr()
    lines = [line.split() for line in said.out.splitlines()]
    assert ["bad", "-", "-", "0", "/", "100", "/", "0", "-", "-", "0", "/", "100", "/", "0", "0"] in lines
    assert "100.0 (2 / 2)" in said.out and "false re-identification: " in said.out
    assert said.err == ""


def test_names(data: Path, tmp_path: Path) -> None:
    # A file for one sequence; folders of the same name are told apart by their paths.
    one = results(tmp_path / "x" / "run", 5, 6)
    two = results(tmp_path / "y" / "run", 6, 7)
    assert list(figures([str(data), "--results", str(one), "--results", str(two)], tmp_path)) == [str(one), str(two)]
    assert list(figures([str(data / "a"), "--results", str(one / "a.txt")], tmp_path)) == ["a"]


def test_assumed_frame_rate_is_said(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "b" / "seqinfo.ini").unlink()
    found = figures([str(data), "--results", str(results(tmp_path / "r", 5, 6))], tmp_path)["r"]
    assert [found["seconds"][name]["episodes"] for name in ("0-0.5 s", "1-2 s")] == [1, 1]
    assert "b: nothing tells the frame rate; 30 per second is assumed" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_plot(data: Path, tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / f"p.{ending}"
    figures([str(data), "--results", str(results(tmp_path / "r", 5, 6)), "--plot", str(picture)], tmp_path)
    start = picture.read_bytes()[:200]
    assert start.startswith(b"\x89PNG") if ending == "png" else b"<?xml" in start


def test_plot_without_matplotlib(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    folder = results(tmp_path / "r", 5, 6)
    assert run(["eval", "occlusion", str(data), "--results", str(folder), "--plot", "p.png"]) == 2
    assert capsys.readouterr().err == "error: p.png: drawing curves needs matplotlib (pip install matplotlib)\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("missing --results good", 2, "missing: no such file or folder"),
        ("good --results good", 2, "good is neither a video or image file"),
        ("data --results good --results none", 2, "none: expected a folder with <sequence>.txt for 2 sequences"),
        ("data --results good --plot p.gif", 2, "p.gif: expected a file ending in .pdf, .png, .svg"),
        ("data", 2, "expected --results DIR"),
        ("data --results broken", 1, "a.txt:2: expected a frame from 1 to 40, found frame 41"),
    ],
)
def test_one_sentence(
    arguments: str,
    code: int,
    message: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    results(tmp_path / "good", 5, 6)
    (results(tmp_path / "broken", 5, 6) / "a.txt").write_text("1,1,0,0,9,9,1\n41,1,0,0,9,9,1\n")
    assert run(["eval", "occlusion", *arguments.split()]) == code
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert message in said.err

"""The demo: one command from nothing to a video, a graph file and figures."""

from __future__ import annotations

import json
from pathlib import Path

import av
import networkx as nx
import pytest

from scenegraph_track.cli import demo as module
from scenegraph_track.cli.app import run
from scenegraph_track.graph.export import read_jsonl

FRAMES = 14


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRAMES", FRAMES)
    monkeypatch.setattr(module, "SIZE", (160, 96))


def test_everything_is_there_opens_and_follows_from_the_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A demo may be made again in its own folder.
    def contents() -> dict[str, bytes]:
        return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}

    out = tmp_path / "demo"
    assert run(["demo", "--out", str(out)]) == 0
    with av.open(str(out / "scene.mp4")) as video:
        assert video.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in video.decode(video=0)) == FRAMES
    assert len(list(read_jsonl(out / "scene.graph.jsonl"))) == FRAMES
    assert len(nx.read_graphml(out / "frame.graphml")) > 0
    figures = json.loads((out / "figures.json").read_text())
    assert figures["Frames"] == FRAMES and figures["TP"] > 0
    said = capsys.readouterr().out
    for path in (p for p in out.iterdir() if p.suffix != ".json" or p.name == "figures.json"):
        assert str(path) in said
    assert "scenegraph-track track VIDEO" in said
    first = contents()
    assert run(["demo", "--out", str(out)]) == 0
    assert contents() == first
    assert run(["demo", "--out", str(out), "--seed", "5"]) == 0
    assert contents() != first


def test_other_folders_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    assert run(["demo", "--out", str(tmp_path)]) == 2
    assert "the folder holds other things than a demo" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

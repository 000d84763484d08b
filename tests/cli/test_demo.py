"""The demo: one command from nothing to a video, a graph file and figures."""

from __future__ import annotations

import json
from pathlib import Path

import av
import networkx as nx
import numpy as np
import pytest

from scenegraph_track.cli import demo as module
from scenegraph_track.cli.app import run
from scenegraph_track.graph.export import read_jsonl


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRAMES", 40)
    monkeypatch.setattr(module, "SIZE", (256, 144))


def test_everything_is_there_and_opens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert run(["demo", "--out", str(out)]) == 0
    with av.open(str(out / "scene.mp4")) as video:
        assert video.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in video.decode(video=0)) == 40
    assert len(list(read_jsonl(out / "scene.graph.jsonl"))) == 40
    assert len(nx.read_graphml(out / "frame.graphml")) > 0
    figures = json.loads((out / "figures.json").read_text())
    assert figures["Frames"] == 40 and figures["HOTA"] > 50
    said = capsys.readouterr().out
    for path in (p for p in out.iterdir() if p.suffix != ".json" or p.name == "figures.json"):
        assert str(path) in said
    assert "scenegraph-track track VIDEO" in said


def test_seed_decides_every_byte(tmp_path: Path) -> None:
    # A demo may be made again in its own folder.
    def contents() -> dict[str, bytes]:
        return {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    assert run(["demo", "--out", str(tmp_path)]) == 0
    first = contents()
    assert run(["demo", "--out", str(tmp_path)]) == 0
    assert contents() == first
    assert run(["demo", "--out", str(tmp_path), "--seed", "5"]) == 0
    assert contents() != first


def test_other_folders_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    assert run(["demo", "--out", str(tmp_path)]) == 2
    assert "the folder holds other things than a demo" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_simulated_detector_misses_what_is_hidden() -> None:
    class Frame:
        visible_fraction = np.float32([1.0, 0.1, 0.8, 0.0])
        visible_boxes = np.float32([[0, 0, 40, 80], [50, 0, 55, 80], [100, 0, 140, 80], [0, 0, 0, 0]])

    found = [module.detect(Frame(), np.random.default_rng(seed)) for seed in range(200)]
    assert np.mean([len(d) for d in found]) == pytest.approx(1.96, abs=0.05)
    boxes = np.concatenate([d.boxes.numpy() for d in found if len(d) == 2]).reshape(-1, 2, 4)
    assert np.abs(boxes.mean(0) - Frame.visible_boxes[[0, 2]]).max() < 0.5
    assert 0.3 < boxes.std(0).mean() < 2.0

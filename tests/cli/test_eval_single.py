"""Single targets, judged from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from scenegraph_track.cli.app import run
from scenegraph_track.data.single import write_boxes
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.evaluation import single_methods
from scenegraph_track.evaluation.single_baselines import ConstantPosition, NormalisedCorrelation
from scenegraph_track.evaluation.single_clips import world_clip, world_targets
from scenegraph_track.target import embedded

WORLDS = ["--sequences", "1", "--frames", "4", "--size", "96x72"]
SIMPLE = ("constant_position", "constant_velocity", "ncc")
FIGURES = ("ao", "sr50", "sr75", "auc", "precision20", "pnorm", "pnorm_area")


@pytest.fixture(autouse=True)
def no_target_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no trained target model shipped."""
    monkeypatch.setattr(embedded, "SHIPPED", tmp_path / "none.safetensors")


def figures(arguments: list[str], tmp_path: Path, name: str = "f.json") -> dict[str, Any]:
    assert run(["eval", "single", *arguments, "--json", str(tmp_path / name), "--overwrite"]) == 0
    return json.loads((tmp_path / name).read_text(), parse_constant=lambda one: pytest.fail(f"{one} in JSON"))


def test_baselines_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Figures of each baseline, in all and by sequence, a table, rules, a plot; the same bytes twice.
    files = ["--csv", str(tmp_path / "s.csv"), "--plot", str(tmp_path / "s.png")]
    found = figures([*WORLDS, "--preset", "standard", *files], tmp_path)
    for method in SIMPLE:
        assert all(0 <= found[f"{method}/{figure}"] <= 1 for figure in FIGURES)
    assert "ao" not in found and found["pixels"] == "continuous"
    assert found["measured_on"] == "worlds standard, test, 96x72"
    said = capsys.readouterr()
    assert "no trained target model ships" in said.err and "constant_velocity" in said.out
    assert "GOT-10k" in said.out and "pixels: continuous" in said.out and said.out.count("standard, test, 96x72") == 1
    with (tmp_path / "s.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["sequence"] for row in rows] == [*found["sequences"], "COMBINED"]
    assert float(rows[-1]["ncc/ao"]) == found["ncc/ao"]
    assert cv2.imread(str(tmp_path / "s.png")) is not None
    figures([*WORLDS], tmp_path, "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "f.json").read_bytes()


def test_target_model_beside_the_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another method stands in for it: its figures stand alone, those of the baselines beside.
    monkeypatch.setattr(single_methods, "target_method", lambda weights: NormalisedCorrelation())
    found = figures(WORLDS, tmp_path)
    assert found["ao"] == found["ncc/ao"] and found["auc"] == found["ncc/auc"]
    assert next(iter(found)) == "ao" and all(one["sr75"] >= 0 for one in found["sequences"].values())


def test_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # The table shows what belongs to the protocol; runs from anchors have figures of their own.
    monkeypatch.setattr(single_methods, "baseline_methods", lambda: {"constant_position": ConstantPosition()})
    every = figures(WORLDS, tmp_path)
    capsys.readouterr()
    shown = figures([*WORLDS, "--protocol", "otb", "--pixels", "inclusive"], tmp_path)
    said = capsys.readouterr().out
    assert "auc" in said and "sr50" not in said and "the last pixel of a box is x + width - 1" in said
    assert shown["constant_position/ao"] == pytest.approx(every["constant_position/ao"])
    vot = figures([*WORLDS, "--protocol", "vot"], tmp_path)
    said = capsys.readouterr().out
    assert 0 < vot["constant_position/eao"] <= 1 and vot["pixels"] == "inclusive" and "constant_position/ao" not in vot
    assert "lengths 1 to 3" in said and "whole pixels" in said and "accuracy" in said


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A target of a world as a sequence of OTB."""
    world = render(sample_scene("easy", "test", seed=1, size=(96, 72), frames=5))
    clip = world_clip(world, int(world_targets(world)[0]), "Seq")
    folder = tmp_path / "data" / "Seq"
    (folder / "img").mkdir(parents=True)
    for t, image in enumerate(clip.images):
        cv2.imwrite(str(folder / "img" / f"{t + 1:04d}.png"), image[..., ::-1])
    write_boxes(folder / "groundtruth_rect.txt", clip.boxes, origin=1.0)
    return tmp_path / "data"


def test_real_sequences_and_results(real: Path, tmp_path: Path) -> None:
    # The annotation itself as another tracker's results is right in every frame.
    them = tmp_path / "them"
    them.mkdir()
    (them / "Seq.txt").write_text((real / "Seq" / "groundtruth_rect.txt").read_text())
    found = figures([str(real), "--results", str(them)], tmp_path)
    assert found["them/ao"] == pytest.approx(1) and found["them/auc"] == pytest.approx(20 / 21)
    assert 0 < found["constant_position/ao"] < 1 and list(found["sequences"]) == ["Seq"]
    assert found["measured_on"] == "sequences data"


def test_truth_without_images(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Only results can be judged then; without them there is nothing to do.
    for image in (real / "Seq" / "img").iterdir():
        image.unlink()
    assert run(["eval", "single", str(real)]) == 1
    assert "there is nothing to measure" in capsys.readouterr().err
    them = tmp_path / "them"
    them.mkdir()
    boxes = (real / "Seq" / "groundtruth_rect.txt").read_text()
    (them / "Seq.txt").write_text(boxes)
    found = figures([str(real), "--results", str(them)], tmp_path)
    assert found["them/ao"] == pytest.approx(1) and "ncc/ao" not in found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NOWHERE"], "NOWHERE: no such file or folder"),
        (["--preset", "odd"], "--preset odd: expected one of easy"),
        (["--split", "odd"], "--split odd: expected one of train"),
        (["--protocol", "odd"], "--protocol odd: expected one of otb, lasot, got10k, tnl2k, vot"),
        (["--pixels", "odd"], "--pixels odd: expected one of continuous, inclusive"),
        (["--size", "odd"], "--size odd: expected WIDTHxHEIGHT"),
        ([".", "--sequences", "2"], "--sequences: goes with worlds, not with real sequences"),
        (["--plot", "a.gif"], "a.gif: expected a file ending in"),
        (["--protocol", "vot", "--plot", "a.png"], "--plot: goes with runs from the first frame"),
        (["--results", "odd"], "odd: expected a folder with <sequence>.txt"),
        (["--results", "ncc"], "ncc: there is another ncc already"),
        (["--weights", "embedded"], "weights embedded: no trained target model ships"),
    ],
)
def test_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ncc").mkdir()
    assert run(["eval", "single", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.startswith("error: ") and said.count("\n") == 1

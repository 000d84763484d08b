"""Points judged from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from scenegraph_track.cli.app import run
from scenegraph_track.occlusion import embedded
from scenegraph_track.occlusion.point_net import PointNet, PointNetSettings
from scenegraph_track.training.weights import save_weights

TINY = {
    "channels": (4, 6, 8),
    "features": 8,
    "dim": 16,
    "layers": 1,
    "heads": 2,
    "virtual": 3,
    "window": 4,
    "stride": 2,
}
WORLDS = ["--sequences", "2", "--size", "48x48", "--frames", "6"]
FIGURES = ["occlusion_accuracy", "delta_avg", "average_jaccard"]


def figures(arguments: list[str], tmp_path: Path) -> dict[str, Any]:
    assert run(["eval", "points", *arguments, "--json", str(tmp_path / "f.json")]) == 0
    return json.loads((tmp_path / "f.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    values = {f"points.{name}": value for name, value in PointNet(PointNetSettings(**TINY)).state_dict().items()}
    save_weights(tmp_path / "w.safetensors", values, {"recipe": {"point_net": TINY}})
    return str(tmp_path / "w.safetensors")


def test_the_tracker_beside_the_baselines(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Its figures stand alone, the better of each baseline beside them; a row a clip.
    found = figures([*WORLDS, "--weights", weights, "--csv", str(tmp_path / "f.csv")], tmp_path)
    methods = found["methods"]
    assert list(methods) == ["learned", "dis", "dis_lost", "lk", "lk_lost"]
    for name in FIGURES:
        assert found[name] == methods["learned"][name] and 0 <= found[name] <= 100
        for baseline in ("dis", "lk"):
            best = max(methods[baseline][name], methods[f"{baseline}_lost"][name])
            assert found[f"{name}_{baseline}"] == best and 0 < best <= 100
    assert found["clips"] == 2 and found["weights"] == weights and methods["learned"]["ms"] > 0
    said = capsys.readouterr()
    assert "learned" in said.out and "TAP-Vid" in said.out and said.err == ""
    with (tmp_path / "f.csv").open(newline="") as opened:
        names = [row["sequence"] for row in csv.DictReader(opened)]
    assert names == ["standard_test_0000", "standard_test_0001", "COMBINED"]


def test_baselines_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where no trained tracker ships: its figures are not there.
    monkeypatch.setattr(embedded, "SHIPPED", tmp_path / "none.safetensors")
    found = figures(["--sequences", "1", *WORLDS[2:]], tmp_path)
    assert list(found["methods"]) == ["dis", "dis_lost", "lk", "lk_lost"]
    assert all(found[name] is None and found[f"{name}_dis"] > 0 for name in FIGURES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NOWHERE"], "NOWHERE: no such folder"),
        (["--preset", "odd"], "--preset odd: expected one of easy"),
        (["--split", "odd"], "--split odd: expected one of train"),
        (["--size", "odd"], "odd"),
        (["--weights", "odd"], "odd: no such file of weights"),
    ],
)
def test_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["eval", "points", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.startswith("error: ") and said.count("\n") == 1

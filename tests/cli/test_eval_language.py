"""``eval language``, with a tiny untrained network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scenegraph_track.cli.app import run
from scenegraph_track.language.network import LanguageNetSettings, LanguageNetwork
from scenegraph_track.training.weights import save_weights

TINY = LanguageNetSettings(channels=(4, 6, 8), blocks=(0, 1), stages=2, heads=2, text_dim=8, tower=8)
WORLDS = ["--sequences", "2", "--frames", "3", "--size", "96x72"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "language.safetensors"
    state = {f"language.{name}": value for name, value in LanguageNetwork(TINY).state_dict().items()}
    save_weights(path, state, {"recipe": {"language_net": TINY.model_dump(mode="json")}})
    return str(path)


def test_figures(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", "language", *WORLDS, "--weights", weights]
    assert run([*arguments, "--json", str(tmp_path / "f.json"), "--csv", str(tmp_path / "f.csv")]) == 0
    found = json.loads((tmp_path / "f.json").read_text())
    for name in ("first_frame", "swap", "peak", "nothing", "accepted", "chance", "largest", "by/shape"):
        assert 0 <= found[name] <= 1
    assert found["queries"] >= 2 and found["measured_on"] == "2 test worlds (standard)"
    assert (tmp_path / "f.csv").read_text().count("\n") == 4
    said = capsys.readouterr().out
    assert "chance" in said and "largest object" in said and "swap:" in said


def test_real_sentences_are_read(weights: str, shared_data: Path, tmp_path: Path, capsys) -> None:
    """All parse and run; what is unknown of each is told."""
    file = shared_data / "tnl2k_sentences.txt"
    arguments = ["eval", "language", "--weights", weights, "--sentences", str(file)]
    assert run([*arguments, "--json", str(tmp_path / "f.json")]) == 0
    found = json.loads((tmp_path / "f.json").read_text())["sentences"]
    assert len(found) == len(file.read_text(encoding="utf-8").splitlines())
    assert found["BF5_FireGUN_video_01_done"]["unknown"] == ["flamethrower", "hand"]
    assert all(one["places"] >= 1 for one in found.values())
    assert "unknown words: flamethrower, hand" in capsys.readouterr().out


def test_wrong_options(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "language", "--split", "dev"]) == 2
    assert run(["eval", "language", "--weights", str(tmp_path / "none.safetensors")]) == 2
    said = capsys.readouterr().err
    assert "expected one of train, val, test" in said and "no such file" in said

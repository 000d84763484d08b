"""``eval single --text``: by box, by box and sentence, and by the sentence alone, with tiny untrained networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scenegraph_track.cli.app import run
from scenegraph_track.language.network import LanguageNetSettings, LanguageNetwork
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.training.weights import save_weights

TINY = LanguageNetSettings(channels=(4, 6, 8), blocks=(0, 1), stages=2, heads=2, text_dim=8, tower=8)
TARGET = TargetNetSettings(channels=(4, 6, 8), blocks=(0, 1), dim=8, layers=1, decoder_layers=1, view=32)


@pytest.fixture
def weights(tmp_path: Path) -> list[str]:
    torch.manual_seed(0)
    given = []
    for option, name, network, part in (
        ("--language", "language", LanguageNetwork(TINY), {"language_net": TINY.model_dump(mode="json")}),
        ("--weights", "target", TargetNetwork(TARGET), {"target_net": TARGET.model_dump(mode="json")}),
    ):
        state = {f"{name}.{key}": value for key, value in network.state_dict().items()}
        save_weights(tmp_path / f"{name}.safetensors", state, {"recipe": part})
        given += [option, str(tmp_path / f"{name}.safetensors")]
    return given


def test_rows_of_the_three_protocols(weights: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worlds = ["--sequences", "1", "--frames", "4", "--size", "96x72"]
    assert run(["eval", "single", "--text", *worlds, *weights, "--json", str(tmp_path / "f.json")]) == 0
    found = json.loads((tmp_path / "f.json").read_text())
    assert {"ao", "NL/ao", "NL+BBox/ao"} <= set(found) and "ncc/ao" not in found
    said = capsys.readouterr().out
    assert "NL+BBox" in said


def test_anchors_have_no_sentences(weights: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "single", "--text", "--protocol", "vot", *weights]) == 2
    assert "--text: goes with runs from the first frame" in capsys.readouterr().err

"""What the command says of the installation."""

from __future__ import annotations

import json

import pytest

from scenegraph_track.cli.app import run
from scenegraph_track.config import named_configs
from scenegraph_track.version import __version__


def test_info_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert list(facts) == ["versions", "system", "devices", "configurations", "weights"]
    assert facts["versions"]["scenegraph-track"] == __version__
    assert "missing" not in facts["versions"].values()
    assert "cpu" in facts["devices"]
    assert facts["configurations"]["reference"].endswith("reference.yaml")


def test_info_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # The same facts, a line each; where it is no terminal nothing is cut, whatever width is told.
    monkeypatch.setenv("COLUMNS", "40")
    assert run(["info"]) == 0
    text = capsys.readouterr().out
    assert str(named_configs()["reference"]) in text and "…" not in text
    for word in ("versions", "torch-geometric", "devices", "cpu", "configurations", "reference.yaml", "weights"):
        assert word in text

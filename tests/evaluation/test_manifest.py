"""Figures that a killed run has left are taken up again, unless they are of something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation import manifest as module
from scenegraph_track.evaluation.manifest import Manifest


def never() -> dict[str, float | None]:
    raise AssertionError("measured again")


def test_what_is_done_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    first = Manifest(path, {"frames": 4, "size": (2, 3)})
    assert first.figure("world/whole", lambda: {"HOTA": 61.5, "mbo": float("nan")}) == {"HOTA": 61.5, "mbo": None}
    with pytest.raises(KeyboardInterrupt):
        first.figure("world/part", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    again = Manifest(path, {"frames": 4, "size": (2, 3)})
    assert "world/whole" in again and "world/part" not in again
    assert again.figure("world/whole", never) == {"HOTA": 61.5, "mbo": None}
    assert again.figure("world/part", lambda: {"HOTA": 1.0}) == {"HOTA": 1.0}
    assert list(json.loads(path.read_text())["figures"]) == ["world/whole", "world/part"]


def test_figures_of_something_else_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figures.json"
    (tmp_path / "graph.safetensors").write_bytes(b"one")
    monkeypatch.setattr(module, "shipped_files", lambda: {"graph": tmp_path / "graph.safetensors"})
    Manifest(path, {"frames": 4}, ["graph"]).figure("a", lambda: {"HOTA": 1.0})
    with pytest.raises(UserError, match=r"figures\.json: its figures are of another frames: remove the file"):
        Manifest(path, {"frames": 5}, ["graph"])
    (tmp_path / "graph.safetensors").write_bytes(b"two")
    with pytest.raises(UserError, match="of another weights"):
        Manifest(path, {"frames": 4}, ["graph"])
    path.write_text("[1]")
    with pytest.raises(UserError, match="expected a manifest"):
        Manifest(path, {"frames": 4})


def test_without_a_file_nothing_is_written(tmp_path: Path) -> None:
    assert Manifest(None, {}).figure("a", lambda: {"HOTA": 2.0}) == {"HOTA": 2.0}
    assert not list(tmp_path.iterdir())

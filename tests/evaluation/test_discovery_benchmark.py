"""The benchmarks of discovery and of the tracker's parts, on worlds so small that they take seconds."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from scenegraph_track.config import load_config
from scenegraph_track.graph.export import to_json_line
from scenegraph_track.structures import Detections
from scenegraph_track.tracking.tracker import Tracker


def script(name: str) -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_discovery_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, path = script("discovery"), tmp_path / "figures.json"
    sizes = ["--worlds", "1", "--frames", "3", "--size", "64"]
    monkeypatch.setattr(sys, "argv", ["discovery.py", *sizes, "--json", str(path)])
    module.main()
    printed = capsys.readouterr().out
    assert all(row in printed for row in module.ROWS) and "worlds standard, test, 64x64: 1" in printed
    figures = json.loads(path.read_text())["figures"]
    assert len(figures) == len(module.ROWS)
    monkeypatch.setattr(module, "propose", lambda *arguments: pytest.fail("measured again"))
    module.main()
    assert capsys.readouterr().out == printed


def test_what_is_wrong_with_a_folder_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["discovery.py", "--worlds", "0", "--real", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        script("discovery").main()
    assert stopped.value.code == 2 and str(tmp_path) in capsys.readouterr().err.splitlines()[-1]


def test_parts_are_switched_off_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, path = script("ablations"), tmp_path / "figures.json"
    chosen = ("whole", "no graph corrections", "reference tracker, none of the learned parts")
    for kind in ("IN_WORLDS", "IN_STREAMS"):
        monkeypatch.setattr(module, kind, {name: getattr(module, kind)[name] for name in chosen})
    monkeypatch.setattr(module, "WORLDS", ("standard",))
    monkeypatch.setattr(module, "STREAMS", ("crossing",))
    sizes = ["--groups", "2", "--worlds", "1", "--streams", "1", "--frames", "4", "--manifest", str(path)]
    monkeypatch.setattr(sys, "argv", ["ablations.py", *sizes, "--markdown", str(tmp_path / "table.md")])
    module.main()
    tables = (tmp_path / "table.md").read_text()
    assert tables in capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in tables.splitlines() if "±" in line] == 2 * list(chosen)
    keys = {
        f"{where}/{k}/{name}" for where in ("worlds/standard", "streams/crossing") for k in (0, 1) for name in chosen
    }
    assert set(json.loads(path.read_text())["figures"]) == keys
    monkeypatch.setattr(module, "Prepared", lambda *arguments: pytest.fail("measured again"))
    module.main()
    assert (tmp_path / "table.md").read_text() == tables


def test_what_is_found_once_for_all_trackers_changes_nothing() -> None:
    # Geometry and looks are remembered: the scene graphs are those of a tracker that finds them itself.
    module = script("ablations")
    world = module.noisy_world("standard", 3, 4, (96, 64))
    one = module.Prepared(world)
    tracker, own = Tracker.from_config("boxes", module.WHOLE), []
    state = tracker.start()
    for frame, noisy in zip(one.frames, world.frames):
        state, scene = tracker.step(state, frame, Detections.from_arrays(noisy.found, noisy.scores))
        own.append(to_json_line(scene))
    assert any('"track_id"' in line for line in own)
    for _ in range(2):
        assert [to_json_line(scene) for scene in one.run(())] == own


def test_every_part_can_be_switched_off_by_a_setting() -> None:
    module = script("ablations")
    whole = load_config("boxes", module.WHOLE)
    for name, overrides in module.IN_WORLDS.items():
        assert (load_config("boxes", (*module.WHOLE, *overrides)) == whole) == (name == "whole"), name


def test_the_table_shows_the_spread_over_groups_and_paired_differences() -> None:
    module = script("ablations")
    count = len(module.FIGURES)
    whole, part = np.array([[60.0] * count, [64.0] * count]), np.array([[59.0] * count, [62.0] * count])
    part[:, -1] = np.nan
    table = module.table({"whole": whole, "part": part})
    assert "| whole | 62.0 ± 2.8 |" in table and "| part | 60.5 ± 2.1 (-1.5 ± 0.7) |" in table
    assert table.rstrip().endswith("| - (-) |")

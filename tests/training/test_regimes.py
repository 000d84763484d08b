"""The comparison of the three regimes, at its smallest."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from scenegraph_track.errors import UserError
from scenegraph_track.training.regimes import COLUMNS, NOTHING, REGIMES, compare, draw_curves, main, table

SMALL = [
    "data.worlds=1",
    "data.parallax=0",
    "data.windows=1",
    "data.validation_windows=1",
    "train.log_every=1",
    "train.warmup_steps=0",
]
SMALL += ["train.accelerator=cpu", "train.validate_every=2", "collapse.warmup=0", "collapse.patience=2"]
SMALL += ["collapse.depth_variation=99", "collapse.translation=0", "collapse.pose_agreement=1e9"]


def test_all_regimes_in_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A depth that may never vary enough: every regime goes on to its end, and the step of its collapse is told.
    torch.set_num_threads(1)
    rows = compare(tmp_path, steps=4, size=32, overrides=SMALL)
    assert list(rows) == [*REGIMES, NOTHING]
    assert [rows[regime]["collapse"]["step"] for regime in REGIMES] == [1, 1, 3]  # the cure begins with the motion
    assert all("depth is constant" in rows[regime]["collapse"]["what"] for regime in REGIMES)
    assert all([entry["step"] for entry in rows[regime]["curve"]] == [2, 4] for regime in REGIMES)
    assert all(set(row["held_out"]) == set(COLUMNS) for row in rows.values())
    nothing = rows[NOTHING]["held_out"]
    assert (nothing["pose_agreement"], nothing["rotation_ratio"], nothing["direction"]) == (1, 1, 90)
    assert nothing["abs_rel"] > 0.1

    assert json.loads((tmp_path / "regimes.json").read_text()) == rows
    curves = list(csv.DictReader((tmp_path / "curves.csv").open()))
    assert [(entry["regime"], entry["step"]) for entry in curves] == [(r, s) for r in REGIMES for s in ("2", "4")]
    assert float(curves[-1]["abs_rel"]) == rows["cure"]["held_out"]["abs_rel"]

    capsys.readouterr()
    Console(width=300).print(table(rows))
    said = capsys.readouterr().out
    assert all(title in said for title in COLUMNS.values())
    assert said.count("since step 1: depth is constant") == 2

    assert compare(tmp_path, steps=4, size=32, overrides=SMALL) == rows  # finished: nothing is trained again
    with pytest.raises(UserError, match=r"ssim_l1_joint: cannot resume with other settings .*: train.seed"):
        compare(tmp_path, steps=4, size=32, overrides=[*SMALL, "train.seed=1"])


def test_curves_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figures = dict.fromkeys(COLUMNS, 0.5)
    row = {"collapse": None, "held_out": figures, "curve": [{"step": step, **figures} for step in (2, 4)]}
    draw_curves(tmp_path / "curves.png", {"cure": row, NOTHING: row | {"curve": []}})
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_setting_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["regimes", "--out", str(tmp_path), "--set", "data.wolrds=3"])
    with pytest.raises(SystemExit, match=r"error: .*unknown setting data.wolrds; did you mean data.worlds\?"):
        main()

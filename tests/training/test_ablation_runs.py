"""What the tables of trainings share: the file of figures, the order of runs, means over seeds."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scenegraph_track.errors import UserError
from scenegraph_track.training.ablation_runs import Ledger, Rows, means_and_gains, options, run_settings
from scenegraph_track.training.commands import told_plainly
from scenegraph_track.training.settings import load_recipe


def ledger(out: Path | None, scale: int = 1) -> Ledger:
    return Ledger(out, ("one", "two"), {"steps": scale}, lambda rows: {"rows": len(rows)}, {"note": "n"})


def test_what_is_in_the_file_is_missing_no_more(tmp_path: Path) -> None:
    out = tmp_path / "table.json"
    first = ledger(out)
    assert first.missing(("one", "two"), 2) == [("one", 0), ("two", 0), ("one", 1), ("two", 1)]
    first.add("two", 1, {"a": 2.0})
    first.add("two", 0, {"a": 1.0})
    again = ledger(out)
    assert again.missing(("one", "two"), 2) == [("one", 0), ("one", 1)]
    assert again.rows() == {"two": {"0": {"a": 1.0}, "1": {"a": 2.0}}} and list(again.rows()["two"]) == ["0", "1"]
    values = {"scale": {"steps": 1}, "rows": again.rows(), "summary": {"rows": 1}, "note": "n"}
    assert json.loads(out.read_text()) == values
    with pytest.raises(UserError, match="figures of another scale"):
        ledger(out, 2)
    ledger(None).write()
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]


def test_folders_of_runs_that_are_done_are_removed_and_that_of_one_that_failed_stays(tmp_path: Path) -> None:
    made = ledger(tmp_path / "table.json")
    with made.folder() as folder, ThreadPoolExecutor(1) as pool:
        places = [made.place(folder, row, 0) for row in ("one", "two")]
        for place in places:
            place.mkdir(parents=True)
        jobs = {pool.submit(dict, a=1): ("one", 0), pool.submit(int, "x"): ("two", 0)}
        with pytest.raises(ValueError, match="invalid literal"):
            made.gather(pool, jobs, folder)
    assert not places[0].exists() and places[1].is_dir() and made.rows() == {"one": {"0": {"a": 1}}}


def test_a_figure_that_a_seed_has_not_is_left_out() -> None:
    rows: Rows = {
        "whole": {"0": {"ao": 0.2, "b": 1.0}, "1": {"ao": 0.4, "b": None}},
        "part": {"1": {"ao": 0.1}, "2": {"ao": 0.3}},
    }
    told = means_and_gains(rows, "whole", "ao")
    assert told["whole"] == {"ao": pytest.approx([0.3, 0.02**0.5])}
    assert told["part"]["gain"] == pytest.approx([-0.3, 0]), "of the seeds that both have"


def test_settings_of_runs_are_those_of_a_recipe() -> None:
    recipe = load_recipe("target", run_settings("/clips", 3, 40, ["train.seed=9", "data.batch=2"]))
    assert recipe.train.seed == 3 and recipe.train.warmup_steps == 40 and recipe.train.checkpoint_every == 10
    assert recipe.sections.clips.folder == "/clips" and recipe.sections.data.batch == 2


def test_options_and_mistakes(tmp_path: Path) -> None:
    asked = options("about", ("a", "b"), "runs/clips").parse_args(["--rows", "b", "--out", str(tmp_path / "t.json")])
    assert asked.rows == ["b"] and Path(asked.clips).is_absolute() and asked.seeds == 3
    with pytest.raises(SystemExit, match="error: wrong"), told_plainly():
        raise UserError("wrong")

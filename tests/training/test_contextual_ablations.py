"""The ablation table of the contextual association: what its rows change, that it goes on, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenegraph_track.errors import UserError
from scenegraph_track.training import contextual_ablations
from scenegraph_track.training.contextual_ablations import ROWS, Scale, ablate, summary, table
from scenegraph_track.training.settings import load_recipe

TINY = (
    "clips.scenes=2",
    "clips.size=[64,48]",
    "clips.frames=3",
    "data.batch=2",
    "data.whole=32",
    "data.smallest=4",
    "data.validation_clips=1",
    "data.validation_frames=3",
    "one_stream.template=16",
    "one_stream.search=32",
    "one_stream.width=16",
    "one_stream.depth=1",
    "association.noise=4",
)


def scale(folder: Path, steps: int = 2) -> Scale:
    return Scale(steps, 2, 1, str(folder / "clips"), TINY)


def test_the_rows_are_those_of_the_paper() -> None:
    recipes = {row: load_recipe("contextual", changes).sections.association for row, changes in ROWS.items()}
    full = recipes.pop("full (8 prompts)")
    assert full.prompts == 8 and full.noise > 0 and full.semantic and full.kind == "product"
    changed = {
        row: {name: value for name, value in one if value != getattr(full, name)} for row, one in recipes.items()
    }
    assert changed == {
        "base": {"prompts": 0, "noise": 0},
        "non-semantic query": {"semantic": False},
        "no noise": {"noise": 0},
        "no prompt": {"prompts": 0},
        "class map only": {"kind": "classification"},
        "4 prompts": {"prompts": 4},
        "16 prompts": {"prompts": 16},
    }


@pytest.mark.usefixtures("quick_workers")
def test_the_table_is_the_same_for_any_number_of_processes_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = scale(tmp_path)
    alone, both = tmp_path / "alone.json", tmp_path / "both.json"
    rows = ablate(["base", "full (8 prompts)"], asked, 2, both)
    assert list(rows) == ["base", "full (8 prompts)"] and json.loads(both.read_text())["rows"] == rows
    figures = rows["full (8 prompts)"]["0"]
    assert 0 <= figures["inside"] <= figures["most_inside"] <= 1 and 0 <= figures["ao"] <= 1
    assert rows["base"]["0"]["inside"] is None and rows["base"]["0"]["ao_constant"] == figures["ao_constant"]
    assert ablate(["base"], asked, 1, alone) == {"base": rows["base"]}
    assert [path.name for path in (tmp_path / "both.runs").iterdir()] == ["start-0"], "runs that are done are removed"

    values = json.loads(alone.read_text())
    values["rows"]["base"]["0"]["ao"] = 0.125
    alone.write_text(json.dumps(values))
    words = [word for setting in TINY for word in ("--set", setting)]
    arguments = ["--steps", "2", "--start-steps", "2", "--seeds", "1", "--rows", "base", "--clips", asked.clips, *words]
    monkeypatch.setattr("sys.argv", ["ablations", *arguments, "--out", str(alone)])
    contextual_ablations.main()
    assert "0.125 ± 0.000" in capsys.readouterr().out, "a run that the file holds is not done again"

    with pytest.raises(UserError, match="figures of another scale"):
        ablate(["base"], scale(tmp_path, steps=3), 1, alone)
    monkeypatch.setattr("sys.argv", ["ablations", *arguments, "--set", "data.batch=4", "--out", str(alone)])
    with pytest.raises(SystemExit, match="figures of another scale"):
        contextual_ablations.main()


def test_spread_and_gain_are_over_seeds() -> None:
    """The gain is measured against the base of the same seed, which began with the same weights."""
    rows = {
        "base": {"0": {"ao": 0.2, "inside": None}, "1": {"ao": 0.4, "inside": None}},
        "no noise": {"0": {"ao": 0.3, "inside": 0.5}, "1": {"ao": 0.5, "inside": 0.7}},
    }
    told = summary(rows)
    assert told["base"] == {"ao": pytest.approx([0.3, 0.02**0.5])}
    assert told["no noise"]["gain"] == pytest.approx([0.1, 0]) and told["no noise"]["inside"][0] == pytest.approx(0.6)
    assert summary({"no noise": rows["no noise"]})["no noise"].keys() == {"ao", "inside"}
    assert summary({"base": {"0": {"ao": 0.2}}})["base"]["ao"] == [0.2, 0]
    columns = {column.header: list(column.cells) for column in table(rows).columns}
    assert columns["AO - base"] == ["", "0.100 ± 0.000"] and columns["seeds"] == ["2", "2"]
    assert columns["prompts on target"] == ["", "0.600"] or columns["prompts on target"][1].startswith("0.600 ±")

"""The ablation of the language network: its table and its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenegraph_track.errors import UserError
from scenegraph_track.training import language_ablations
from scenegraph_track.training.ablation_runs import recipe_told
from scenegraph_track.training.language_ablations import ROWS, Scale, ablate, summary
from scenegraph_track.training.settings import load_recipe

SCALE = Scale(4, 2, 2, "clips")


def test_every_row_is_a_recipe() -> None:
    for changes in ROWS.values():
        assert load_recipe("language", [*SCALE.common(0), *changes]).train.steps == 4


def test_gains_are_against_the_whole_of_the_same_seed() -> None:
    rows = {
        "full": {"0": {"first_frame": 0.8}, "1": {"first_frame": 0.6}},
        "without dense matching": {"0": {"first_frame": 0.7}, "1": {"first_frame": 0.5}},
    }
    assert summary(rows)["without dense matching"]["gain"] == pytest.approx([-0.1, 0.0])
    assert "gain" not in summary(rows)["full"]


def test_what_is_in_the_file_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_ablations, "make_chunks", lambda *given: None)
    out = tmp_path / "ablations.json"
    done = {row: {str(seed): {"first_frame": 0.5} for seed in range(2)} for row in ROWS}
    out.write_text(json.dumps({"scale": recipe_told("language", SCALE.common(0)), "rows": done}))
    assert ablate(list(ROWS), SCALE, 1, out) == done
    assert json.loads(out.read_text())["summary"]["full"]["first_frame"] == [0.5, 0.0]
    with pytest.raises(UserError, match="another scale"):
        ablate(list(ROWS), Scale(5, 2, 2, "clips"), 1, out)

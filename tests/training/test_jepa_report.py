"""The curve of a student, from its log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenegraph_track.training.jepa_report import jepa_entries, jepa_table, main, told

LOG = [
    {"step": 5, "agreement": 0.2, "rank": 6.0, "teacher_rank": 12.0, "loss": 3.0},
    {"step": 10, "agreement": 0.85, "rank": 9.0, "teacher_rank": 12.0},
    {"step": 10, "val/agreement": 0.7, "val/ao": 0.5},
    {"step": 15, "agreement": 0.9, "rank": 11.0, "teacher_rank": 12.0},
]


def run_with(folder: Path, entries: list[dict]) -> Path:
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


def test_the_table_has_a_row_a_step_and_says_when_they_agreed(tmp_path: Path) -> None:
    entries = jepa_entries(run_with(tmp_path, LOG))
    assert [entry["step"] for entry in entries] == [5, 10, 15] and entries[1]["val/ao"] == 0.5
    columns = {column.header: list(column.cells) for column in jepa_table(entries).columns}
    assert columns["agreement"] == ["0.200", "0.850", "0.900"] and columns["val/agreement"] == ["", "0.700", ""]
    assert "val/rank" not in columns
    assert told(entries) == (
        "agreement 0.200 at step 5, 0.900 at step 15, above 0.8 first at step 10; the student's rank was at least 0.50 "
        "of its teacher's"
    )
    assert "above 0.8 never" in told(entries[:1])


def test_the_command_writes_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with(tmp_path, LOG)
    main([str(run), "--json", str(tmp_path / "curve.json")])
    assert "0.900" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "curve.json").read_text())) == 3
    with pytest.raises(SystemExit, match=r"expected the folder of a run, found no log\.jsonl"):
        main([str(tmp_path / "nothing")])
    run_with(tmp_path, [{"step": 1, "loss": 2.0}])
    with pytest.raises(SystemExit, match="expected a run of the stage jepa"):
        main([str(run)])

"""Tables and files of an evaluation."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from scenegraph_track.evaluation.mot import Evaluation, evaluate
from scenegraph_track.evaluation.report import SHOWN, flat, print_table, write_csv, write_json
from scenegraph_track.evaluation.sources import TruthSource


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """One sequence found whole, one found for a half."""
    rows = np.array([[f, 1, 0, 0, 10, 10] for f in range(1, 9)], float)
    truths = {"whole": TruthSource(rows, frames=8), "half": TruthSource(rows, frames=8)}
    return evaluate(truths, {"whole": rows, "half": rows[:4]})


def test_flat_names(evaluation: Evaluation) -> None:
    # Combined figures stand under their own name, the others under that of their sequence.
    figures = flat(evaluation)
    assert figures["Recall"] == pytest.approx(75)
    assert figures["whole/Recall"] == pytest.approx(100)
    assert figures["half/FN"] == 4
    assert len(figures) == 3 * len(evaluation.combined.figures)


def test_json_is_flat(evaluation: Evaluation, tmp_path: Path) -> None:
    write_json(evaluation, tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text()) == flat(evaluation)
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_csv_has_a_row_a_sequence(evaluation: Evaluation, tmp_path: Path) -> None:
    write_csv(evaluation, tmp_path / "figures.csv")
    with (tmp_path / "figures.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["sequence"] for row in rows] == ["whole", "half", "COMBINED"]
    assert float(rows[2]["MOTA"]) == pytest.approx(75)
    assert rows[1]["FN"] == "4"


def printed(evaluation: Evaluation, width: int) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=width)
    print_table(evaluation, console)
    return [line.split() for line in console.file.getvalue().splitlines() if line.strip(" ─")]


def test_table_on_the_screen(evaluation: Evaluation) -> None:
    # Percent with two decimals, counts without, the combined row last.
    lines = printed(evaluation, 200)
    assert [line[0] for line in lines] == ["sequence", "whole", "half", "COMBINED"]
    assert lines[0][1:] == list(SHOWN)
    assert dict(zip(lines[0], lines[3]))["Recall"] == "75.00"
    assert dict(zip(lines[0], lines[3]))["FN"] == "4"


@pytest.mark.parametrize("width", [60, 80, 100])
def test_narrow_screens_show_fewer_figures(evaluation: Evaluation, width: int) -> None:
    # Numbers are never cut: columns are left out from the end.
    lines = printed(evaluation, width)
    assert 3 < len(lines[0]) <= len(SHOWN)
    assert lines[0][1:] == list(SHOWN[: len(lines[0]) - 1])
    assert all(len(line) == len(lines[0]) and "…" not in "".join(line) for line in lines)

"""Judging result files from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from scenegraph_track.cli.app import run


def split(folder: Path) -> Path:
    """Two sequences: a walks straight on; b has an object and a reflection (class 12) beside it."""
    for name, rows in {
        "a": [f"{t},1,{10 * t},10,20,40,1,-1,-1,-1" for t in range(1, 11)],
        "b": [f"{t},{i},{100 * i},10,20,40,1,{c},1" for t in range(1, 11) for i, c in ((1, 1), (2, 12))],
    }.items():
        (folder / name / "gt").mkdir(parents=True)
        (folder / name / "gt" / "gt.txt").write_text("\n".join(rows))
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Everything found; in a the identity changes in the middle."""
    folder = tmp_path / "results"
    folder.mkdir()
    a = [f"{t},{1 if t < 6 else 7},{10 * t},10,20,40,1,-1,-1,-1" for t in range(1, 11)]
    b = [f"{t},{i},{100 * i},10,20,40,1,-1,-1,-1" for t in range(1, 11) for i in (1, 2)]
    (folder / "a.txt").write_text("\n".join(a))
    (folder / "b.txt").write_text("\n".join(b))
    return folder


def figures(arguments: list[str], tmp_path: Path) -> dict[str, float]:
    assert run([*arguments, "--json", str(tmp_path / "figures.json"), "--overwrite"]) == 0
    return json.loads((tmp_path / "figures.json").read_text())


def test_table_and_files(tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Per sequence and combined; auto takes the reflection of b away, for that ground truth has classes.
    source = str(split(tmp_path / "data"))
    found = figures(["eval", "mot", source, "--results", str(results), "--csv", str(tmp_path / "f.csv")], tmp_path)
    rows = {row[0]: row for line in capsys.readouterr().out.splitlines() if (row := line.split()) and len(row) > 4}
    assert list(rows) == ["sequence", "a", "b", "COMBINED"]
    assert rows["COMBINED"][rows["sequence"].index("HOTA")] == f"{found['HOTA']:.2f}"
    assert found["a/IDSW"] == 1 and found["a/IDF1"] == pytest.approx(50)
    assert found["b/HOTA"] == pytest.approx(100) and found["b/Dets"] == 10
    with (tmp_path / "f.csv").open(newline="") as file:
        assert [row["sequence"] for row in csv.DictReader(file)] == ["a", "b", "COMBINED"]


def test_mot_is_the_default(tmp_path: Path, results: Path) -> None:
    # The options may also come first.
    source = str(split(tmp_path / "data"))
    long = figures(["eval", "mot", source, "--results", str(results)], tmp_path)
    assert figures(["eval", source, "--results", str(results)], tmp_path) == long
    assert figures(["eval", "--results", str(results), source], tmp_path) == long


@pytest.mark.parametrize("option", [["--no-preproc"], ["--benchmark", "none"]])
def test_without_preprocessing_every_box_counts(tmp_path: Path, results: Path, option: list[str]) -> None:
    found = figures(["eval", str(split(tmp_path / "data")), "--results", str(results), *option], tmp_path)
    assert found["b/Dets"] == found["b/GT_Dets"] == 20


def test_one_sequence_and_one_file(tmp_path: Path, results: Path) -> None:
    source = split(tmp_path / "data") / "a"
    found = figures(["eval", str(source), "--results", str(results / "a.txt")], tmp_path)
    assert found["Recall"] == pytest.approx(100)


def test_layout_of_trackeval(tmp_path: Path, results: Path) -> None:
    # trackers/NAME/data/<sequence>.txt
    results.rename(tmp_path / "data_")
    (tmp_path / "tracker").mkdir()
    (tmp_path / "data_").rename(tmp_path / "tracker" / "data")
    found = figures(["eval", str(split(tmp_path / "data")), "--results", str(tmp_path / "tracker")], tmp_path)
    assert found["a/Recall"] == pytest.approx(100)


@pytest.mark.usefixtures("quick_workers")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_empty_results_are_warned_of(
    tmp_path: Path, results: Path, workers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing was found then, and the others are judged; whoever judges.
    (results / "b.txt").write_text("\n")
    source = str(split(tmp_path / "data"))
    found = figures(["eval", source, "--results", str(results), "--workers", workers], tmp_path)
    assert found["b/HOTA"] == 0 and found["a/Recall"] == pytest.approx(100)
    said = capsys.readouterr().err
    assert said == f"warning: {results / 'b.txt'}: there are no boxes in this file, so nothing counts as found\n"


def test_missing_results(tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "b.txt").unlink()
    assert run(["eval", str(split(tmp_path / "data")), "--results", str(results)]) == 2
    assert capsys.readouterr().err == f"error: {results}: expected b.txt, found no such file\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Lines are those of the file, blank ones counted.
        (
            "1,1,0,0,9,9,1\n\n1,1,5,5,9,9,1\n",
            "a.txt:3: expected an identity once in a frame, found id 1 again in frame 1",
        ),
        ("\n1,1,0,0,9,9,1\n11,1,5,5,9,9,1\n", "a.txt:3: expected a frame from 1 to 10, found frame 11"),
        ("1,1,0,0,9,nine,1\n", "a.txt:1: expected a number in column 6, found 'nine'"),
    ],
)
def test_malformed_results(
    tmp_path: Path, results: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "a.txt").write_text(text)
    assert run(["eval", str(split(tmp_path / "data")), "--results", str(results)]) == 1
    assert message in capsys.readouterr().err


def test_no_ground_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data" / "a" / "det").mkdir(parents=True)
    (tmp_path / "data" / "a" / "det" / "det.txt").write_text("1,-1,0,0,9,9,1\n")
    assert run(["eval", str(tmp_path / "data"), "--results", str(tmp_path)]) == 2
    assert "expected sequences with ground truth (gt/gt.txt), found none" in capsys.readouterr().err

"""Which results are finished, which may be replaced, and what is left when something stops in the middle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenegraph_track.errors import UserError
from scenegraph_track.tracking.outputs import GRAPH, RECORD, RESULT, VIDEO, Outputs

RECIPE = {"version": "1", "configuration": {"a": 1}}
OTHER = {"version": "1", "configuration": {"a": 2}}


def make(outputs: Outputs, recipe: dict = RECIPE, suffixes: tuple[str, ...] = (RESULT,), text: str = "new") -> None:
    with outputs.making(recipe, {"frames": 3}) as work:
        for suffix in suffixes:
            (work / outputs.path(suffix).name).write_text(text)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_files_appear_with_their_record(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / "out", "a")
    assert not outputs.finished(RECIPE, (RESULT,))
    make(outputs, suffixes=(RESULT, GRAPH))
    assert names(tmp_path / "out") == {"a.txt", "a.graph.jsonl", "a.run.json"}
    record = json.loads(outputs.path(RECORD).read_text())
    assert record == {"sequence": "a", "files": [GRAPH, RESULT], "recipe": RECIPE, "frames": 3}
    assert outputs.finished(RECIPE, (RESULT,))
    assert not outputs.finished(RECIPE, (RESULT,), overwrite=True)


def test_another_file_is_wanted(tmp_path: Path) -> None:
    # Made in the same way: nothing is lost by making it again, and what stands there already stays on the record.
    outputs = Outputs(tmp_path, "a")
    make(outputs, suffixes=(RESULT, GRAPH))
    assert not outputs.finished(RECIPE, (RESULT, VIDEO))
    make(outputs, suffixes=(RESULT, VIDEO))
    assert outputs.finished(RECIPE, (RESULT, VIDEO, GRAPH))


def test_another_recipe_is_refused_and_overwritten(tmp_path: Path) -> None:
    # What was made in the old way and is not made again would lie: it goes.
    outputs = Outputs(tmp_path, "a")
    make(outputs, suffixes=(RESULT, GRAPH))
    with pytest.raises(UserError, match=r"a\.txt was made differently \(another configuration\): add --overwrite"):
        outputs.finished(OTHER, (RESULT,))
    make(outputs, OTHER)
    assert names(tmp_path) == {"a.txt", "a.run.json"}
    assert outputs.finished(OTHER, (RESULT,))


@pytest.mark.parametrize("record", [None, "not JSON", "[]", '{"files": 3, "recipe": {}}'])
def test_files_of_others_are_refused(tmp_path: Path, record: str | None) -> None:
    # No record, or one that this package has not written.
    outputs = Outputs(tmp_path, "a")
    outputs.path(RESULT).write_text("precious")
    if record is not None:
        outputs.path(RECORD).write_text(record)
    with pytest.raises(UserError, match="exists already, and this command has not made it: add --overwrite"):
        outputs.finished(RECIPE, (RESULT,))


def test_a_foreign_file_beside_our_own_is_refused(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path, "a")
    make(outputs)
    outputs.path(VIDEO).write_text("precious")
    with pytest.raises(UserError, match=r"a\.mp4 exists already"):
        outputs.finished(RECIPE, (RESULT, VIDEO))


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_what_fails(tmp_path: Path, stop: type[BaseException]) -> None:
    outputs = Outputs(tmp_path, "a")
    make(outputs, text="old")
    with pytest.raises(stop), outputs.making(OTHER, {}) as work:
        (work / "a.txt").write_text("half")
        raise stop
    assert outputs.path(RESULT).read_text() == "old"
    assert outputs.finished(RECIPE, (RESULT,))
    assert names(tmp_path) == {"a.txt", "a.run.json"}


def test_killed_while_working(tmp_path: Path) -> None:
    # The folder of unfinished files is left, and swept by the next run.
    outputs = Outputs(tmp_path, "a")
    outputs.unfinished.mkdir()
    (outputs.unfinished / "a.graph.jsonl").write_text("half")
    assert not outputs.finished(RECIPE, (RESULT,))
    make(outputs)
    assert names(tmp_path) == {"a.txt", "a.run.json"}


def test_killed_while_moving(tmp_path: Path) -> None:
    # Some files have their names already, but no record: they are ours, and made again.
    outputs = Outputs(tmp_path, "a")
    outputs.unfinished.mkdir()
    outputs.path(RESULT).write_text("whole")
    assert not outputs.finished(RECIPE, (RESULT, GRAPH))


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="out: cannot write into the folder"):
        make(Outputs(tmp_path / "out", "a"))

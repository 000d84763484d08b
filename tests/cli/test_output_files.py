"""Files that commands leave: what is there already is refused before anything is done, unless it may be replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scenegraph_track.cli.app import run
from scenegraph_track.cli.console import BadUsage
from scenegraph_track.cli.output_files import Output, refuse_standing

FIGURES = ("--json", "--csv")
WRITES = {
    "eval mot data --results data": FIGURES,
    "eval flow": (*FIGURES, "--picture"),
    "eval depth": (*FIGURES, "--picture"),
    "eval pose": (*FIGURES, "--picture"),
    "eval objects": (*FIGURES, "--picture"),
    "eval points": FIGURES,
    "eval single": (*FIGURES, "--plot"),
    "eval language": FIGURES,
    "eval occlusion": ("--json", "--plot"),
    "synth": ("--sheet",),
}


@pytest.mark.parametrize(("command", "option"), [(name, one) for name, options in WRITES.items() for one in options])
def test_what_stands_there_is_refused_at_once(
    command: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.png").write_text("precious")
    assert run([*command.split(), option, "mine.png"]) == 2
    said = capsys.readouterr()
    assert said.err == f"error: mine.png exists already: add --overwrite to replace it, or choose another {option}\n"
    assert said.out == "" and Path("mine.png").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


def test_what_may_be_written(tmp_path: Path) -> None:
    # A name that is free, an empty file (as mktemp makes), and with --overwrite any file; never a folder or a pipe.
    (tmp_path / "a").write_text("precious")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    refuse_standing({"--json": tmp_path / "new", "--csv": None, "--plot": tmp_path / "empty"}, overwrite=False)
    refuse_standing({"--json": tmp_path / "a"}, overwrite=True)
    for name, found in (("", "a folder"), ("pipe", "a device or a pipe")):
        with pytest.raises(BadUsage, match=f"expected a file or a name that is free, found {found}"):
            refuse_standing({"--json": tmp_path / name}, overwrite=True)


def test_a_group_is_made_only_of_what_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("precious")
    assert Output(picture=tmp_path / "a.png", overwrite=True).rows == 6
    with pytest.raises(BadUsage, match=r"a\.png exists already"):
        Output(picture=tmp_path / "a.png")

"""Generated sequences from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenegraph_track.cli.app import run
from scenegraph_track.data.sequences import find_sequences


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "kind", [["--preset", "streams/street", "--frames", "10"], ["--preset", "easy", "--frames", "3", "--size", "64x48"]]
)
def test_sequences(kind: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Worlds and detection streams: sequences that the other commands read, the same bytes each time, never overwritten
    # unless that is said.
    arguments = ["synth", *kind, "--sequences", "2", "--seed", "5", "--out"]
    assert run([*arguments, str(tmp_path / "a")]) == 0
    assert capsys.readouterr().out == f"2 sequences: {tmp_path / 'a'}\n"
    found = find_sequences(tmp_path / "a")
    assert len(found) == 2 and all(s.truth is not None and s.length == int(kind[3]) for s in found)
    assert run([*arguments, str(tmp_path / "b")]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    capsys.readouterr()
    (tmp_path / "a" / found[0].name).rename(tmp_path / "moved")
    assert run([*arguments, str(tmp_path / "a")]) == 2
    assert f"{found[1].path} exists already: add --overwrite to replace it" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "a").iterdir()] == [found[1].name]  # not one of two is made
    assert run([*arguments, str(tmp_path / "a"), "--overwrite"]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_streams_have_no_image_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["synth", "--preset", "streams/street", "--size", "64x64"]) == 2
    assert "--size: streams have no images" in capsys.readouterr().err

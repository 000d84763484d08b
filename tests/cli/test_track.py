"""Tracking from the command line: what is written, what is said, and what is left alone."""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

from scenegraph_track.cli.app import run
from scenegraph_track.data.streams import simulate, write_mot
from scenegraph_track.data.video_writer import write_video

FRAMES = 12


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short sequences."""
    folder = tmp_path_factory.mktemp("data") / "split"
    for seed in range(3):
        write_mot(simulate("street", seed, frames=FRAMES, objects=4), folder)
    return folder


@pytest.fixture
def broken(split: Path, tmp_path: Path) -> Path:
    """The same, and the second has a malformed line."""
    folder = tmp_path / "broken"
    for path in sorted(split.rglob("*.*")):
        there = folder / path.relative_to(split)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(path.read_bytes())
    with (folder / "street-train-000001" / "det" / "det.txt").open("a") as file:
        file.write("3,-1,0,0\n")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_split(split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A result and a record a sequence; one line each on standard error, one for all on standard output.
    assert run(["track", str(split), "--out", str(tmp_path / "out"), "--save-graph"]) == 0
    names = [f"street-train-{seed:06d}" for seed in range(3)]
    made = {n + s for n in names for s in (".txt", ".graph.jsonl", ".run.json")}
    assert set(contents(tmp_path / "out")) == {*made, "manifest.jsonl"}
    said = capsys.readouterr()
    assert said.out.startswith(f"3 sequences, {3 * FRAMES} frames in ")
    assert [line.split(":")[0] for line in said.err.splitlines()] == names


@pytest.mark.usefixtures("quick_workers")
@pytest.mark.parametrize("mode", [[], ["--offline"], ["--horizon", "0.5"]])
def test_any_number_of_workers_gives_the_same_bytes(
    split: Path, broken: Path, tmp_path: Path, mode: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    # Also where one of the sequences fails, and its error comes from another process.
    command = ["track", str(broken if mode else split), "--save-video", "-q", *mode]
    for workers in "12":
        code = run([*command, "--out", str(tmp_path / workers), "--workers", workers])
        assert code == (1 if mode else 0)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("det.txt:") == (2 if mode else 0)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--horizon", "-1"], "--horizon: expected at least 0 seconds, found -1"),
        (["--horizon", "2", "--offline"], "track: expected --offline or --horizon SECONDS, found both"),
    ],
)
def test_a_wrong_horizon_is_refused(
    split: Path, tmp_path: Path, wrong: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["track", str(split), "--out", str(tmp_path / "out"), *wrong]) == 2
    assert sentence in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_finished_sequences_are_skipped(split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # What is missing is made, what is there is not touched.
    command = ["track", str(split), "--out", str(tmp_path)]
    assert run(command) == 0
    (tmp_path / "street-train-000001.txt").unlink()
    before = times(tmp_path)
    capsys.readouterr()
    assert run(command) == 0
    assert "2 of 3 sequences are finished already and skipped" in capsys.readouterr().err
    after = times(tmp_path)
    assert {name for name in after if after[name] != before.get(name)} == {
        "street-train-000001.txt",
        "street-train-000001.run.json",
        "manifest.jsonl",
    }


def test_other_results_are_refused(split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Nothing at all is done, until --overwrite allows it.
    command = ["track", str(split), "--out", str(tmp_path)]
    assert run(command) == 0
    before = contents(tmp_path)
    capsys.readouterr()
    assert run([*command, "--set", "tracker.life.confirm_hits=1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "another configuration" in said and "--overwrite" in said
    assert contents(tmp_path) == before
    assert run([*command, "--set", "tracker.life.confirm_hits=1", "--overwrite"]) == 0
    assert contents(tmp_path) != before


def test_strange_files_are_refused(split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "street-train-000002.txt").write_text("precious")
    assert run(["track", str(split), "--out", str(tmp_path)]) == 2
    assert "street-train-000002.txt exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["street-train-000002.txt"]


def test_one_failure_does_not_stop_the_others(broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # It is said at the end, and the exit code is 1; mended, the same command does what is left.
    out = tmp_path / "out"
    assert run(["track", str(broken), "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("2 sequences, ")
    assert said.err.splitlines()[-1].startswith("error: ") and "det.txt:" in said.err.splitlines()[-1]
    assert {path.stem for path in out.glob("*.txt")} == {"street-train-000000", "street-train-000002"}
    detections = broken / "street-train-000001" / "det" / "det.txt"
    detections.write_text("".join(detections.read_text().splitlines(keepends=True)[:-1]))
    assert run(["track", str(broken), "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("1 sequence, ")


def test_source_without_detections(split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # One sentence says how to give them; a file, or a folder of files by name, does it.
    sequence = tmp_path / "a"
    (sequence / "gt").mkdir(parents=True)
    there = split / "street-train-000000"
    (sequence / "gt" / "gt.txt").write_bytes((there / "gt" / "gt.txt").read_bytes())
    (sequence / "seqinfo.ini").write_bytes((there / "seqinfo.ini").read_bytes())
    command = ["track", str(sequence), "--out", str(tmp_path / "out"), "-q"]
    assert run(command) == 2
    assert "there are no detections beside it; give" in capsys.readouterr().err
    assert run([*command, "--detections", str(there / "det" / "det.txt")]) == 0
    (tmp_path / "dets").mkdir()
    (tmp_path / "dets" / "a.txt").write_bytes((there / "det" / "det.txt").read_bytes())
    assert run([*command, "--detections", str(tmp_path / "dets"), "--overwrite"]) == 0
    assert run([*command, "--detections", str(tmp_path / "none")]) == 2


def test_empty_detections_are_warned_of(split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # In one sentence that names the file; nothing is tracked then, which is no failure.
    (tmp_path / "none.txt").touch()
    command = ["track", str(split / "street-train-000000"), "--detections", str(tmp_path / "none.txt"), "-q"]
    assert run([*command, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == f"warning: {tmp_path / 'none.txt'}: there are no detections in this file\n"
    assert (tmp_path / "out" / "street-train-000000.txt").read_text() == ""


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A video of which the last 17 of 40 frames are missing."""
    path = tmp_path / "cut.mp4"
    with write_video(path, (64, 48), 25) as video:
        for k in range(40):
            video.write(np.full((48, 64, 3), 5 * k, np.uint8))
    with av.open(str(path)) as container:
        missing = sorted(packet.pos for packet in container.demux(video=0) if packet.size)[23]
    path.write_bytes(path.read_bytes()[:missing])
    (tmp_path / "det.txt").write_text("".join(f"{k},-1,10,10,20,20,0.9\n" for k in range(1, 41)))
    return path


@pytest.mark.parametrize(("more", "frames"), [([], 23), (["--no-images"], 40)])
def test_a_video_that_breaks_off_is_warned_of(
    cut: Path, more: list[str], frames: int, capsys: pytest.CaptureFixture[str]
) -> None:
    # Once, with how much of it there is, also where only its header is looked at.
    out = ["--out", str(cut.parent / "out")]
    assert run(["track", str(cut), "--detections", str(cut.parent / "det.txt"), *out, *more]) == 0
    warning, note = capsys.readouterr().err.splitlines()
    assert re.fullmatch(f"warning: {cut}: the video breaks off: 2[0-3] of its 40 frames can be read", warning)
    assert note.startswith(f"cut: {frames} frames, ") and "unreadable" not in note


def test_a_video_without_a_readable_frame_fails(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut.write_bytes(cut.read_bytes()[:1800])
    for more in ([], ["--no-images"]):
        out = ["--out", str(cut.parent / "out")]
        assert run(["track", str(cut), "--detections", str(cut.parent / "det.txt"), *out, *more]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error: {cut}: expected a video") and said.count("\n") == 1
    assert not (cut.parent / "out").exists()


def test_unknown_frame_rate(split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # It is said what is assumed, until --frame-rate tells it.
    (tmp_path / "a" / "det").mkdir(parents=True)
    detections = split / "street-train-000000" / "det" / "det.txt"
    (tmp_path / "a" / "det" / "det.txt").write_bytes(detections.read_bytes())
    assert run(["track", str(tmp_path / "a"), "--out", str(tmp_path / "x")]) == 0
    assert "a: nothing tells the frame rate; 30 per second is assumed (--frame-rate)" in capsys.readouterr().err
    assert run(["track", str(tmp_path / "a"), "--out", str(tmp_path / "y"), "--frame-rate", "25"]) == 0
    assert "assumed" not in capsys.readouterr().err


def test_print_config(capsys: pytest.CaptureFixture[str]) -> None:
    # What is printed is a configuration that says the same.
    assert run(["track", "--print-config", "--set", "tracker.life.hidden_seconds=2.5"]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["tracker"]["life"]["hidden_seconds"] == 2.5


def test_configuration_from_a_file(split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["track", "--print-config"]) == 0
    (tmp_path / "mine.yaml").write_text(capsys.readouterr().out)
    for name, config in (("a", str(tmp_path / "mine.yaml")), ("b", "reference")):
        assert run(["track", str(split), "--config", config, "--out", str(tmp_path / name), "-q"]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")

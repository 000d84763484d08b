"""Points followed from the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from scenegraph_track.cli.app import run
from scenegraph_track.data.video import read_video
from scenegraph_track.data.video_writer import write_video
from scenegraph_track.occlusion import embedded
from scenegraph_track.occlusion.point_net import PointNet, PointNetSettings
from scenegraph_track.occlusion.point_tracker import PointTracker
from scenegraph_track.training.weights import save_weights

TINY = {
    "channels": (4, 6, 8),
    "features": 8,
    "dim": 16,
    "layers": 1,
    "heads": 2,
    "virtual": 3,
    "window": 4,
    "stride": 2,
}
FRAMES = 7
HEADER = ["point", "frame", "x", "y", "visible", "confidence"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    values = {f"points.{name}": value for name, value in PointNet(PointNetSettings(**TINY)).state_dict().items()}
    save_weights(path, values, {"recipe": {"point_net": TINY}})
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven images of 64 x 48 pixels of a texture that moves."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (90, 110, 3)).astype(np.float32), (0, 0), 1.5)
    whole = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    (tmp_path / "clip").mkdir()
    for t in range(FRAMES):
        cv2.imwrite(str(tmp_path / "clip" / f"{t}.png"), whole[20 - t : 68 - t, 30 - 2 * t : 94 - 2 * t])
    return tmp_path / "clip"


def follow(folder: Path, weights: Path, *more: str) -> list[list[float]]:
    """Rows of the table of points that the command has written."""
    out = folder.parent / "out"
    assert run(["points", str(folder), "--weights", str(weights), "--out", str(out), *more]) == 0
    return table(out / f"{folder.stem}.points.csv")


def table(path: Path) -> list[list[float]]:
    with path.open(newline="") as opened:
        header, *rows = csv.reader(opened)
    assert header == HEADER
    return [[float(value) for value in row] for row in rows]


def test_given_points(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # As the tracker follows them, in the order in which they are given, frame by frame.
    rows = np.array(follow(folder, weights, "--point", "40,30,3", "--point", "20.5,15", "--point", "33,21,3"))
    assert rows[:, 1].tolist() == [0, 1, 2, *np.repeat([3, 4, 5, 6], 3)]
    assert rows[:, 0].tolist() == [1, 1, 1, *[0, 1, 2] * 4]
    bgr = [cv2.imread(str(folder / f"{t}.png")) for t in range(FRAMES)]
    images = [torch.from_numpy(image[..., ::-1].transpose(2, 0, 1).copy()) for image in bgr]
    queries = torch.tensor([[3, 40, 30], [0, 20.5, 15], [3, 33, 21]])
    tracks = PointTracker.from_pretrained(weights).track(images, queries)
    for point, frame, x, y, visible, confidence in rows.tolist():
        place = int(point), int(frame)
        assert tracks.positions[place].tolist() == pytest.approx([x, y], abs=0.006)
        assert bool(tracks.visible[place]) == bool(visible)
        assert float(tracks.confidence[place]) == pytest.approx(confidence, abs=6e-4)
    said = capsys.readouterr()
    assert said.out == f"1 sequence, {FRAMES} frames: {folder.parent / 'out'}\n" and said.err == ""
    assert sorted(path.name for path in (folder.parent / "out").iterdir()) == [
        "clip.points.csv",
        "clip.points.run.json",
    ]


def test_a_grid(folder: Path, weights: Path) -> None:
    # By default two points of 32 px, row by row; another spacing; after points that are given.
    rows = follow(folder, weights)
    assert [row[:4] for row in rows[:2]] == [[0, 0, 16, 16], [1, 0, 48, 16]] and len(rows) == 2 * FRAMES
    rows = follow(folder, weights, "--grid", "20", "--overwrite", "--stride", "1")
    assert len(rows) == 6 * FRAMES and rows[5][:4] == [5, 0, 50, 30]
    rows = follow(folder, weights, "--grid", "32", "--point", "5,6", "--overwrite")
    assert [row[:4] for row in rows[:3]] == [[0, 0, 5, 6], [1, 0, 16, 16], [2, 0, 48, 16]]


def test_video_in_and_out(folder: Path, weights: Path) -> None:
    # One frame drawn for each frame read, larger and with something on it.
    video = folder.parent / "film.mp4"
    with write_video(video, (64, 48), 12.5) as writer:
        for t in range(FRAMES):
            writer.write(cv2.imread(str(folder / f"{t}.png"))[..., ::-1].copy())
    rows = follow(video, weights, "--grid", "24", "--save-video")
    assert len(rows) == 6 * FRAMES
    plain, drawn = read_video(video), read_video(folder.parent / "out" / "film.points.mp4")
    assert drawn.frame_rate == pytest.approx(12.5) and drawn.size == (64 * 8, 48 * 8)
    frames = [[frame.to_rgb().astype(int) for frame in one] for one in (plain, drawn)]
    assert len(frames[0]) == len(frames[1]) == FRAMES
    for before, after in zip(*frames):
        large = cv2.resize(before.astype(np.uint8), (512, 384), interpolation=cv2.INTER_CUBIC).astype(int)
        assert (np.abs(large - after).max(-1) > 60).sum() > 200


def test_what_is_there_is_left_alone(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    follow(folder, weights, "-q")
    path = folder.parent / "out" / "clip.points.csv"
    before = path.stat().st_mtime_ns
    follow(folder, weights)
    assert path.stat().st_mtime_ns == before and "1 of 1 sequences are finished already" in capsys.readouterr().err
    command = ["points", str(folder), "--weights", str(weights), "--out", str(folder.parent / "out"), "--grid", "20"]
    assert run(command) == 2
    assert "was made differently (another grid): add --overwrite" in capsys.readouterr().err
    assert run([*command, "--overwrite"]) == 0 and path.stat().st_mtime_ns > before


def test_a_frame_that_cannot_be_read(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The one before stands in for it, and that is said; without one before it is an error, and nothing is left.
    (folder / "3.png").write_bytes(b"junk")
    assert len(follow(folder, weights, "--save-video")) == 2 * FRAMES
    assert "frame 3 is left out" in capsys.readouterr().err
    assert read_video(folder.parent / "out" / "clip.points.mp4").length == FRAMES


def test_several_sequences(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = folder.parent / "both"
    for name in "ab":
        (both / name).mkdir(parents=True)
        for t in range(3):
            (both / name / f"{t}.png").write_bytes((folder / f"{t}.png").read_bytes())
    out = folder.parent / "out"
    assert run(["points", str(both), "--weights", str(weights), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"2 sequences, 6 frames: {out}\n"
    assert table(out / "a.points.csv") == table(out / "b.points.csv")
    assert run(["points", str(both), "--weights", str(weights), "--point", "3,4"]) == 2
    assert "--point: expected one sequence, found 2 in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("missing.mp4", "missing.mp4: no such file or folder"),
        ("clip --point 64.5,3", "clip: expected points inside its 64 x 48 pixels, found 64.5, 3"),
        ("clip --point 3,-1", "found 3, -1"),
        ("clip --point nan,3", "--point nan,3: expected x,y in pixels, as 120,80"),
        ("clip --point 3", "--point 3: expected x,y in pixels"),
        ("clip --point 3,4,-1", "--point 3,4,-1: expected x,y in pixels"),
        ("clip --point 3,4,1.5", "--point 3,4,1.5: expected x,y in pixels"),
        ("clip --point 3,4,0,1", "--point 3,4,0,1: expected x,y in pixels"),
        ("clip --point 3,4,7", "clip: a point is given in frame 7, the last one is 6 (from 0)"),
        ("clip --grid 200", "a grid of 200 pixels: no point of it lies inside 64 x 48"),
        ("clip --grid nan", "--grid"),
        ("clip --stride 4", "stride: expected 1 to 3, found 4"),
        ("clip --weights none.safetensors", "none.safetensors: no such file of weights"),
    ],
)
def test_one_sentence(
    arguments: str,
    message: str,
    folder: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder.parent)
    words = arguments.split()
    assert run(["points", *words, *([] if "--weights" in words else ["--weights", str(weights)])]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert message in said.err
    assert not Path("out").exists()


def test_no_frame_can_be_read(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The command is right, the file is not: exit code 1, as of track.
    for name in ("junk.png", "junk.mp4"):
        (folder.parent / name).write_bytes(b"junk")
        out = ["--out", str(folder.parent / "out")]
        assert run(["points", str(folder.parent / name), "--weights", str(weights), *out]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error: {folder.parent / name}") and said.count("\n") == 1
    assert not (folder.parent / "out").exists()


def test_no_weights_ship(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(embedded, "SHIPPED", folder / "none.safetensors")
    assert run(["points", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: no trained point tracker ships with this version") and said.count("\n") == 1


def test_a_point_after_the_end_of_a_video(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Only its end tells; nothing is left behind.
    video = folder.parent / "film.mp4"
    with write_video(video, (64, 48), 12.5) as writer:
        for t in range(3):
            writer.write(cv2.imread(str(folder / f"{t}.png"))[..., ::-1].copy())
    out = folder.parent / "out"
    assert run(["points", str(video), "--weights", str(weights), "--out", str(out), "--point", "5,5,3"]) == 2
    assert "a point is given in frame 3, the last one is 2 (from 0)" in capsys.readouterr().err
    assert list(out.iterdir()) == []

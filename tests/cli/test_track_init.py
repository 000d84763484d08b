"""Targets from the command line: what is written, and what is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from scenegraph_track.cli.app import run
from scenegraph_track.graph.export import read_jsonl
from scenegraph_track.target import embedded
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.training.weights import save_weights

TINY = {"channels": [4, 6, 8], "blocks": [0, 1], "dim": 8, "layers": 1, "decoder_layers": 1, "view": 32}
FRAMES = 6


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with fresh weights, which finds something everywhere."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "target.safetensors"
    network = TargetNetwork(TargetNetSettings(**TINY))
    network.bias.data.fill_(1.0)
    values = {f"target.{name}": value for name, value in network.state_dict().items()}
    save_weights(path, values, {"recipe": {"target_net": TINY}})
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A folder of images, and detections that lie elsewhere."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for k in range(FRAMES):
        image = np.full((48, 64, 3), 90, np.uint8)
        image[20:30, 10 + 2 * k : 22 + 2 * k] = (0, 0, 255)
        cv2.imwrite(str(folder / f"{k}.png"), image)
    lines = [f"{k + 1},-1,40,10,12,20,0.9\n" for k in range(FRAMES)]
    (tmp_path / "det.txt").write_text("".join(lines))
    return folder


def track(clip: Path, *more: object) -> int:
    out = clip.parent / "out"
    return run(["track", str(clip), "--frame-rate", "10", "-q", "--out", str(out), *map(str, more)])


def rows(clip: Path) -> np.ndarray:
    return np.loadtxt(clip.parent / "out" / "clip.txt", delimiter=",", ndmin=2)


def test_one_target(clip: Path, weights: Path) -> None:
    """Result, graph, video and record, without any detections."""
    setting = f"target.weights={weights}"
    assert track(clip, "--init", "10,20,12,10", "--set", setting, "--save-graph", "--save-video") == 0
    found = rows(clip)
    assert found[:, 0].tolist() == list(range(1, FRAMES + 1)) and set(found[:, 1]) == {1}
    assert found[0, 2:6].tolist() == [10, 20, 12, 10]
    scenes = list(read_jsonl(clip.parent / "out" / "clip.graph.jsonl"))
    assert [scene.track_ids.tolist() for scene in scenes] == [[1]] * FRAMES
    assert (clip.parent / "out" / "clip.mp4").stat().st_size > 0
    record = json.loads((clip.parent / "out" / "clip.run.json").read_text())["recipe"]
    assert record["targets"] == [{"frame": 0, "box": [10, 20, 22, 30]}] and "target" in record["weights"]


@pytest.mark.parametrize(("frames", "starts"), [([], [0, 0]), ([2], [2, 2]), ([3, 1], [3, 1])])
def test_several_targets(clip: Path, weights: Path, frames: list[int], starts: list[int]) -> None:
    """One frame for all, or one for each; identities in the order in which the targets come."""
    told = [word for frame in frames for word in ("--frame", frame)]
    boxes = [[10.0, 20, 12, 10], [40.0, 10, 12, 20]]
    inits = [word for box in boxes for word in ("--init", ",".join(map(str, box)))]
    assert track(clip, *inits, *told, "--config", "single", "--set", f"target.weights={weights}") == 0
    found, order = rows(clip), sorted(range(2), key=starts.__getitem__)
    for identity, number in enumerate(order, 1):
        own = found[found[:, 1] == identity]
        assert own[:, 0].tolist() == list(range(starts[number] + 1, FRAMES + 1))
        assert own[0, 2:6].tolist() == boxes[number]


def test_targets_beside_detections(clip: Path, weights: Path) -> None:
    """Both are tracked, unless the configuration is for targets alone."""
    words = ["--init", "10,20,12,10", "--set", f"target.weights={weights}"]
    words += ["--detections", clip.parent / "det.txt"]
    assert track(clip, *words) == 0
    assert set(rows(clip)[:, 1]) == {1, 2}
    assert track(clip, *words, "--config", "single", "--overwrite") == 0
    assert set(rows(clip)[:, 1]) == {1}
    assert track(clip, *words, "--offline", "--overwrite") == 0
    assert set(rows(clip)[:, 1]) == {1, 2}


def test_a_video(clip: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one of which only the end tells how long it is."""
    setting, video = ["--set", f"target.weights={weights}"], clip.parent / "clip.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for k in range(FRAMES):
        writer.write(cv2.imread(str(clip / f"{k}.png")))
    writer.release()
    assert track(video, "--init", "10,20,12,10", "--frame", 1, *setting) == 0
    assert rows(clip)[:, 0].tolist() == list(range(2, FRAMES + 1))
    (clip.parent / "out" / "clip.txt").unlink()
    assert track(video, "--init", "10,20,12,10", "--frame", FRAMES, *setting, "--overwrite") == 2
    assert f"a target is given in frame {FRAMES}, the last one is {FRAMES - 1} (from 0)" in capsys.readouterr().err
    assert not (clip.parent / "out" / "clip.txt").exists()


def test_the_weights_that_ship_are_used(
    clip: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(embedded, "SHIPPED", clip.parent / "none.safetensors")
    assert track(clip, "--init", "10,20,12,10") == 2
    assert "no trained target model ships with this version" in capsys.readouterr().err
    monkeypatch.setattr(embedded, "SHIPPED", weights)
    assert track(clip, "--init", "10,20,12,10") == 0
    assert len(rows(clip)) == FRAMES


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--init", "10,20,12"], 2, "--init 10,20,12: expected left,top,width,height in pixels, as 120,80,40,60"),
        (["--init", "10,20,a,4"], 2, "--init 10,20,a,4: expected left,top,width,height"),
        (["--init", "10,20,0,4"], 2, "--init 10,20,0,4: expected left,top,width,height"),
        (["--init", "10,20,inf,4"], 2, "--init 10,20,inf,4: expected left,top,width,height"),
        (
            ["--init", "1,2,9,9", "--frame", "0", "--frame", "1"],
            2,
            "expected one, or one for each of 1 --init, found 2",
        ),
        (["--frame", "1"], 2, "--frame: expected one, or one for each of 0 --init, found 1"),
        (["--init", "1,2,9,9", "--no-images"], 2, "track: expected --init or --no-images, found both"),
        (
            ["--init", "70,2,9,9"],
            2,
            "--init 70,2,9,9: expected left,top,width,height of a box inside the image of 64 x 48 pixels",
        ),
        (["--init", "1,2,9,9", "--frame", "6"], 2, "a target is given in frame 6, the last one is 5 (from 0)"),
        (["--config", "single"], 2, "this configuration follows given targets only: add --init x,y,w,h"),
    ],
)
def test_what_is_refused(
    clip: Path, weights: Path, words: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert track(clip, *words, "--set", f"target.weights={weights}") == code
    said = capsys.readouterr()
    assert sentence in said.err and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert not list((clip.parent / "out").glob("clip.*"))


def test_other_sources_are_refused(clip: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several sequences, and one without images."""
    words = ["--init", "1,2,9,9", "--set", f"target.weights={weights}"]
    for name in "ab":
        (clip.parent / "split" / name / "det").mkdir(parents=True)
        (clip.parent / "split" / name / "det" / "det.txt").write_text((clip.parent / "det.txt").read_text())
    assert track(clip.parent / "split", *words) == 2
    assert "--init: expected one sequence, found 2 in" in capsys.readouterr().err
    assert track(clip.parent / "split" / "a", *words) == 2
    assert "there are no images to follow a target in" in capsys.readouterr().err

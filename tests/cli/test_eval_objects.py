"""Objects found without labels, judged from the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from scenegraph_track.cli.app import run
from scenegraph_track.data.masks import write_masks
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.evaluation import object_methods
from scenegraph_track.training.weights import save_weights

FAST = ["--flow", "dis_fast", "--depth", "none"]
WORLDS = ["--sequences", "2", "--size", "48x48", "--frames", "3", *FAST]
BASELINES = ["kmeans", "kmeans_few", "components", "blocks"]
FIGURES = ["fg_ari_video", "fg_ari_frame", "mbo_video", "mbo_frame", "recall50", "corloc"]


def figures(arguments: list[str], tmp_path: Path) -> dict[str, Any]:
    assert run(["eval", "objects", *arguments, "--json", str(tmp_path / "f.json"), "--overwrite"]) == 0
    return json.loads((tmp_path / "f.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


@pytest.fixture
def no_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if no trained detector shipped."""
    monkeypatch.setattr(object_methods, "SHIPPED", tmp_path / "none.safetensors")
    yield


@pytest.mark.usefixtures("no_detector")
def test_baselines_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Without a trained detector: the best baseline of each figure, a table, a picture, a row a sequence.
    picture, table = tmp_path / "o.jpg", tmp_path / "o.csv"
    found = figures([*WORLDS, "--picture", str(picture), "--csv", str(table)], tmp_path)
    assert list(found["methods"]) == BASELINES and "mbo_video" not in found
    for name in FIGURES:
        best = max(found["methods"][method][name] for method in BASELINES)
        assert found[f"{name}_best_baseline"] == best and 0 <= best <= 100
    assert found["uses"]["detector"] == "none" and found["sequences"] == 2 and found["ms_cues"] > 0
    assert all(found["methods"][name]["ms"] >= 0 for name in BASELINES)
    said = capsys.readouterr()
    assert "no trained detector ships" in said.err and "components" in said.out and "fg_ari flatters" in said.out
    assert cv2.imread(str(picture)).shape[:2] == (26 + 4 * (192 + 6), 6 * (192 + 6) - 6)
    with table.open(newline="") as opened:
        names = [row["sequence"] for row in csv.DictReader(opened)]
    assert names == ["standard_test_0000", "standard_test_0001", "COMBINED"]


def test_learned_beside_the_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A method that knows the truth stands in for the detector: its figures stand alone, the baselines' beside them.
    def truth(clip: Any) -> np.ndarray:
        return np.stack([one.labels for one in clip.truth])

    monkeypatch.setattr(object_methods, "learned_method", lambda path: truth)
    found = figures(WORLDS, tmp_path)
    assert list(found["methods"]) == ["learned", *BASELINES] and found["uses"]["detector"] == "embedded"
    assert found["mbo_video"] == found["fg_ari_video"] == found["methods"]["learned"]["mbo_frame"] == 100
    assert found["mbo_video_best_baseline"] < 100 and found["recall50"] > found["recall50_best_baseline"]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """One world of six frames twice: with masks as DAVIS has them, and with boxes as MOTChallenge has them."""
    clip = render(sample_scene("easy", "test", seed=1, size=(64, 48), frames=6))
    for folder in ("masks/JPEGImages", "boxes/img1", "boxes/gt"):
        (tmp_path / "videos" / folder).mkdir(parents=True)
    rows = []
    for k, frame in enumerate(clip.frames):
        for folder in ("masks/JPEGImages", "boxes/img1"):
            cv2.imwrite(str(tmp_path / "videos" / folder / f"{k:05d}.png"), frame.image[..., ::-1])
        for one, (x1, y1, x2, y2) in zip(frame.ids, frame.visible_boxes):
            rows += [f"{k + 1},{one},{x1},{y1},{x2 - x1},{y2 - y1},1,1,1"] if x2 > x1 else []
    write_masks(tmp_path / "videos" / "masks" / "Annotations", [frame.instance for frame in clip.frames])
    (tmp_path / "videos" / "boxes" / "gt" / "gt.txt").write_text("\n".join(rows))
    return tmp_path / "videos"


@pytest.mark.usefixtures("no_detector")
def test_real_videos(videos: Path, tmp_path: Path) -> None:
    # Masks give all figures, boxes only those of boxes; both give the same boxes. Nothing tells what stands still.
    masks = figures([str(videos / "masks"), *FAST], tmp_path)
    boxes = figures([str(videos / "boxes"), *FAST, "--picture", str(tmp_path / "p.png")], tmp_path)
    assert masks["mbo_video_best_baseline"] > 0 and boxes["mbo_video_best_baseline"] is None
    assert masks["recall50_best_baseline"] == boxes["recall50_best_baseline"] > 0
    assert masks["recall50_still_best_baseline"] is None and masks["measured_on"] == "videos masks"
    assert (tmp_path / "p.png").is_file()


@pytest.mark.usefixtures("no_detector")
def test_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A file without a detector is refused where there is no other one; beside one it goes to the other networks.
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    save_weights(files[0], {"flow.x": torch.zeros(2)}, {})
    save_weights(files[1], {"detector.x": torch.zeros(2), "flow.x": torch.zeros(2)}, {})
    assert object_methods.part_weights(files) == (str(files[1]), files)
    assert run(["eval", "objects", *WORLDS, "--weights", str(files[0])]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: --weights {files[0]}: expected weights of a detector;") and said.count("\n") == 1
    save_weights(files[1], {"detector.x": torch.zeros(2)}, {})
    assert object_methods.part_weights(files) == (str(files[1]), files[:1])
    assert run(["eval", "objects", *WORLDS, "--weights", str(files[1])]) == 2
    said = capsys.readouterr().err
    assert str(files[1]) in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NOWHERE"], "NOWHERE: no such file or folder"),
        (["."], "is neither a video or image file"),
        (["--preset", "odd"], "--preset odd: expected one of easy"),
        (["--split", "odd"], "--split odd: expected one of train"),
        ([".", "--size", "64x64"], "--size: goes with worlds, not with a folder"),
        (["--picture", "a.gif"], "--picture a.gif: expected a file ending in .jpg or .png"),
        (["--flow", "odd"], "flow odd: expected one of dis_fast"),
        (["--weights", "odd"], "odd: no such file of weights"),
    ],
)
def test_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["eval", "objects", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.startswith("error: ") and said.count("\n") == 1

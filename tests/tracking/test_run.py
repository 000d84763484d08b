"""One sequence from its files to the files of its results."""

from __future__ import annotations

import json
import logging
import math
import shutil
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from scenegraph_track.config import load_config
from scenegraph_track.data.mot import read_results
from scenegraph_track.data.sequences import Sequence, find_sequences
from scenegraph_track.data.streams import simulate, write_mot
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.data.worlds.export import write_world
from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.graph.export import read_jsonl
from scenegraph_track.tracking.run import RunOptions, recipe, run_sequence

FRAMES = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mot(simulate("street", 3, frames=FRAMES, objects=4), tmp_path_factory.mktemp("data"))


@pytest.fixture
def sequence(folder: Path) -> Sequence:
    return find_sequences(folder)[0]


@pytest.fixture
def seen(folder: Path, tmp_path: Path) -> Sequence:
    """The same sequence with small images."""
    there = tmp_path / "seen"
    shutil.copytree(folder, there)
    (there / "img1").mkdir()
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (80, 112, 3), np.uint8)
    for i in range(FRAMES):
        cv2.imwrite(str(there / "img1" / f"{i + 1:06d}.jpg"), texture[:64, i : i + 96])
    info = (there / "seqinfo.ini").read_text().splitlines()
    small = [f"{k}={v}" for k, v in (("imWidth", 96), ("imHeight", 64))]
    kept = [line for line in info if not line.startswith(("imWidth", "imHeight"))]
    (there / "seqinfo.ini").write_text("\n".join(kept + small))
    return find_sequences(there)[0]


def test_results_graph_and_video(sequence: Sequence, tmp_path: Path) -> None:
    # Without images the video shows the tracks on an empty ground of the sequence's size.
    ticks: list[int] = []
    options = RunOptions(save_video=True, save_graph=True)
    report = run_sequence(sequence, load_config(), tmp_path, options, ticks.append)
    assert (report.sequence, report.frames, report.broken) == (sequence.name, FRAMES, ())
    assert [path.name.removeprefix(sequence.name) for path in report.files] == [".txt", ".mp4", ".graph.jsonl"]
    assert sum(ticks) == FRAMES
    scenes = list(read_jsonl(tmp_path / f"{sequence.name}.graph.jsonl"))
    assert [scene.frame_index for scene in scenes] == list(range(FRAMES))
    with av.open(str(tmp_path / f"{sequence.name}.mp4")) as video:
        shapes = [frame.to_ndarray(format="rgb24").shape for frame in video.decode(video=0)]
    assert len(shapes) == FRAMES
    width, height = sequence.size
    assert shapes[0][1] / shapes[0][0] == pytest.approx(width / height, rel=0.02)


@pytest.mark.parametrize("horizon", [0.0, 1.0, math.inf])
def test_graph_says_the_same_as_the_results(sequence: Sequence, tmp_path: Path, horizon: float) -> None:
    # Identities and boxes that are shown, whatever the offline pass has linked and filled.
    run_sequence(sequence, load_config(), tmp_path, RunOptions(horizon=horizon, save_graph=True))
    tracks = read_results(tmp_path / f"{sequence.name}.txt")
    assert len(tracks) > FRAMES
    for scene in read_jsonl(tmp_path / f"{sequence.name}.graph.jsonl"):
        here, order = tracks.at(scene.frame_index), scene.track_ids.argsort()
        shown = order[scene.shown[order]]
        assert scene.track_ids[shown].tolist() == here.ids.tolist()
        np.testing.assert_allclose(scene.boxes[shown], here.boxes, atol=0.011)


@pytest.mark.parametrize("horizon", [0.0, 1.0, math.inf])
def test_twice_the_same_bytes(seen: Sequence, tmp_path: Path, horizon: float) -> None:
    options = RunOptions(horizon=horizon, save_video=True, save_graph=True)
    made = [run_sequence(seen, load_config(), tmp_path / name, options) for name in "ab"]
    for first, second in zip(made[0].files, made[1].files, strict=True):
        assert first.read_bytes() == second.read_bytes()
    records = [(tmp_path / name / f"{seen.name}.run.json").read_bytes() for name in "ab"]
    assert records[0] == records[1]


def test_images_are_looked_at_only_where_wanted(seen: Sequence, tmp_path: Path) -> None:
    # With --no-images, or without camera motion, broken images are not even opened.
    for path in seen.images:
        path.write_bytes(b"broken")
    still = load_config("reference", ["tracker.motion.camera=false"])
    assert run_sequence(seen, load_config(), tmp_path / "a", RunOptions(images=False)).broken == ()
    assert run_sequence(seen, still, tmp_path / "b").broken == ()
    with pytest.raises(UserError):
        run_sequence(seen, load_config(), tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_broken_image_is_tracked_by_its_detections(seen: Sequence, tmp_path: Path) -> None:
    seen.images[7].write_bytes(b"broken")
    report = run_sequence(seen, load_config(), tmp_path, RunOptions(save_video=True))
    assert [b.index for b in report.broken] == [7]
    assert report.frames == FRAMES
    assert len(read_results(tmp_path / f"{seen.name}.txt").at(7)) > 0
    assert json.loads((tmp_path / f"{seen.name}.run.json").read_text())["broken"][0][0] == 7


def test_sequence_without_detections(sequence: Sequence, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there are no detections .* --detections FILE"):
        run_sequence(replace(sequence, detections=None), load_config(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_malformed_detections_leave_nothing(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "a")
    with (tmp_path / "a" / "det" / "det.txt").open("a") as file:
        file.write("17,-1,0,0,ten,10,1,-1,-1,-1\n")
    with pytest.raises(FormatError, match=r"det\.txt:\d+: expected a number in column 5"):
        run_sequence(find_sequences(tmp_path / "a")[0], load_config(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_detections_after_the_end(sequence: Sequence, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # They are left out, and one warning says so.
    with caplog.at_level(logging.WARNING):
        report = run_sequence(replace(sequence, length=FRAMES - 4), load_config(), tmp_path)
    assert report.frames == FRAMES - 4
    assert "detections after frame 12, the last of the sequence, are left out" in caplog.text


def test_no_detections_at_all(folder: Path, tmp_path: Path) -> None:
    # An empty file is a sequence in which nothing was found.
    (tmp_path / "none.txt").write_text("")
    sequence = replace(find_sequences(folder)[0], detections=tmp_path / "none.txt", size=None)
    options = RunOptions(save_video=True, save_graph=True)
    assert run_sequence(sequence, load_config(), tmp_path / "out", options).frames == FRAMES
    assert (tmp_path / "out" / f"{sequence.name}.txt").read_text() == ""


def test_recipe_names_what_matters(folder: Path, seen: Sequence, tmp_path: Path) -> None:
    # Where the files lie does not matter; what they hold, how they are read and the settings do.
    config = load_config()
    shutil.copytree(folder, tmp_path / "elsewhere" / folder.name)
    sequence = find_sequences(folder)[0]
    base = recipe(sequence, config, RunOptions())
    assert base == recipe(find_sequences(tmp_path / "elsewhere" / folder.name)[0], config, RunOptions(save_graph=True))

    def changed(other: dict) -> list[str]:
        return [key for key in base if base[key] != other[key]]

    assert changed(recipe(sequence, config, RunOptions(horizon=math.inf))) == ["mode"]
    assert changed(recipe(replace(sequence, frame_rate=7.0), config, RunOptions())) == ["frames"]
    other = load_config("reference", ["tracker.life.hidden_seconds=2"])
    assert changed(recipe(sequence, other, RunOptions())) == ["configuration"]
    (tmp_path / "det.txt").write_text("1,-1,1,1,5,5,1\n")
    assert changed(recipe(replace(sequence, detections=tmp_path / "det.txt"), config, RunOptions())) == ["detections"]
    assert recipe(seen, config, RunOptions()) != recipe(seen, config, RunOptions(images=False))


def test_measured_depth_and_poses_are_used_where_the_settings_say_so(tmp_path: Path) -> None:
    # By default what lies beside the images changes nothing; with the setting, nodes have positions in the world.
    clip = render(sample_scene("easy", "val", 1, (96, 72), 4))
    (sequence,) = find_sequences(write_world(clip, tmp_path / "world"))
    options = RunOptions(save_graph=True)
    with_depth = load_config("reference", ["geometry.measured=true"])
    for config, name in ((load_config(), "plain"), (with_depth, "measured")):
        run_sequence(sequence, config, tmp_path / name, options)
    plain, measured = (list(read_jsonl(tmp_path / name / "world.graph.jsonl")) for name in ("plain", "measured"))
    assert all(scene.positions.isnan().all() for scene in plain)
    assert sum(int(scene.positions.isfinite().all(1).sum()) for scene in measured) >= 4
    recipes = [recipe(sequence, config, options)["frames"] for config in (load_config(), with_depth)]
    assert "measured" not in recipes[0] and recipes[1]["measured"]
    assert recipe(sequence, with_depth, RunOptions(images=False))["frames"].get("measured") is None

"""Measured depth, poses and intrinsics beside the images of a sequence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from scenegraph_track.data.measured import measured_files, read_measured
from scenegraph_track.data.sequences import find_sequences
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.data.worlds.export import write_world
from scenegraph_track.errors import UserError
from scenegraph_track.structures import Frame


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    clip = render(sample_scene("easy", "val", 0, (64, 48), 3))
    return write_world(clip, tmp_path_factory.mktemp("worlds") / "world"), clip


def recording(folder: Path, frames: int = 3) -> Path:
    """What an RGB-D camera leaves, 15 frames per second."""
    for name, image in (("rgb_registered", np.zeros((24, 32, 3), np.uint8)), ("depth", np.zeros((12, 16), np.uint16))):
        (folder / name).mkdir(parents=True)
        for index in range(frames):
            image[:] = 1500 + index if name == "depth" else 10 * index
            cv2.imwrite(str(folder / name / f"{2 * index:06d}.png"), image)
    (folder / "poses").mkdir()
    rows = "".join(f"{index / 15:.6f} {index} 0 0 0 0 0 1\n" for index in range(frames))
    (folder / "poses" / "poses.txt").write_text("# camera to world\n" + rows)
    (folder / "intrinsics").mkdir()
    (folder / "intrinsics" / "K.txt").write_text("30 0 16\n0 30 12\n0 0 1\n")
    return folder


def test_what_synth_writes_is_read_back(world) -> None:
    folder, clip = world
    (sequence,) = find_sequences(folder)
    assert sequence.kind == "mot" and sequence.measured == folder
    measured = read_measured(folder)
    for frame in clip.frames:
        read = measured.added_to(Frame(frame.index, frame.timestamp))
        known = frame.depth < 65.5
        assert np.abs(read.depth[0].numpy() - frame.depth)[known].max() < 1e-3
        assert read.world_from_camera.numpy() == pytest.approx(frame.world_from_camera, abs=1e-6)
        assert read.intrinsics.numpy() == pytest.approx(frame.intrinsics)
    beyond = measured.added_to(Frame(len(clip), 9.0))
    assert beyond.depth is None and beyond.world_from_camera is None


def test_a_recording_of_an_rgbd_camera_is_a_sequence(tmp_path: Path) -> None:
    folder = recording(tmp_path / "office")
    (sequence,) = find_sequences(folder)
    assert (sequence.name, sequence.kind, sequence.length, sequence.size) == ("office", "rgbd", 3, (32, 24))
    assert sequence.frame_rate == pytest.approx(15, rel=1e-3) and sequence.frame_rate_known
    assert sequence.measured == folder and sequence.detections is None
    frame = read_measured(folder).added_to(Frame(2, 0.1))
    assert frame.depth.shape == (1, 12, 16) and float(frame.depth[0, 0, 0]) == pytest.approx(1.502)
    assert frame.world_from_camera[:3, 3].tolist() == [2, 0, 0] and frame.intrinsics[0].tolist() == [30, 0, 16]
    (folder / "det").mkdir()
    (folder / "det" / "det.txt").write_text("1,-1,0,0,9,9,1\n")
    assert find_sequences(tmp_path)[0].detections == folder / "det" / "det.txt"


def test_parts_may_be_missing(tmp_path: Path) -> None:
    assert measured_files(tmp_path) == ()
    with pytest.raises(UserError, match="found neither"):
        read_measured(tmp_path)
    (tmp_path / "poses.txt").write_text("0 0 0 0 0 0 0 1\n")
    measured = read_measured(tmp_path)
    assert measured.depths == () and measured.intrinsics is None and len(measured.trajectory) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("poses.txt", "0 0 0 0\n", r"poses\.txt:1: expected 8 numbers"),
        ("intrinsics.txt", "1 2 3\n", r"intrinsics\.txt: expected a 3 x 3 matrix"),
        ("intrinsics.txt", "0 0 0\n0 0 0\n0 0 0\n", "positive focal lengths"),
    ],
)
def test_refuses_by_file(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / "poses.txt").write_text("0 0 0 0 0 0 0 1\n")
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_measured(tmp_path)


def test_a_real_recording(shared_data: Path) -> None:
    folder = shared_data / "rgbd" / "seven_scenes_60"
    if not folder.is_dir():
        pytest.skip("needs seven_scenes_60")
    (sequence,) = find_sequences(folder)
    assert sequence.kind == "rgbd" and sequence.length == 60 and sequence.frame_rate == pytest.approx(15, rel=0.01)
    frame = read_measured(folder).added_to(Frame(10, 0.7))
    assert 0.5 < float(frame.depth[frame.depth > 0].median()) < 10
    assert abs(float(np.linalg.det(frame.world_from_camera[:3, :3].numpy())) - 1) < 1e-6

"""Recordings of an RGB-D camera."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from geometry.trajectory import Trajectory, write_tum
from scenegraph_track.data.rgbd import KEPT_IMAGES, LazyImages, read_rgbd
from scenegraph_track.errors import UserError


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Three frames of 8 x 6 pixels; frame k is of grey 10 k, 1 + k metres away."""
    folder = tmp_path / "recording"
    for name in ("rgb", "depth", "poses", "intrinsics"):
        (folder / name).mkdir(parents=True)
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 2, 3] = range(3)
    for k in range(3):
        cv2.imwrite(str(folder / "rgb" / f"{k}.png"), np.full((6, 8, 3), (0, 0, 10 * k), np.uint8))
        cv2.imwrite(str(folder / "depth" / f"{k}.png"), np.full((6, 8), 1000 * (1 + k), np.uint16))
    write_tum(Trajectory(poses), folder / "poses" / "poses.txt")
    (folder / "intrinsics" / "K.txt").write_text("9 0 4\n0 9 3\n0 0 1\n")
    return folder


def test_reading(recording: Path) -> None:
    found = read_rgbd(recording)
    assert len(found) == 3 and found.images[-1].shape == (3, 6, 8) and found.intrinsics[0, 0] == 9
    assert int(found.images[2][0].max()) == 20 and int(found.images[2][2].max()) == 0  # red first
    np.testing.assert_allclose(found.depth(1), 2.0)
    np.testing.assert_allclose(found.trajectory.positions[:, 2], range(3))


def test_registered_images_come_first(recording: Path) -> None:
    shutil.copytree(recording / "rgb", recording / "rgb_registered")
    assert read_rgbd(recording).images.paths[0].parent.name == "rgb_registered"


def test_only_some_images_are_kept(recording: Path) -> None:
    images = LazyImages([recording / "rgb" / "1.png"] * (KEPT_IMAGES + 5))
    assert sum(int(image.max()) for image in images) == 10 * len(images)
    assert len(images._kept) == KEPT_IMAGES


def remove_poses(folder: Path) -> None:
    (folder / "poses" / "poses.txt").unlink()


def break_poses(folder: Path) -> None:
    (folder / "poses" / "poses.txt").write_text("# t\n0 1 2 3 0 0 0\n")


def lose_a_pose(folder: Path) -> None:
    file = folder / "poses" / "poses.txt"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))


def break_intrinsics(folder: Path) -> None:
    (folder / "intrinsics" / "K.txt").write_text("1 2 three")


def flat_intrinsics(folder: Path) -> None:
    (folder / "intrinsics" / "K.txt").write_text("0 0 0 0 0 0 0 0 1")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (shutil.rmtree, "recording: no such folder"),
        (remove_poses, r"expected a recording of an RGB-D camera, found no poses/poses.txt$"),
        (break_poses, r"poses.txt:2: expected 8 numbers"),
        (lose_a_pose, "found 3 images, 3 of depth and 2 poses"),
        (break_intrinsics, "K.txt: expected a 3 x 3 matrix of numbers, found 3 words"),
        (flat_intrinsics, "expected positive focal lengths"),
    ],
)
def test_one_sentence(recording: Path, harm, message: str) -> None:
    harm(recording)
    with pytest.raises(UserError, match=message):
        read_rgbd(recording)


def test_wrong_depth(recording: Path) -> None:
    # 8 bit; another size; none at all.
    file = recording / "depth" / "0.png"
    cv2.imwrite(str(file), np.zeros((6, 8), np.uint8))
    with pytest.raises(UserError, match="16 bit image with one channel, found uint8"):
        read_rgbd(recording).depth(0)
    cv2.imwrite(str(file), np.zeros((3, 4), np.uint16))
    with pytest.raises(UserError, match="expected the size 8 x 6 of its image, found 4 x 3"):
        read_rgbd(recording).depth(0)
    file.write_bytes(b"junk")
    with pytest.raises(UserError, match="no readable image"):
        read_rgbd(recording).depth(0)
    (recording / "rgb" / "0.png").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"0.png is no readable image"):
        read_rgbd(recording).images[0]

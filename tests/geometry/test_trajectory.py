"""Files, pairing and alignment of trajectories."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from geometry.errors import GeometryError
from geometry.trajectory import (
    Trajectory,
    accumulate,
    align,
    associate,
    read_kitti,
    read_tum,
    umeyama,
    write_kitti,
    write_tum,
)


def walk(count: int = 20, seed: int = 0) -> Trajectory:
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(rng.normal(size=(count, 3))).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(count, 3)).cumsum(0)
    return Trajectory(poses, np.arange(count) / 10)


def test_accumulation() -> None:
    # Motions taken out of a trajectory give it back.
    poses = walk().world_from_camera
    motions = [np.linalg.inv(b) @ a for a, b in pairwise(poses)]
    np.testing.assert_allclose(accumulate(motions, poses[0]), poses, atol=1e-9)


def test_tum_and_kitti_files(tmp_path: Path) -> None:
    write_tum(walk(), tmp_path / "tum.txt")
    write_kitti(walk(), tmp_path / "kitti.txt")
    tum, kitti = read_tum(tmp_path / "tum.txt"), read_kitti(tmp_path / "kitti.txt")
    np.testing.assert_allclose(tum.world_from_camera, walk().world_from_camera, atol=1e-7)
    np.testing.assert_allclose(tum.timestamps, walk().timestamps)
    np.testing.assert_allclose(kitti.world_from_camera, walk().world_from_camera, atol=1e-7)
    assert kitti.timestamps is None


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_tum, "# c\n0 0 0 0 0 0 0 1\n1 0 0 0 0 0 1\n", r":3: expected 8 numbers"),  # a number too few
        (read_tum, "0 0 0 0 0 0 0 x\n", r":1: expected 8 numbers"),  # not a number
        (read_tum, "0 0 nan 0 0 0 0 1\n", r":1: expected 8 numbers"),  # not finite
        (read_tum, "0 0 0 0 0 0 0 2\n", r":1: expected a quaternion of length 1"),
        (read_tum, "\n# nothing\n", "at least one pose"),
        (read_kitti, "1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 0 0 1 0 0 0 0 1\n", r":2: expected 12 numbers"),
        (read_kitti, "1 0 0 0 0 1 0 0 0 0 -1 0\n", r":1: expected a rotation"),  # a mirror
    ],
)
def test_broken_files(tmp_path: Path, read, text: str, message: str) -> None:
    path = tmp_path / "broken.txt"
    path.write_text(text)
    with pytest.raises(GeometryError, match=message):
        read(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match=r"none\.txt: cannot read"):
        read_tum(tmp_path / "none.txt")


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet="0123456789.-+e naif#,\n", max_size=120))
def test_any_text_is_read_or_refused(tmp_path_factory, text: str) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "t.txt"
    path.write_text(text)
    for read in (read_tum, read_kitti):
        try:
            assert np.isfinite(read(path).world_from_camera).all()
        except GeometryError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("scale", [True, False])
def test_umeyama(scale: bool) -> None:
    # A known similarity (rigid motion without scale) is found again, reflections included among the traps: flat points.
    rng = np.random.default_rng(1)
    source = rng.normal(size=(30, 3)) * [1, 1, 0]
    rotation = Rotation.from_rotvec([0.3, -2.0, 1.0]).as_matrix()
    factor = 2.5 if scale else 1.0
    target = factor * source @ rotation.T + [1, 2, 3]
    s, r, t = umeyama(source, target, scale)
    assert s == pytest.approx(factor)
    np.testing.assert_allclose(r, rotation, atol=1e-9)
    np.testing.assert_allclose(t, [1, 2, 3], atol=1e-9)


def test_umeyama_refuses() -> None:
    with pytest.raises(GeometryError, match="at least 3"):
        umeyama(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(GeometryError, match="one place"):
        umeyama(np.zeros((5, 3)), np.ones((5, 3)))


def test_alignment_turns_the_cameras_too() -> None:
    poses = walk().world_from_camera
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = Rotation.from_rotvec([0.1, 0.5, -0.2]).as_matrix(), [4, 5, 6]
    aligned, (factor, _, _) = align(world @ poses, poses, scale=False)
    np.testing.assert_allclose(aligned, poses, atol=1e-9)
    assert factor == 1


def test_pairs_by_time() -> None:
    # Nearest in time, each reference once, nothing beyond the tolerance.
    a, b = walk(5), walk(4)
    b = Trajectory(b.world_from_camera, np.array([0.101, 0.109, 0.305, 0.95]))
    in_reference, in_estimate = associate(a, b, 0.02)
    assert in_reference.tolist() == [1, 3] and in_estimate.tolist() == [0, 2]
    with pytest.raises(GeometryError, match="found none"):
        associate(a, Trajectory(b.world_from_camera, b.timestamps + 100))


def test_wrong_arrays() -> None:
    with pytest.raises(GeometryError, match="world_from_camera"):
        Trajectory(np.eye(4))
    with pytest.raises(GeometryError, match="timestamps"):
        Trajectory(np.eye(4)[None], np.zeros(2))


def test_real_files(shared_data: Path) -> None:
    assert len(read_kitti(shared_data / "poses" / "KITTI_00_gt.txt")) == 4541
    truth = read_tum(shared_data / "poses" / "freiburg1_xyz-groundtruth.txt")
    assert np.all(np.diff(truth.timestamps) > 0)

"""Camera trajectories: accumulation, text files of the field, alignment.

A trajectory is an array (T, 4, 4) of ``world_from_camera``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geometry.errors import GeometryError


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses of a camera through time.

    Args:
        world_from_camera: (T, 4, 4) float64 rigid transforms.
        timestamps: (T,) seconds, or None where the file has none (KITTI).
    """

    world_from_camera: NDArray[np.float64]
    timestamps: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.world_from_camera.ndim != 3 or self.world_from_camera.shape[1:] != (4, 4):
            raise GeometryError(f"world_from_camera: expected (T, 4, 4), found {self.world_from_camera.shape}")
        if self.timestamps is not None and self.timestamps.shape != (len(self),):
            raise GeometryError(f"timestamps: expected ({len(self)},), found {self.timestamps.shape}")

    def __len__(self) -> int:
        return len(self.world_from_camera)

    @property
    def positions(self) -> NDArray[np.float64]:
        """(T, 3) optical centres in the world."""
        return self.world_from_camera[:, :3, 3]


def accumulate(motions: Sequence[NDArray], start: NDArray | None = None) -> NDArray[np.float64]:
    """Chain motions between neighbouring frames.

    Args:
        motions: T - 1 transforms (4, 4) ``target_from_source`` from frame t to frame t + 1, in one scale.
        start: (4, 4) ``world_from_camera`` of the first frame, or None for the identity.

    Returns:
        (T, 4, 4) ``world_from_camera``.
    """
    poses = [np.eye(4) if start is None else np.asarray(start, float)]
    for motion in motions:
        poses.append(poses[-1] @ np.linalg.inv(motion))
    return np.stack(poses)


def _numbers(path: Path, columns: int, meaning: str) -> NDArray[np.float64]:
    """Rows of a text file of numbers; lines that are empty or begin with # are left out.

    Raises:
        GeometryError: As ``file:line: what was expected``.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise GeometryError(f"{path}: cannot read the file ({error.strerror})") from None
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) != columns or not np.isfinite(row).all():
            raise GeometryError(f"{path}:{number}: expected {columns} numbers ({meaning}), found {line.strip()[:80]!r}")
        rows.append((number, row))
    if not rows:
        raise GeometryError(f"{path}: expected at least one pose, found none")
    return np.array([[number, *row] for number, row in rows])


def read_tum(path: str | Path) -> Trajectory:
    """Read the TUM RGB-D format: ``timestamp tx ty tz qx qy qz qw``, ``world_from_camera``.

    Args:
        path: Text file; lines that begin with # are comments.

    Returns:
        The trajectory, in the file's order.

    Raises:
        GeometryError: The file cannot be read, or a line is not of that form, as ``file:line: ...``.
    """
    path = Path(path)
    rows = _numbers(path, 8, "timestamp tx ty tz qx qy qz qw")
    length = np.linalg.norm(rows[:, 5:], axis=1)
    wrong = np.flatnonzero(np.abs(length - 1) > 0.05)
    if wrong.size:
        line = int(rows[wrong[0], 0])
        raise GeometryError(f"{path}:{line}: expected a quaternion of length 1, found one of {length[wrong[0]]:.3g}")
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = Rotation.from_quat(rows[:, 5:]).as_matrix(), rows[:, 2:5]
    return Trajectory(poses, rows[:, 1])


def read_kitti(path: str | Path) -> Trajectory:
    """Read the KITTI odometry format: the upper 3 x 4 part of ``world_from_camera``, row by row.

    Args:
        path: Text file.

    Returns:
        The trajectory, without timestamps.

    Raises:
        GeometryError: The file cannot be read, or a line is not of that form, as ``file:line: ...``.
    """
    path = Path(path)
    rows = _numbers(path, 12, "a 3 x 4 pose, row by row")
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3] = rows[:, 1:].reshape(-1, 3, 4)
    skew = np.abs(poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1) - np.eye(3)).max((1, 2))
    wrong = np.flatnonzero((skew > 0.01) | (np.linalg.det(poses[:, :3, :3]) < 0))
    if wrong.size:
        raise GeometryError(f"{path}:{int(rows[wrong[0], 0])}: expected a rotation in the first three columns")
    return Trajectory(poses)


def write_tum(trajectory: Trajectory, path: str | Path) -> None:
    """Write the TUM RGB-D format; frames count as seconds where there are no timestamps."""
    times = np.arange(len(trajectory), dtype=float) if trajectory.timestamps is None else trajectory.timestamps
    quaternions = Rotation.from_matrix(trajectory.world_from_camera[:, :3, :3]).as_quat(canonical=True)
    rows = [
        f"{time:.6f} " + " ".join(f"{value:.9f}" for value in (*position, *quaternion))
        for time, position, quaternion in zip(times, trajectory.positions, quaternions)
    ]
    text = "# timestamp tx ty tz qx qy qz qw\n" + "\n".join(rows) + "\n"
    Path(path).write_text(text, encoding="utf-8")


def write_kitti(trajectory: Trajectory, path: str | Path) -> None:
    """Write the KITTI odometry format; timestamps are lost."""
    rows = trajectory.world_from_camera[:, :3].reshape(len(trajectory), 12)
    text = "\n".join(" ".join(f"{value:.9e}" for value in row) for row in rows) + "\n"
    Path(path).write_text(text, encoding="utf-8")


def associate(
    reference: Trajectory, estimate: Trajectory, tolerance: float = 0.02
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair the poses of two trajectories by time, each estimated pose with the nearest reference not yet taken.

    Args:
        reference: With timestamps.
        estimate: With timestamps.
        tolerance: Seconds up to which two poses are of one time.

    Returns:
        Indices into both, in the order of time of the estimate.

    Raises:
        GeometryError: Timestamps are missing, or no two poses are of one time.
    """
    if reference.timestamps is None or estimate.timestamps is None:
        raise GeometryError("expected two trajectories with timestamps to pair them by time")
    order = np.argsort(reference.timestamps, kind="stable")
    times = reference.timestamps[order]
    after = np.clip(np.searchsorted(times, estimate.timestamps), 1, max(len(times) - 1, 1))
    near = np.stack([after - 1, np.minimum(after, len(times) - 1)], -1)
    distance = np.abs(times[near] - estimate.timestamps[:, None])
    best = near[np.arange(len(near)), distance.argmin(-1)]
    pairs: dict[int, int] = {}
    for index in np.argsort(distance.min(-1), kind="stable"):
        if distance[index].min() <= tolerance:
            pairs.setdefault(int(best[index]), int(index))
    if not pairs:
        raise GeometryError(f"expected poses within {tolerance} s of each other, found none")
    found = sorted(((index, order[place]) for place, index in pairs.items()), key=lambda p: estimate.timestamps[p[0]])
    return np.array([r for _, r in found], np.int64), np.array([e for e, _ in found], np.int64)


def umeyama(
    source: NDArray, target: NDArray, scale: bool = True
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Least-squares similarity or rigid alignment of points (Umeyama, 1991): ``target ~ s R source + t``.

    Args:
        source: (T, 3), at least 3 points.
        target: (T, 3).
        scale: Whether s is free (Sim(3)) or 1 (SE(3)).

    Returns:
        s, R (3, 3) and t (3,).  Points on one line leave the turn about it undetermined: any minimiser is returned.

    Raises:
        GeometryError: The shapes differ, there are fewer than 3 points, or all source points are one.
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3 or len(source) < 3:
        raise GeometryError(f"expected two arrays (T, 3) of at least 3 points, found {source.shape} and {target.shape}")
    middle_source, middle_target = source.mean(0), target.mean(0)
    a, b = source - middle_source, target - middle_target
    variance = (a**2).sum() / len(a)
    if variance == 0:
        raise GeometryError("expected source points that differ, found one place")
    u, d, vt = np.linalg.svd(b.T @ a / len(a))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * sign) @ vt
    factor = float((d * sign).sum() / variance) if scale else 1.0
    return factor, rotation, middle_target - factor * rotation @ middle_source


def align(
    world_from_camera: NDArray, reference: NDArray, scale: bool = True
) -> tuple[NDArray[np.float64], tuple[float, NDArray[np.float64], NDArray[np.float64]]]:
    """Bring a trajectory into the world of another one by its positions.

    Args:
        world_from_camera: (T, 4, 4) to be moved.
        reference: (T, 4, 4), frame by frame.
        scale: Sim(3) or SE(3).

    Returns:
        The aligned (T, 4, 4), and what `umeyama` found.
    """
    found = factor, rotation, shift = umeyama(world_from_camera[:, :3, 3], reference[:, :3, 3], scale)
    aligned = world_from_camera.copy()
    aligned[:, :3, :3] = rotation @ world_from_camera[:, :3, :3]
    aligned[:, :3, 3] = factor * world_from_camera[:, :3, 3] @ rotation.T + shift
    return aligned, found

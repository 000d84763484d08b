"""Figures of depth maps and trajectories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geometry.trajectory import Trajectory, read_kitti, read_tum
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.geometry import depth_figures, mean_figures, rotation_angle, trajectory_figures

FREIBURG = "freiburg1_xyz-{}.txt"


def test_depth_by_hand() -> None:
    # 2, 4 and 8 m estimated as 2, 5 and 4: |e| = 0, 1, 4.
    found = depth_figures([[2.0, 5.0, 4.0]], [[2.0, 4.0, 8.0]], median_scaling=False)
    assert found.abs_rel == pytest.approx((0 + 1 / 4 + 4 / 8) / 3)
    assert found.sq_rel == pytest.approx((0 + 1 / 4 + 16 / 8) / 3)
    assert found.rmse == pytest.approx(np.sqrt(17 / 3))
    assert found.rmse_log == pytest.approx(np.sqrt((np.log(1.25) ** 2 + np.log(2) ** 2) / 3))
    assert found.delta1 == pytest.approx(1 / 3)  # a ratio of exactly 1.25 is not below it
    assert (found.delta2, found.delta3) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (found.scale, found.coverage) == (1, 1)


def test_median_scaling() -> None:
    # The scale is free, and said.
    truth = np.random.default_rng(0).uniform(1, 9, (8, 8))
    found = depth_figures(truth / 5, truth)
    assert found.abs_rel == pytest.approx(0) and found.scale == pytest.approx(5) and found.delta1 == 1


def test_coverage_and_masks() -> None:
    # No truth at two pixels; no estimate at one of the six others, another one masked out: 4 of 5.
    truth = np.array([[1.0, 1, 1, 1], [1, 1, 0, np.nan]])
    estimate = np.array([[1.0, 1, 1, 1], [0, 9, 9, 9]])
    mask = np.ones((2, 4), bool)
    mask[1, 1] = False
    found = depth_figures(estimate, truth, mask)
    assert found.coverage == pytest.approx(0.8) and found.abs_rel == 0
    nothing = depth_figures(np.zeros((2, 4)), truth)
    assert nothing.coverage == 0 and np.isnan(nothing.abs_rel)
    mean = mean_figures([found, nothing])
    assert mean.abs_rel == 0 and mean.coverage == pytest.approx(0.4)
    with pytest.raises(UserError, match="one shape"):
        depth_figures(estimate, truth[:1])
    with pytest.raises(UserError, match="at least one"):
        mean_figures([])


def spiral(count: int = 30) -> Trajectory:
    t = np.linspace(0, 6, count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.stack([0.1 * t, t, 0 * t], -1)).as_matrix()
    poses[:, :3, 3] = np.stack([np.cos(t), np.sin(t), 0.3 * t], -1)
    return Trajectory(poses)


def test_alignment_forgives_world_and_scale() -> None:
    # Another world and half the size: no error with Sim(3), the scale is 2; with SE(3) there is one.
    truth = spiral()
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = Rotation.from_rotvec([1.0, 2.0, 0.5]).as_matrix(), [7, 8, 9]
    poses = moved @ truth.world_from_camera
    poses[:, :3, 3] *= 0.5
    found = trajectory_figures(Trajectory(poses), truth)
    assert found.scale == pytest.approx(2) and found.ate_rmse < 1e-9
    assert found.rpe_translation < 1e-9 and found.rpe_rotation < 1e-6
    assert trajectory_figures(Trajectory(poses), truth, scale=False).ate_rmse > 0.1


def test_relative_errors_by_hand() -> None:
    # Every camera turned by 1 degree more than the last about its own z: 1 degree a step, 3 degrees over 3.
    truth = spiral()
    extra = np.tile(np.eye(4), (len(truth), 1, 1))
    extra[:, :3, :3] = Rotation.from_rotvec(np.radians(np.arange(len(truth)))[:, None] * [0, 0, 1]).as_matrix()
    estimate = Trajectory(truth.world_from_camera @ extra)
    # (Q^-1 Q')^-1 (P^-1 P') is conjugate to a turn by the difference only about a shared axis: hold the rest still
    still = truth.world_from_camera.copy()
    still[:, :3, :3] = np.eye(3)
    for delta in (1, 3):
        found = trajectory_figures(Trajectory(still @ extra), Trajectory(still), delta=delta)
        assert found.rpe_rotation == pytest.approx(delta)
        assert found.ate_rmse < 1e-9
    assert trajectory_figures(estimate, truth).rpe_rotation > 0.5


def test_unpaired() -> None:
    with pytest.raises(UserError, match="one length"):
        trajectory_figures(spiral(5), spiral(6))
    with pytest.raises(UserError, match="at least 3"):
        trajectory_figures(spiral(2), spiral(2))
    with pytest.raises(UserError, match="one place"):
        trajectory_figures(Trajectory(np.tile(np.eye(4), (5, 1, 1))), spiral(5))
    timed = Trajectory(spiral().world_from_camera, np.arange(30.0))
    with pytest.raises(UserError, match="found none"):
        trajectory_figures(Trajectory(timed.world_from_camera, timed.timestamps + 0.5), timed)


def test_small_angles() -> None:
    turns = np.radians([[0, 1e-7, 0], [0, 1.0, 0], [0, 179.0, 0]])
    angle = rotation_angle(Rotation.from_rotvec(turns).as_matrix())
    np.testing.assert_allclose(angle, [1e-7, 1.0, 179.0], rtol=1e-6)


def test_real_trajectories(shared_data: Path) -> None:
    # KITTI against itself has no error; RGB-D SLAM is within centimetres, monocular ORB needs its scale.
    kitti = read_kitti(shared_data / "poses" / "KITTI_00_gt.txt")
    assert trajectory_figures(kitti, kitti, scale=False).ate_rmse < 1e-6
    truth = read_tum(shared_data / "poses" / FREIBURG.format("groundtruth"))
    slam = read_tum(shared_data / "poses" / FREIBURG.format("rgbdslam"))
    orb = read_tum(shared_data / "poses" / FREIBURG.format("ORB_kf_mono"))
    assert trajectory_figures(slam, truth, scale=False).ate_rmse < 0.03
    assert trajectory_figures(orb, truth).ate_rmse < 0.02
    assert trajectory_figures(orb, truth).scale > 1.05


@pytest.mark.parametrize("name", ["rgbdslam", "rgbdslam_drift", "ORB_kf_mono"])
@pytest.mark.parametrize("scale", [True, False])
def test_agrees_with_evo(shared_data: Path, name: str, scale: bool) -> None:
    # The field's own tool, where it is installed.
    metrics = pytest.importorskip("evo.core.metrics")
    sync = pytest.importorskip("evo.core.sync")
    files = pytest.importorskip("evo.tools.file_interface")
    paths = [shared_data / "poses" / FREIBURG.format(n) for n in ("groundtruth", name)]
    reference, estimate = (files.read_tum_trajectory_file(str(path)) for path in paths)
    reference, estimate = sync.associate_trajectories(reference, estimate, max_diff=0.02)
    estimate.align(reference, correct_scale=scale)
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((reference, estimate))
    rpe = metrics.RPE(metrics.PoseRelation.rotation_angle_deg, 1, metrics.Unit.frames, all_pairs=True)
    rpe.process_data((reference, estimate))
    found = trajectory_figures(read_tum(paths[1]), read_tum(paths[0]), scale)
    assert found.ate_rmse == pytest.approx(ape.get_statistic(metrics.StatisticsType.rmse), rel=0.01)
    assert found.rpe_rotation == pytest.approx(rpe.get_statistic(metrics.StatisticsType.rmse), rel=0.02)

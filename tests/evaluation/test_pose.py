"""Camera motion, what it leaves of the flow, and trajectories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from geometry import optical_flow
from geometry.camera import rigid_flow
from geometry.errors import GeometryError
from geometry.flow import OpticalFlow
from geometry.pose_net import PoseNet
from geometry.trajectory import Trajectory, write_kitti, write_tum
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.clips import Worlds, camera_flow, motion_to_next
from scenegraph_track.evaluation.estimators import Choice, load_estimators
from scenegraph_track.evaluation.pose import (
    camera_motion,
    homography_flow,
    measure_pose,
    motion_errors,
    network_motion,
    pose_report,
)
from scenegraph_track.evaluation.tally import Tally
from scenegraph_track.evaluation.trajectories import (
    compare,
    follow_camera,
    read_trajectory,
    standing_still,
    trajectory_report,
)

SMALL = Worlds(sequences=2, size=(48, 48), frames=6)
K = torch.tensor([[50.0, 0, 24], [0, 50, 24], [0, 0, 1]])


def motion(turn: tuple[float, float, float], step: tuple[float, float, float]) -> np.ndarray:
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = Rotation.from_rotvec(turn, degrees=True).as_matrix(), step
    return made


def test_errors_by_hand() -> None:
    # 2 degrees found as 3: half the turn; a direction off by 45 degrees; any length of the translation.
    truth = motion((0, 2, 0), (0, 0, 2))
    ratio, angle = motion_errors(motion((0, 3, 0), (0.1, 0, 0.1)), truth)
    assert ratio == pytest.approx(0.5) and angle == pytest.approx(45)
    assert motion_errors(truth, truth) == pytest.approx((0, 0), abs=1e-5)
    assert motion_errors(np.eye(4), truth) == (pytest.approx(1), np.inf)  # no direction
    ratio, angle = motion_errors(truth, motion((0, 0.01, 0), (0, 0, 5e-5)))
    assert np.isnan(ratio) and np.isnan(angle)  # hardly turns, hardly moves


def test_which_pairs_count() -> None:
    # Directions of 10 and 20 degrees and one that was not found, which counts as 90; one pair does not move.
    tally = Tally()
    for name in ("estimate", "direct"):
        for ratio, angle in ((0.2, 10.0), (0.4, 20.0), (np.nan, np.inf), (0.9, np.nan)):
            tally.add(f"{name} rotation", ratio)
            tally.add(f"{name} direction", angle)
    found = pose_report(tally)
    assert found["rotation_ratio"] == pytest.approx(0.4)
    assert (found["translation_deg"], found["translation_deg_all"]) == (pytest.approx(15), pytest.approx(20))
    assert found["found"] == pytest.approx(2 / 3) and found["direct"]["found"] == found["found"]


def test_true_flow_gives_the_motion() -> None:
    # The classical fit on exact flow; with it, nothing is left of the flow of the surroundings.
    clip = next(clip for clip in map(Worlds(sequences=9, size=(64, 64), frames=6).clip, range(9)) if clip.moves)
    index = clip.frames[0]
    flow = torch.from_numpy(camera_flow(clip, index)).float()
    exact = OpticalFlow(flow, torch.ones(64, 64, dtype=torch.bool), torch.zeros(64, 64))
    found = camera_motion(clip.images, index, exact, clip.intrinsics)
    ratio, angle = motion_errors(found.target_from_source.numpy(), motion_to_next(clip, index))
    assert ratio < 0.05 and angle < 3
    truth, _ = clip.flow(index)
    still = clip.still(index)
    np.testing.assert_allclose(flow.numpy()[:, still], truth.transpose(2, 0, 1)[:, still], atol=0.02)


def shaken(seed: int = 0) -> tuple[list[torch.Tensor], OpticalFlow]:
    """Two equal images: no translation can be found."""
    image = torch.randint(0, 255, (3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return [image, image], optical_flow(image, image, "dis_fast")


@pytest.mark.parametrize("options", [{}, {"flow": True}, {"flow": True, "images": False}])
def test_the_network_steps_in(options: dict) -> None:
    # Where the fit finds no direction, the network's is taken, and the fit's rotation kept.
    torch.manual_seed(0)
    net = PoseNet((8, 8), **options).eval()
    images, flow = shaken()
    assert not camera_motion(images, 0, flow, K).translates
    alone = network_motion(images, 0, flow, K, net).target_from_source
    assert float(alone[:3, 3].norm()) == pytest.approx(1)
    both = camera_motion(images, 0, flow, K, net)
    torch.testing.assert_close(both.target_from_source[:3, 3], alone[:3, 3])
    torch.testing.assert_close(both.target_from_source[:3, :3], torch.eye(3, dtype=torch.float64), atol=1e-3, rtol=0)


def test_networks_of_longer_windows_are_refused() -> None:
    images, flow = shaken()
    with pytest.raises(GeometryError, match="for pairs of images, found one for 2 other images"):
        network_motion(images, 0, flow, K, PoseNet((8, 8), targets=2))


def test_homography_of_a_plane() -> None:
    # The flow of one plane is a homography's.
    depth = torch.full((1, 1, 48, 48), 3.0)
    flow = rigid_flow(depth, torch.from_numpy(motion((0, 1, 0), (0.1, 0, 0.1))).float()[None], K[None])[0]
    found = homography_flow(flow, torch.ones(48, 48, dtype=torch.bool))
    np.testing.assert_allclose(found, flow.numpy(), atol=1e-3)
    np.testing.assert_array_equal(homography_flow(flow, torch.zeros(48, 48, dtype=torch.bool)), 0)


def test_figures_of_worlds() -> None:
    # All baselines stand beside the estimate; each of them leaves less of the flow than a camera that stands still.
    estimators = load_estimators(Choice("dis_fast", "none"))
    prior = torch.ones(48, 48)
    found = pose_report(Tally.join(measure_pose(SMALL.clip(k), estimators, prior) for k in range(2)))
    assert found["identity"]["rotation_ratio"] == pytest.approx(1) and found["identity"]["found"] == 0
    assert found["identity"]["translation_deg_all"] == 90 and found["straight_ahead"]["found"] == 1
    if estimators.pose is None:
        assert "network" not in found
        assert {k: found["direct"][k] for k in ("rotation_ratio", "residual_px")} == {
            k: found[k] for k in ("rotation_ratio", "residual_px")
        }
    residuals = {name: found[name]["residual_px"] for name in ("direct", "essential", "homography", "exact")}
    assert max(residuals.values()) < found["identity"]["residual_px"]


def walk(count: int = 12) -> Trajectory:
    t = np.linspace(0, 2, count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.stack([0 * t, t, 0 * t], -1)).as_matrix()
    poses[:, :3, 3] = np.stack([np.sin(t), 0 * t, t], -1)
    return Trajectory(poses)


def test_comparing_trajectories() -> None:
    # The same path in another unit and world: no error; both are seen from the first true camera.
    truth = walk()
    moved = motion((10, 20, 30), (1, 2, 3)) @ truth.world_from_camera
    moved[:, :3, 3] *= 5
    found = compare("a", Trajectory(moved), truth)
    assert found.figures.ate_rmse < 1e-9 and found.figures.scale == pytest.approx(1 / 5)
    np.testing.assert_allclose(found.estimate, found.truth, atol=1e-9)
    np.testing.assert_allclose(found.truth[0], 0, atol=1e-12)
    report = trajectory_report([found, found])
    assert report["clips"] == 2 and report["ate_rmse"] < 1e-9 < report["still"]["ate_rmse"]
    assert trajectory_report([]) == {}


def test_standing_still_by_hand() -> None:
    # Steps of 1 m: positions 0, 1, 2 lie 1, 0, 1 m from their middle.
    poses = np.stack([motion((0, 2 * k, 0), (k, 0, 0)) for k in range(3)])
    found = standing_still(poses)
    assert found["ate_rmse"] == pytest.approx(np.sqrt(2 / 3))
    assert found["rpe_translation"] == pytest.approx(1) and found["rpe_rotation"] == pytest.approx(2)


def test_following_a_camera() -> None:
    # One pose a frame, and the first is the origin; flow is enough.
    clip = Worlds(sequences=1, size=(64, 64), frames=6).clip(1)
    found = follow_camera(clip.images, clip.intrinsics, load_estimators(Choice("dis_fast", "none")), torch.ones(64, 64))
    assert len(found) == 6
    np.testing.assert_array_equal(found.world_from_camera[0], np.eye(4))
    assert np.isfinite(found.world_from_camera).all()


def test_reading_either_format(tmp_path: Path) -> None:
    truth = walk()
    write_tum(truth, tmp_path / "tum.txt")
    write_kitti(truth, tmp_path / "kitti.txt")
    for name in ("tum.txt", "kitti.txt"):
        np.testing.assert_allclose(
            read_trajectory(tmp_path / name).world_from_camera, truth.world_from_camera, atol=1e-6
        )
    (tmp_path / "bad.txt").write_text("# comment\n0 1 2 3 0 0 0 one\n")
    with pytest.raises(UserError, match=r"bad.txt:2: expected 8 numbers"):
        read_trajectory(tmp_path / "bad.txt")

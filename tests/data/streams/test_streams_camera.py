from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.data.streams.camera import CameraPath, background_motion, project_bodies, rotations


def still(yaw: list[float], pitch: float = 0.2, focal: float = 800.0, position: np.ndarray | None = None) -> CameraPath:
    yaw = np.array(yaw, float)
    frames = len(yaw)
    place = np.tile([0.0, 0.0, 3.0], (frames, 1)) if position is None else position
    rotation = rotations(yaw, np.full(frames, pitch), np.zeros(frames))
    times = np.arange(frames) / 25
    return CameraPath(times, (1280, 720), place, yaw, rotation, np.full(frames, focal), 12.0)


def people(camera: CameraPath, foot: list[list[float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shape = (len(camera.times), len(foot))
    one = np.ones(shape)
    facing = np.broadcast_to([1.0, 0.0], (*shape, 2))
    return project_bodies(
        camera, np.broadcast_to(np.array(foot, float), (*shape, 2)), facing, 0.4 * one, 0.6 * one, 1.8 * one, 0 * one,
        np.zeros(shape, bool),
    )  # fmt: skip


def test_rotations_are_rotations() -> None:
    rotation = rotations(np.array([0.3, -2.0]), np.array([0.4, 0.1]), np.array([0.05, -0.2]))
    assert rotation @ rotation.transpose(0, 2, 1) == pytest.approx(np.tile(np.eye(3), (2, 1, 1)), abs=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_a_level_camera_sees_heights_by_similar_triangles() -> None:
    boxes, depth, in_front = people(still([0.0], pitch=0.0), [[0, 10], [2, 20], [0, -5]])
    assert depth[0, :2] == pytest.approx([10, 20])
    assert in_front[0].tolist() == [True, True, False]
    top, bottom = boxes[0, 0, 1], boxes[0, 0, 3]
    assert bottom == pytest.approx(360 + 800 * 3.0 / 9.7, abs=1)  # the near edge of a body 0.6 m deep
    assert top == pytest.approx(360 + 800 * 1.2 / 10.3, abs=1)
    assert (boxes[0, 1, 0] + boxes[0, 1, 2]) / 2 == pytest.approx(640 + 800 * 2 / 20, abs=2)


def test_a_turned_vehicle_is_as_wide_as_it_is_long() -> None:
    camera, one = still([0.0], pitch=0.0), np.ones((1, 2))
    foot = np.array([[[0.0, 30], [0.0, 30]]])
    facing = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    boxes, _, _ = project_bodies(camera, foot, facing, 4.4 * one, 1.8 * one, 1.5 * one, 0 * one, np.ones((1, 2), bool))
    width = boxes[0, :, 2] - boxes[0, :, 0]
    assert width[0] == pytest.approx(800 * 1.8 / 27.8, rel=0.01)
    assert width[1] == pytest.approx(800 * 4.4 / 29.1, rel=0.01)


@pytest.mark.parametrize("motion", ["pan", "zoom"])
def test_static_agents_follow_the_background(motion: str) -> None:
    camera = still(np.linspace(0, 0.04, 6).tolist() if motion == "pan" else [0.0] * 6)
    if motion == "zoom":
        camera.focal[:] = np.linspace(800, 920, 6)
    boxes, _, _ = people(camera, [[-3, 12], [0, 16], [3, 14]])
    affine = background_motion(camera)
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    moved = centre[:-1] @ affine[1:, :, :2].transpose(0, 2, 1) + affine[1:, None, :, 2]
    travelled = np.abs(centre[1:] - centre[:-1]).max()
    assert travelled > 5  # pixels a frame
    assert np.abs(moved - centre[1:]).max() < 0.2 * travelled  # an affine map is not quite a rotation


def test_forward_motion_is_followed_roughly() -> None:
    position = np.stack([np.zeros(6), 0.06 * np.arange(6), np.full(6, 3.0)], -1)
    camera = still([0.0] * 6, position=position)
    boxes, _, _ = people(camera, [[-3, 10], [3, 14]])
    affine = background_motion(camera)
    foot = np.stack([(boxes[..., 0] + boxes[..., 2]) / 2, boxes[..., 3]], -1)
    moved = foot[:-1] @ affine[1:, :, :2].transpose(0, 2, 1) + affine[1:, None, :, 2]
    assert np.abs(moved - foot[1:]).mean() < 0.6 * np.abs(foot[:-1] - foot[1:]).mean()


def test_the_first_frame_does_not_move() -> None:
    assert np.array_equal(background_motion(still([0.0, 0.1]))[0], np.eye(2, 3))

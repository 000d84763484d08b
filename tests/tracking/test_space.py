"""Depth, positions and the camera's motion in space within the tracker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from geometry.video import VideoGeometry
from scenegraph_track import Detections, Frame, SceneGraph, Tracker, TrackerState
from scenegraph_track.config import GeometrySettings, load_config
from scenegraph_track.data.worlds import WorldClip, render, sample_scene
from scenegraph_track.errors import UserError
from scenegraph_track.graph import to_json_line
from scenegraph_track.structures import RELATIONS, ObjectState
from scenegraph_track.tracking import tracker as tracker_module
from scenegraph_track.tracking.matching import paired_iou
from scenegraph_track.tracking.space import (
    Space,
    moved_in_space,
    rotation_dominates,
    surer,
    track_maps,
    video_geometry,
)

K = np.array([[100.0, 0.0, 50.0], [0.0, 100.0, 40.0], [0.0, 0.0, 1.0]])
TRACKER = Tracker.from_config("reference")
Input = list[tuple[Frame, Detections]]


def moved(*shift: float, yaw: float = 0.0) -> np.ndarray:
    """``current_from_previous``: a turn about y in radians, then a shift."""
    out = np.eye(4)
    out[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    out[:3, 3] = shift
    return out


def world_input(
    clip: WorldClip, *, depth: bool = False, pose: bool = False, image: bool = True, step: int = 1
) -> Input:
    """Frames with true boxes of what is mostly visible, and with what is measured."""
    out = []
    for frame in clip.frames[::step]:
        more: dict = {"intrinsics": torch.from_numpy(frame.intrinsics)}
        if depth:
            more["depth"] = torch.from_numpy(frame.depth)[None]
        if pose:
            more["world_from_camera"] = torch.from_numpy(frame.world_from_camera)
        if image:
            one = Frame.from_rgb(frame.image, frame.index, frame.timestamp, **more)
        else:
            one = Frame(frame.index, frame.timestamp, size=clip.scene.size, **more)
        seen = frame.visible_fraction > 0.6
        out.append((one, Detections.from_arrays(frame.visible_boxes[seen], classes=np.ones(seen.sum(), np.int64))))
    return out


def run(
    given: Input, tracker: Tracker = TRACKER, state: TrackerState | None = None
) -> tuple[TrackerState, list[SceneGraph]]:
    state, scenes = state or tracker.start(), []
    for frame, found in given:
        state, scene = tracker.step(state, frame, found)
        scenes.append(scene)
    return state, scenes


@pytest.fixture(scope="module")
def drive() -> WorldClip:
    """A strongly moving camera in a world at rest."""
    clip = render(sample_scene("static", "val", 1, (160, 120), 16))
    assert clip.scene.camera.motion == "drive"
    return clip


# --- geometry of tracks ----------------------------------------------------------------------------------------------


def test_points_move_by_their_depth() -> None:
    # The camera steps 0.4 to the right: twice the depth, half the shift; far away none.
    maps, depths = moved_in_space(np.full((3, 2), 50.0), np.array([2.0, 4.0, np.inf]), moved(-0.4, 0, 0), K, K)
    assert maps[:, 0, 2] == pytest.approx([-20, -10, 0]) and maps[:, :, :2] == pytest.approx(np.stack([np.eye(2)] * 3))
    assert depths[:2] == pytest.approx([2, 4])


def test_what_comes_nearer_grows() -> None:
    maps, depths = moved_in_space(np.array([[50.0, 40.0], [60.0, 40.0]]), np.array([4.0, 4.0]), moved(0, 0, -2), K, K)
    assert depths == pytest.approx([2, 2]) and maps[0, :, :2] == pytest.approx(2 * np.eye(2))
    assert maps[1] @ [60, 40, 1] == pytest.approx([70, 40])
    behind, gone = moved_in_space(np.array([[50.0, 40.0]]), np.array([1.0]), moved(0, 0, -2), K, K)
    assert np.isnan(behind).all() and np.isnan(gone).all()


def test_zoom_is_no_motion() -> None:
    double = K * np.array([2.0, 2.0, 1.0])[:, None]
    maps, depths = moved_in_space(np.array([[60.0, 44.0]]), np.array([3.0]), np.eye(4), K, double)
    assert maps[0] @ [60, 44, 1] == pytest.approx([120, 88]) and depths == pytest.approx([3])


def test_local_maps_are_the_derivative() -> None:
    motion, pixels, depths = moved(0.2, 0.1, -0.5, yaw=0.1), np.array([[30.0, 60.0]]), np.array([3.0])
    there = [
        moved_in_space(pixels + d, depths, motion, K, K)[0][0] @ [*(pixels[0] + d), 1] for d in ((0, 0), (0.01, 0))
    ]
    maps, _ = moved_in_space(pixels, depths, motion, K, K)
    assert maps[0, :, 0] == pytest.approx((there[1] - there[0]) / 0.01, rel=1e-3)


def test_tracks_of_unknown_depth() -> None:
    # They follow the similarity where there is one, else the median depth of the others.
    pixels, depths = np.full((3, 2), 50.0), np.array([2.0, np.nan, 4.0])
    similarity = np.array([[1.0, 0, 5], [0, 1, 6]])
    maps, ahead = track_maps(pixels, depths, moved(-0.4, 0, 0), K, K, similarity)
    assert np.array_equal(maps[1], similarity) and maps[0, 0, 2] == pytest.approx(-20)
    maps, ahead = track_maps(pixels, depths, moved(-0.4, 0, 0), K, K, None)
    assert maps[1, 0, 2] == pytest.approx(-40 / 3) and np.isnan(ahead[1])


def test_when_rotation_dominates() -> None:
    assert rotation_dominates(np.eye(4)) and rotation_dominates(moved(0, 0, 0, yaw=0.05))
    assert rotation_dominates(moved(0.02, 0, 0, yaw=0.05)) and not rotation_dominates(moved(0.03, 0, 0, yaw=0.05))
    assert not rotation_dominates(moved(0.001, 0, 0))


# --- which motion is believed ----------------------------------------------------------------------------------------


def corners_of(motion: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners on a grid of the previous image and where they are seen in this one; depth is this image's, constant."""
    after = np.stack(np.meshgrid(np.arange(5.0, 100, 10), np.arange(5.0, 80, 10)), -1).reshape(-1, 2)
    column, row = after.astype(int).T
    maps, _ = moved_in_space(after, depth[row, column], np.linalg.inv(motion), K, K)
    return (maps[:, :, :2] @ after[:, :, None])[:, :, 0] + maps[:, :, 2], after


def test_the_motion_that_explains_the_background_is_believed() -> None:
    # Two depths, a step to the side: no similarity explains both; a wrong pose explains neither.
    depth = np.full((80, 100), 2.0)
    depth[:, 50:] = 8.0
    right, wrong = moved(-0.4, 0, 0), moved(0.4, 0, 0)
    corners = corners_of(right, depth)
    similarity = np.array([[1.0, 0, -12.5], [0, 1, 0]])

    def believed(motion: np.ndarray, space: Space, similarity: np.ndarray | None = similarity) -> bool:
        return surer(corners, similarity, space, np.linalg.inv(motion), K, (100, 80), 0.5)

    assert believed(right, Space(K, depth))
    assert not believed(wrong, Space(K, depth))
    assert not believed(right, Space(K, 3 * depth))  # a depth of the wrong scale is as bad
    assert not believed(right, Space(K))  # without depth all is far away
    assert believed(wrong, Space(K, 0 * depth))  # no corner of known depth: nothing speaks against it
    assert believed(wrong, Space(K, depth), None)
    assert surer(None, similarity, Space(K, depth), np.linalg.inv(wrong), K, (100, 80), 0.5)


def test_a_wrong_pose_does_no_harm(drive: WorldClip) -> None:
    # With odometry that runs backwards the tracker keeps to what it sees in the images.
    given = world_input(drive, depth=True, pose=True, step=2)
    wrong = [
        (replace(frame, world_from_camera=torch.linalg.inv(frame.world_from_camera)), found) for frame, found in given
    ]
    seen, misled = predicted_iou(world_input(drive, step=2)), predicted_iou(wrong)
    assert misled > seen - 0.02


# --- the tracker -----------------------------------------------------------------------------------------------------


def watched(given: Input, tracker: Tracker = TRACKER) -> tuple[float, list[SceneGraph]]:
    """Mean IoU of where tracks were expected and the detections that they were matched with, and the scenes."""
    overlaps: list[float] = []
    associate = tracker_module.associate

    def spy(situation, learned=None):  # type: ignore[no-untyped-def]
        after, decided = associate(situation, learned)
        known = (decided.detection >= 0) & (decided.last_seen < after.timestamp)
        overlaps.extend(paired_iou(decided.predicted[known], situation.boxes[decided.detection[known]]))
        return after, decided

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracker_module, "associate", spy)
        _, scenes = run(given, tracker)
    return float(np.mean(overlaps)), scenes


def predicted_iou(given: Input) -> float:
    return watched(given)[0]


def test_depth_and_pose_predict_better_than_the_image(drive: WorldClip) -> None:
    # Every second frame of a driving camera; with or without images.
    plain, blind = (predicted_iou(world_input(drive, step=2, image=image)) for image in (True, False))
    measured = predicted_iou(world_input(drive, depth=True, pose=True, step=2))
    unseen = predicted_iou(world_input(drive, depth=True, pose=True, step=2, image=False))
    assert measured > plain + 0.05 and unseen > blind + 0.05
    assert measured > 0.8


def test_pose_alone_helps_a_turning_camera() -> None:
    clip = render(sample_scene("static", "val", 9, (160, 120), 12))
    assert clip.scene.camera.motion == "pan"
    blind, turned = (predicted_iou(world_input(clip, pose=pose, image=False, step=2)) for pose in (False, True))
    assert turned > blind + 0.05


def test_positions_are_those_of_the_world(drive: WorldClip) -> None:
    # True boxes, depth and pose: the surface of each object, against the middle of its body, within a tenth of the
    # distance; in a world at rest they stay where they are.
    given = world_input(drive, depth=True, pose=True)
    first: dict[int, np.ndarray] = {}
    for scene, frame in zip(run(given)[1], drive.frames):
        seen = np.flatnonzero(frame.visible_fraction > 0.6)
        nodes = scene.data["object"]
        for row in np.flatnonzero(nodes.detection.numpy() >= 0):
            if frame.visible_fraction[seen[int(nodes.detection[row])]] < 0.95:
                continue  # the middle of what is seen is not the object's
            place = scene.positions[row].numpy()
            body = seen[int(nodes.detection[row])]
            true = frame.world_from_camera[:3, :3] @ frame.positions[body] + frame.world_from_camera[:3, 3]
            reach = 0.1 * frame.positions[body, 2] + 0.1
            assert np.linalg.norm(place - true) < reach
            assert np.linalg.norm(first.setdefault(int(scene.track_ids[row]), place) - place) < 2 * reach


def test_a_hidden_object_keeps_its_place(drive: WorldClip) -> None:
    # While nothing is detected, the nodes stay where they were in the world, though the camera drives on.
    given = world_input(drive, depth=True, pose=True)
    hidden = [(frame, Detections.empty()) for frame, _ in given[8:12]]
    scenes = run(given[:8] + hidden)[1]
    before, after = scenes[7], scenes[11]
    rows = [before.track_ids.tolist().index(i) for i in after.track_ids.tolist()]
    assert len(rows) > 1 and (after.states != ObjectState.VISIBLE).all()
    inside = (after.states == ObjectState.HIDDEN).numpy()
    distance = np.linalg.norm(after.positions.numpy() - given[11][0].world_from_camera[:3, 3].numpy(), axis=1)
    off = np.linalg.norm((after.positions - before.positions[rows]).numpy(), axis=1)
    assert (off[inside] < 0.1 * distance[inside]).all()


def test_positions_without_pose_are_in_camera_axes(drive: WorldClip) -> None:
    frame = drive.frames[0]
    (scene,) = run(world_input(drive, depth=True)[:1])[1]
    seen = np.flatnonzero(frame.visible_fraction > 0.6)
    true = frame.positions[seen[scene.data["object"].detection.numpy()]]
    assert (np.linalg.norm(scene.positions.numpy() - true, axis=1) < 0.1 * true[:, 2] + 0.1).all()


def test_front_and_behind_follow_the_depth_map() -> None:
    # The box that stands lower would be nearer by the rule of boxes; the depth map says otherwise.
    depth = torch.full((1, 80, 100), 9.0, dtype=torch.float64)
    depth[:, 10:40, 60:90] = 3.0
    boxes = [[10.0, 30, 40, 70], [60.0, 10, 90, 40]]
    frame = Frame(0, 0.0, size=(100, 80), depth=depth)
    front = RELATIONS.index("in_front_of")
    scene = run([(frame, Detections.from_arrays(boxes))])[1][0]
    assert float(scene.relations[0, front]) < 0.1 < 0.9 < float(scene.relations[1, front])
    given = run([(frame, Detections.from_arrays(boxes, depths=[2.0, 7.0]))])[1][0]  # the detections' own come first
    assert float(given.relations[0, front]) > 0.9
    assert given.positions[:, 2].tolist() == pytest.approx([2, 7])


# --- geometry that the tracker finds itself --------------------------------------------------------------------------


class TrueDepth:
    """A network that knows the depth of a clip."""

    metric = True

    def __init__(self, clip: WorldClip) -> None:
        self.depth = {
            frame.image.transpose(2, 0, 1).tobytes(): torch.from_numpy(frame.depth)[None, None] for frame in clip.frames
        }

    def __call__(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        return self.depth[(image[0] * 255).round().byte().numpy().tobytes()]


def test_found_geometry_counts_as_if_it_had_been_measured(drive: WorldClip) -> None:
    found = Tracker(TRACKER.config, VideoGeometry("dis_fine", TrueDepth(drive), depth_error=0.05))
    given = world_input(drive, step=2)[:5]
    overlap, scenes = watched(given, found)
    assert overlap > predicted_iou(given) + 0.02
    for scene, frame in zip(scenes, drive.frames[::2]):
        relative = np.linalg.inv(drive.frames[0].world_from_camera) @ frame.world_from_camera
        seen = np.flatnonzero(frame.visible_fraction > 0.6)
        rows = np.flatnonzero(scene.data["object"].detection.numpy() >= 0)
        body = frame.positions[seen[scene.data["object"].detection.numpy()[rows]]]
        true = body @ relative[:3, :3].T + relative[:3, 3]
        off = np.linalg.norm(scene.positions.numpy()[rows] - true, axis=1) / body[:, 2]
        assert np.median(off) < 0.15


@pytest.mark.parametrize("cut", [1, 3])
def test_saved_and_loaded_with_geometry_goes_on_byte_for_byte(drive: WorldClip, tmp_path: Path, cut: int) -> None:
    tracker = Tracker.from_config("reference", ["geometry.flow=dis_fast", "geometry.working_size=64"])
    given = world_input(drive)[:5]
    end, whole = run(given, tracker)
    middle, first = run(given[:cut], tracker)
    middle.save(tmp_path / "state")
    loaded = TrackerState.load(tmp_path / "state")
    assert loaded == middle and loaded != end and middle.geometry is not None
    resumed, rest = run(given[cut:], tracker, loaded)
    assert [to_json_line(s) for s in whole] == [to_json_line(s) for s in first + rest]
    assert resumed == end
    resumed.save(tmp_path / "a")
    end.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_saved_and_loaded_with_measured_depth_and_pose(drive: WorldClip, tmp_path: Path) -> None:
    given = world_input(drive, depth=True, pose=True)[:8]
    _, whole = run(given)
    middle, first = run(given[:4])
    middle.save(tmp_path / "state")
    rest = run(given[4:], state=TrackerState.load(tmp_path / "state"))[1]
    assert [to_json_line(s) for s in whole] == [to_json_line(s) for s in first + rest]


def test_frames_may_lack_their_image_or_pose(drive: WorldClip) -> None:
    # A broken image or a lost pose breaks the chain for a step, not the run.
    tracker = Tracker.from_config("reference", ["geometry.flow=dis_fast", "geometry.working_size=64"])
    given = world_input(drive)[:6]
    given[2] = (Frame(given[2][0].index, given[2][0].timestamp, size=(160, 120)), given[2][1])
    state, scenes = run(given, tracker)
    assert len({tuple(s.track_ids.tolist()) for s in scenes[:3]}) == 1
    assert state.world_from_camera.shape == (4, 4)
    lost = world_input(drive, depth=True, pose=True)[:6]
    lost[3] = (replace(lost[3][0], world_from_camera=None), lost[3][1])
    state, scenes = run(lost)
    assert scenes[3].positions.isfinite().any() and run(lost[:4])[0].world_from_camera.size == 0


def test_settings_say_what_is_looked_for() -> None:
    assert video_geometry(GeometrySettings()) is None
    found = video_geometry(GeometrySettings(flow="dis_fast", working_size=64))
    assert found is not None and (found.flow, found.depth, found.working_size) == ("dis_fast", None, 64)
    with pytest.raises(UserError, match="geometry: "):
        video_geometry(GeometrySettings(flow="dis_fast", depth="/no such folder"))
    with pytest.raises(UserError, match="expected a flow"):
        load_config("reference", ["geometry.depth=embedded"])


def test_tiny_images_are_refused_by_name() -> None:
    tracker = Tracker.from_config("reference", ["geometry.flow=dis_fast"])
    frame = Frame.from_rgb(np.zeros((8, 8, 3), np.uint8), 3, 0.0)
    with pytest.raises(UserError, match=r"frame 3: .*16 x 16"):
        tracker.step(tracker.start(), frame, Detections.empty())

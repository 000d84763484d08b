"""Geometry of a video, frame by frame: estimated, and with measured depth or poses."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from geometry.camera import rigid_flow
from geometry.errors import GeometryError
from geometry.pose import inverse, rotation_angle
from geometry.trajectory import align
from geometry.video import VideoGeometry, VideoGeometryState, reduced
from scenegraph_track.data.worlds import WorldClip, WorldFrame, render, sample_scene

SIZE = (96, 72)


def image_of(frame: WorldFrame) -> Tensor:
    return torch.from_numpy(frame.image).permute(2, 0, 1).contiguous()


def depth_of(frame: WorldFrame) -> Tensor:
    return torch.from_numpy(frame.depth)


class ExactFlow:
    """The true flow of a clip: that of its static surfaces between any two frames, of everything between neighbours."""

    def __init__(self, clip: WorldClip) -> None:
        self.clip = clip
        self.index = {image_of(frame).numpy().tobytes(): frame.index for frame in clip.frames}

    def __call__(self, image_a: Tensor, image_b: Tensor) -> Tensor:
        a, b = (self.clip.frames[self.index[image.numpy().tobytes()]] for image in (image_a, image_b))
        if abs(a.index - b.index) == 1:
            flow = a.flow_forward if b.index > a.index else a.flow_backward
            return torch.from_numpy(flow).permute(2, 0, 1).contiguous()
        motion = inverse(torch.from_numpy(b.world_from_camera)) @ torch.from_numpy(a.world_from_camera)
        return rigid_flow(depth_of(a)[None, None].double(), motion[None], torch.from_numpy(a.intrinsics)[None])[0]


@pytest.fixture(scope="module")
def walk() -> WorldClip:
    """A camera that walks through a world at rest."""
    clip = render(sample_scene("static", "val", 6, SIZE, 10))
    assert clip.scene.camera.motion == "walk"
    return clip


def watch(clip: WorldClip, geometry: VideoGeometry, depth: bool = False, pose: bool = False) -> list:
    state, found = geometry.start(), []
    for frame in clip.frames:
        measured = depth_of(frame) if depth else None
        place = torch.from_numpy(frame.world_from_camera) if pose else None
        state, one = geometry.step(state, image_of(frame), torch.from_numpy(frame.intrinsics), measured, place)
        assert len(state.images) <= 1 + geometry.keyframes  # bounded memory
        found.append(one)
    return found


def truth(clip: WorldClip) -> np.ndarray:
    return np.stack([frame.world_from_camera for frame in clip.frames])


def path_length(poses: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())


@pytest.fixture(scope="module")
def estimated(walk: WorldClip) -> list:
    return watch(walk, VideoGeometry(ExactFlow(walk)))


def test_depth_and_trajectory_share_one_scale(walk: WorldClip, estimated: list) -> None:
    # From motion alone: one factor for the whole video brings depths and positions to the truth.
    poses = np.stack([one.world_from_camera.numpy() for one in estimated])
    aligned, (factor, _, _) = align(poses, truth(walk))
    error = np.sqrt(((aligned - truth(walk))[:, :3, 3] ** 2).sum(1).mean())
    assert error < 0.03 * path_length(truth(walk))
    ratios = []
    for one, frame in zip(estimated[3:], walk.frames[3:]):
        sure = one.confidence > 0.5
        assert sure.float().mean() > 0.5 and not one.metric
        ratio = factor * one.depth[sure] / depth_of(frame)[sure]
        ratios.append(float(ratio.median()))
        assert float((ratio / ratio.median() - 1).abs().median()) < 0.05
    assert max(ratios) / min(ratios) < 1.15 and abs(np.log(np.median(ratios))) < 0.1


def test_everything_fits_together(walk: WorldClip, estimated: list) -> None:
    # Poses are chained; the residual is the flow without the camera's, nearly 0 in a world at rest.
    for before, one in pairwise(estimated[2:]):
        chained = inverse(one.world_from_camera) @ before.world_from_camera
        torch.testing.assert_close(chained, one.current_from_previous)
        assert (one.depth > 0).all() and one.depth.shape == one.moving.shape == SIZE[::-1]
        assert float(one.residual.nan_to_num().norm(dim=0).median()) < 0.1
        assert one.moving.float().mean() < 0.02
    assert estimated[0].flow is None and estimated[0].residual is None and not estimated[0].moving.any()


def test_measured_depth_gives_metric_poses(walk: WorldClip) -> None:
    found = watch(walk, VideoGeometry(ExactFlow(walk)), depth=True)
    first = truth(walk)[0]
    for one, frame in zip(found, walk.frames):
        relative = torch.from_numpy(np.linalg.inv(first) @ frame.world_from_camera)
        off = (one.world_from_camera - relative)[:3, 3].norm()
        assert float(off) < 0.02 * path_length(truth(walk)) + 1e-6
        assert float(rotation_angle(one.world_from_camera[:3, :3].T @ relative[:3, :3]).rad2deg()) < 0.1
        torch.testing.assert_close(one.depth, depth_of(frame))
        assert one.metric and (one.confidence > 0.9).all()


def test_holes_in_measured_depth_are_filled(walk: WorldClip) -> None:
    # Unknown pixels get a guess from those around, and little confidence.
    frame = walk.frames[0]
    holes = depth_of(frame).clone()
    holes[20:40, 30:60] = 0
    geometry = VideoGeometry(ExactFlow(walk))
    _, one = geometry.step(geometry.start(), image_of(frame), torch.from_numpy(frame.intrinsics), holes)
    inside = holes == 0
    assert (one.confidence[inside] < 0.1).all() and (one.confidence[~inside] > 0.9).all()
    assert torch.equal(one.depth[~inside], holes[~inside]) and (one.depth[inside] > 0).all()


def test_measured_poses_give_metric_depth(walk: WorldClip) -> None:
    found = watch(walk, VideoGeometry(ExactFlow(walk)), pose=True)
    for one, frame in zip(found[4:], walk.frames[4:]):
        assert np.array_equal(one.world_from_camera.numpy(), frame.world_from_camera) and one.metric
        sure = one.confidence > 0.5
        assert sure.float().mean() > 0.5
        assert float((one.depth[sure] / depth_of(frame)[sure] - 1).abs().median()) < 0.05


def test_depth_measured_later_rescales_the_video(walk: WorldClip) -> None:
    # The first frames have some scale; from the first measured depth on, poses are in metres.
    geometry = VideoGeometry(ExactFlow(walk))
    state, metric, found = geometry.start(), [], []
    for frame in walk.frames:
        depth = depth_of(frame) if frame.index >= 4 else None
        state, one = geometry.step(state, image_of(frame), torch.from_numpy(frame.intrinsics), depth)
        metric.append(one.metric)
        found.append(one)
    assert metric == [False] * 4 + [True] * 6
    for one, frame, before in zip(found[5:], walk.frames[5:], walk.frames[4:]):
        moved = np.linalg.inv(frame.world_from_camera) @ before.world_from_camera
        assert np.linalg.norm(one.current_from_previous.numpy()[:3, 3] - moved[:3, 3]) < 0.1 * np.linalg.norm(
            moved[:3, 3]
        )


def test_a_lost_pose_is_bridged(walk: WorldClip) -> None:
    # One frame without its pose: it is estimated in metres, and the next measured one is taken as it is.
    geometry = VideoGeometry(ExactFlow(walk))
    state = geometry.start()
    for frame in walk.frames[:8]:
        pose = None if frame.index == 5 else torch.from_numpy(frame.world_from_camera)
        given = image_of(frame), torch.from_numpy(frame.intrinsics), depth_of(frame), pose
        state, one = geometry.step(state, *given)
        error = np.linalg.norm((one.world_from_camera.numpy() - frame.world_from_camera)[:3, 3])
        assert error < (0.02 if frame.index == 5 else 1e-12)


def test_moving_objects_stand_out() -> None:
    # With the true flow the mask is where things move on their own, not where only the camera does.
    clip = render(sample_scene("standard", "val", 4, SIZE, 2, frame_rate=8.0))
    one = watch(clip, VideoGeometry(ExactFlow(clip)), depth=True)[1]
    frame = clip.frames[1]
    previous = torch.from_numpy(np.linalg.inv(clip.frames[0].world_from_camera) @ frame.world_from_camera)
    k = torch.from_numpy(frame.intrinsics)
    own = (
        torch.from_numpy(frame.flow_backward).permute(2, 0, 1)
        - rigid_flow(depth_of(frame)[None, None].double(), previous[None], k[None])[0]
    )
    known = torch.from_numpy(~frame.occluded_backward)
    moves, rests = known & (own.norm(dim=0) > 1), known & (own.norm(dim=0) < 0.1)
    assert moves.float().mean() > 0.03  # the case is no empty promise
    assert one.moving[moves].float().mean() > 0.8
    assert one.moving[rests].float().mean() < 0.02


def test_a_network_fills_what_motion_does_not_tell(walk: WorldClip) -> None:
    # A camera at rest: the depth is the network's; the pose stays; a metric network's scale counts as metres.
    frame = walk.frames[0]

    class Net:
        metric = True

        def __call__(self, image: Tensor, intrinsics: Tensor) -> Tensor:
            assert image.shape == (1, 3, *SIZE[::-1]) and intrinsics.shape == (1, 3, 3) and image.max() <= 1
            return depth_of(frame)[None, None]

    geometry = VideoGeometry("dis_fast", Net())
    state = geometry.start()
    for _ in range(3):
        state, one = geometry.step(state, image_of(frame), torch.from_numpy(frame.intrinsics))
    torch.testing.assert_close(one.depth, depth_of(frame), rtol=1e-3, atol=0)
    torch.testing.assert_close(one.world_from_camera, torch.eye(4).double(), atol=1e-6, rtol=0)
    assert one.metric and 0.3 < float(one.confidence.median()) < 0.95


def test_what_contradicts_the_network_is_not_carried_on(walk: WorldClip) -> None:
    # A state of mistaken depth, which a camera at rest would keep: the network's shape then, in the state's scale.
    frame = walk.frames[0]
    given = image_of(frame), torch.from_numpy(frame.intrinsics)
    geometry = VideoGeometry("dis_fast", lambda image, intrinsics: depth_of(frame)[None, None])
    state, _ = geometry.step(geometry.start(), *given)
    waves = torch.exp(3 * torch.sin(torch.arange(SIZE[0]) * 1.0)).expand(SIZE[::-1])
    for factor, same in ((waves, False), (torch.tensor(7.0), True)):
        wrong = replace(state, depth=state.depth * factor, confidence=torch.full_like(state.depth, 0.95))
        _, one = geometry.step(wrong, *given)
        ratio = one.depth / depth_of(frame)
        assert float(ratio.std() / ratio.mean()) < 1e-3
        assert float(ratio.median()) == pytest.approx(7.0, rel=0.01) or not same
        assert (float(one.confidence.median()) > 0.9) == same


def test_large_images_are_reduced(walk: WorldClip) -> None:
    # Maps and intrinsics are those of the working resolution, whatever the kind of the image.
    frame = walk.frames[0]
    geometry = VideoGeometry("dis_fast", working_size=48)
    state, one = geometry.step(geometry.start(), image_of(frame).float() / 255, torch.from_numpy(frame.intrinsics))
    assert one.depth.shape == (36, 48) and state.images.shape == (1, 3, 36, 48)
    torch.testing.assert_close(one.intrinsics[:2], torch.from_numpy(frame.intrinsics)[:2] / 2)
    assert torch.equal(reduced(image_of(frame), 96), image_of(frame))


def test_another_size_begins_anew(walk: WorldClip) -> None:
    # The pose is kept, nothing is compared across the change.
    geometry = VideoGeometry("dis_fast")
    state = geometry.start()
    k = torch.from_numpy(walk.frames[0].intrinsics)
    for frame in walk.frames[:3]:
        state, one = geometry.step(state, image_of(frame), k)
    state, cut = geometry.step(state, image_of(walk.frames[3])[:, :64], k)
    assert cut.flow is None and len(state.images) == 1
    assert torch.equal(cut.world_from_camera, one.world_from_camera)


def test_steps_are_pure_and_states_can_be_kept(walk: WorldClip) -> None:
    geometry = VideoGeometry("dis_fast")
    state = geometry.start()
    for frame in walk.frames[:4]:
        given = image_of(frame), torch.from_numpy(frame.intrinsics)
        loaded = VideoGeometryState.from_arrays(state.arrays())
        first, again = geometry.step(state, *given), geometry.step(loaded, *given)
        for a, b in zip(first[0].arrays().values(), again[0].arrays().values(), strict=True):
            assert a.dtype == b.dtype and np.array_equal(a, b)
        state = first[0]
    with pytest.raises(GeometryError, match="depth is missing"):
        VideoGeometryState.from_arrays({k: v for k, v in state.arrays().items() if k != "depth"})


def test_errors() -> None:
    geometry, k = VideoGeometry(), torch.eye(3)
    state, image = geometry.start(), torch.zeros(3, 32, 32)
    for given, message in (
        ((torch.zeros(32, 32), k), "an image"),
        ((torch.zeros(3, 8, 32), k), "16 x 16"),
        ((image, torch.eye(4)), "intrinsics"),
        ((image, k, torch.zeros(2, 4, 4)), "measured depth"),
        ((image, k, None, torch.eye(3)), "world_from_camera"),
    ):
        with pytest.raises(GeometryError, match=message):
            geometry.step(state, *given)
    with pytest.raises(GeometryError, match="working_size"):
        VideoGeometry(working_size=8)
    with pytest.raises(GeometryError, match="from the network"):
        VideoGeometry(depth=lambda image, intrinsics: torch.ones(1, 1, 2, 2)).step(state, image, k)

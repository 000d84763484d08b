"""Flow, depth and pose against one another and against the images."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from scenegraph_track.data.worlds import STATIC_LABEL


def pixel_centres(frame):
    height, width = frame.depth.shape
    return np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)


def back_project(frame):
    x, y = pixel_centres(frame)
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(frame.intrinsics).T
    points = rays * frame.depth[..., None].astype(float)
    return points @ frame.world_from_camera[:3, :3].T + frame.world_from_camera[:3, 3]


def project(frame, points):
    local = (points - frame.world_from_camera[:3, 3]) @ frame.world_from_camera[:3, :3]
    pixels = local @ frame.intrinsics.T
    return pixels[..., :2] / pixels[..., 2:], local[..., 2]


def sample_image(image, at):
    return cv2.remap(
        image, (at[..., 0] - 0.5).astype(np.float32), (at[..., 1] - 0.5).astype(np.float32), cv2.INTER_LINEAR
    )


def not_moving(clip, frame):
    """Pixels of the surroundings and the static occluders."""
    return (frame.instance == 0) | (frame.instance >= STATIC_LABEL)


def test_next_image_warped_by_depth_and_pose_is_this_image(static_clips):
    errors, unwarped = [], []
    for clip in static_clips:
        for here, there in pairwise(clip.frames):
            target, _ = project(there, back_project(here))
            seen = ~here.occluded_forward & (here.veil == 0)
            warped = sample_image(there.image, target)
            errors.append(np.abs(warped.astype(float) - here.image)[seen].mean())
            unwarped.append(np.abs(there.image.astype(float) - here.image)[seen].mean())
    print(f"photometric error by depth and pose: {np.mean(errors):.2f} of 255, without warping {np.mean(unwarped):.2f}")
    assert np.mean(errors) < 4.0
    assert np.mean(errors) < 0.35 * np.mean(unwarped)


def test_next_image_warped_by_flow_is_this_image_also_on_moving_objects(clips):
    errors, unwarped, moving = [], [], []
    for clip in clips:
        for here, there in pairwise(clip.frames):
            target = np.stack(pixel_centres(here), -1) + here.flow_forward
            seen = ~here.occluded_forward & (here.veil == 0)
            difference = np.abs(sample_image(there.image, target).astype(float) - here.image)
            errors.append(difference[seen].mean())
            unwarped.append(np.abs(there.image.astype(float) - here.image)[seen].mean())
            on_objects = seen & ~not_moving(clip, here)
            if on_objects.sum() > 50:
                moving.append(difference[on_objects].mean())
    print(f"photometric error by flow: {np.mean(errors):.2f} of 255, on objects {np.mean(moving):.2f}")
    print(f"without warping: {np.mean(unwarped):.2f}")
    assert np.mean(errors) < 0.4 * np.mean(unwarped)
    assert np.mean(moving) < 13


@pytest.mark.parametrize("step", [1, -1], ids=["forward", "backward"])
def test_flow_is_the_projected_motion_of_the_surface_points(clips, step):
    worst = 0.0
    for clip in clips:
        frames = clip.frames if step == 1 else clip.frames[::-1]
        for here, there in pairwise(frames):
            points = back_project(here)
            for thing in clip.scene.objects:
                mask = here.instance == thing.label
                motion = thing.world_from_object[there.index] @ np.linalg.inv(thing.world_from_object[here.index])
                points[mask] = points[mask] @ motion[:3, :3].T + motion[:3, 3]
            target, depth = project(there, points)
            flow = here.flow_forward if step == 1 else here.flow_backward
            bent = np.isin(here.instance, [t.label for t in clip.scene.objects if t.bend is not None])
            near = (depth > 0.5) & (np.abs(target).max(-1) < 400) & ~bent
            error = np.abs(target - np.stack(pixel_centres(here), -1) - flow).max(-1)[near]
            worst = max(worst, float(error.max()))
    print(f"largest difference between flow and projected motion: {worst:.4f} px")
    assert worst < 0.02


def test_flow_there_and_back_is_zero_where_the_point_is_visible(clips):
    distances, strays = [], 0
    for clip in clips:
        for here, there in pairwise(clip.frames):
            x, y = pixel_centres(here)
            target = np.stack([x, y], -1) + here.flow_forward
            seen = ~here.occluded_forward
            column, row = target[seen].astype(int).T
            same = here.surface[seen] == there.surface[row, column]
            back = there.flow_backward[row, column]
            # the backward flow is that of the nearest pixel's point: compare where flow is locally smooth
            loop = np.abs(here.flow_forward[seen] + back).max(-1)[same]
            distances.append(loop)
            strays += (~same).sum()
    distances = np.concatenate(distances)
    print(f"forward-backward loop: mean {distances.mean():.3f} px, 99 % below {np.quantile(distances, 0.99):.3f} px")
    assert np.quantile(distances, 0.95) < 0.6
    assert strays < 0.05 * len(distances)


def test_points_seen_in_the_next_frame_lie_at_its_depth(clips):
    errors = []
    for clip in clips:
        for here, there in pairwise(clip.frames):
            target, depth = project(there, back_project(here))
            # inverse depth is affine on a plane: interpolation is exact where a pixel's neighbours are of its piece
            inner = cv2.erode(there.surface, np.ones((3, 3))) == cv2.dilate(there.surface, np.ones((3, 3)))
            column, row = (np.clip(target[..., i], 0, n - 1).astype(int) for i, n in enumerate(clip.scene.size))
            inside = (target >= 0.5).all(-1) & (target <= np.array(clip.scene.size) - 0.5).all(-1)
            seen = not_moving(clip, here) & ~here.occluded_forward & inner[row, column] & inside
            interpolated = sample_image(1 / there.depth, target)
            errors.append(np.abs(interpolated[seen] * depth[seen] - 1))
    errors = np.concatenate(errors)
    print(f"depth of visible static points in the next frame: mean relative difference {errors.mean():.1e}")
    assert errors.mean() < 1e-4
    assert len(errors) > 10_000


def test_the_first_and_the_last_frame_have_no_flow_beyond_the_clip(clips):
    first, last = clips[0].frames[0], clips[0].frames[-1]
    assert first.occluded_backward.all() and not first.flow_backward.any()
    assert last.occluded_forward.all() and not last.flow_forward.any()

"""Clips with exact tracks of points: worlds and recordings."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from geometry.trajectory import Trajectory, write_tum
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.evaluation import point_clips
from scenegraph_track.evaluation.point_clips import PointRecordings, PointWorlds

SIZE, FRAMES = (64, 48), 6


def test_worlds_agree_with_their_flow() -> None:
    # From a frame in which a point is asked for at the middle of a pixel, to the next one.
    clip = PointWorlds("standard", "val", 2, SIZE, FRAMES).clip(1)
    world = render(sample_scene("standard", "val", seed=1, size=SIZE, frames=FRAMES))
    assert clip.name == "standard_val_0001" and clip.images[0].shape == (3, 48, 64)
    np.testing.assert_array_equal(clip.images[2].numpy(), world.frames[2].image.transpose(2, 0, 1))
    compared = 0
    for number, (frame, x, y) in enumerate(clip.queries):
        t = int(frame)
        if t + 1 < FRAMES and np.allclose((x % 1, y % 1), 0.5, atol=1e-4):
            moved = clip.tracks[number, t + 1] - (x, y)
            np.testing.assert_allclose(moved, world.frames[t].flow_forward[int(y), int(x)], atol=0.02)
            compared += 1
    assert compared >= 5


def test_worlds_ask_where_a_point_is_first_seen() -> None:
    clip = PointWorlds("standard", "val", 1, SIZE, FRAMES).clip(0)
    count, first = len(clip.queries), clip.queries[:, 0].astype(int)
    assert count > 30 and clip.tracks.shape == (count, FRAMES, 2)
    assert clip.seen[np.arange(count), first].all() and (clip.seen.argmax(1) == first).all()
    np.testing.assert_allclose(clip.tracks[np.arange(count), first], clip.queries[:, 1:], atol=1e-4)
    assert not clip.counted[np.arange(FRAMES) <= first[:, None]].any() and clip.counted.any(1).all()
    assert 0 < clip.on_object.mean() < 1
    again = PointWorlds("standard", "val", 1, SIZE, FRAMES).clip(0)
    np.testing.assert_array_equal(clip.tracks, again.tracks)


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PointRecordings:
    """A wall 2 m away, 40 px a metre at 1 m, from a camera that moves 0.1 m to the right a frame: 2 px to the left.

    In frame 2 something stands 1 m away in columns 8 to 15; in frame 3 nothing is measured in columns 24 to 31.
    """
    monkeypatch.setattr(point_clips, "SPACING", 16)
    folder = tmp_path / "wall"
    for name in ("rgb", "depth", "poses", "intrinsics"):
        (folder / name).mkdir(parents=True)
    poses = np.tile(np.eye(4), (4, 1, 1))
    poses[:, 0, 3] = 0.1 * np.arange(4)
    for k in range(4):
        depth = np.full((32, 48), 2000, np.uint16)
        depth[:, 8:16] = 1000 if k == 2 else 2000
        depth[:, 24:32] = 0 if k == 3 else 2000
        cv2.imwrite(str(folder / "rgb" / f"{k}.png"), np.full((32, 48, 3), 10 * k, np.uint8))
        cv2.imwrite(str(folder / "depth" / f"{k}.png"), depth)
    write_tum(Trajectory(poses), folder / "poses" / "poses.txt")
    (folder / "intrinsics" / "K.txt").write_text("40 0 24\n0 40 16\n0 0 1\n")
    return PointRecordings(folder)


def test_recordings(recording: PointRecordings) -> None:
    # Points of a grid of the first frame, at (8, 24, 40) x (8, 24); hidden, unknown or out of the image by depth.
    assert len(recording) == 1
    clip = recording.clip(0)
    assert clip.name == "wall-0000" and len(clip.images) == 4 and not clip.on_object.any()
    assert (clip.queries[:, 0] == 0).all()
    assert clip.queries[:, 1:].tolist() == [[8, 8], [24, 8], [40, 8], [8, 24], [24, 24], [40, 24]]
    truth = clip.queries[:, None, 1:] - np.arange(4)[None, :, None] * np.array([2.0, 0.0])
    np.testing.assert_allclose(clip.tracks, truth, atol=1e-3)
    assert clip.seen[2].all() and clip.counted[2].tolist() == [False, True, True, True]
    # x = 8, 6, 4, 2: never behind the near thing of frame 2; x = 24, 22, 20, 18: never in the hole of frame 3
    assert clip.seen[0].all() and clip.seen[1].all()


def test_recordings_tell_hidden_from_unknown(recording: PointRecordings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_clips, "SPACING", 4)
    clip = recording.clip(0)
    x = clip.tracks[..., 0]
    near, hole = (x[:, 2] >= 8) & (x[:, 2] < 16), (x[:, 3] >= 24) & (x[:, 3] < 32)
    assert near.any() and (clip.seen[:, 2] == ~near & (x[:, 2] >= 0)).all() and clip.counted[near, 2].all()
    assert hole.any() and not clip.counted[hole, 3].any() and clip.counted[~hole, 3].all()
    outside = x[:, 3] < 0
    assert outside.any() and not clip.seen[outside, 3].any() and clip.counted[outside, 3].all()

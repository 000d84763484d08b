"""Sequences of one target: from worlds, from boxes, from masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from scenegraph_track.data.masks import write_masks
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.data.worlds.render import WorldClip
from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.evaluation.single import judge_boxes, single_figures
from scenegraph_track.evaluation.single_clips import (
    SingleFolder,
    SingleWorlds,
    cut_boxes,
    world_clip,
    world_targets,
)

SIZE = (96, 72)


@pytest.fixture(scope="module")
def world() -> WorldClip:
    return render(sample_scene("standard", "test", seed=0, size=SIZE, frames=8))


def test_targets_of_a_world(world: WorldClip) -> None:
    # Every object that is seen well and large enough in the first frame and is there in half of the frames; no other.
    found = set(world_targets(world).tolist())
    for index in range(len(world.scene.objects)):
        seen = np.array([frame.visible_fraction[index] for frame in world.frames])
        x1, y1, x2, y2 = cut_boxes(world.frames[0].amodal_boxes[index], SIZE)
        fit = seen[0] >= 0.6 and min(x2 - x1, y2 - y1) >= 10 and (seen >= 1 / 16).mean() >= 0.5
        assert (index in found) == fit
    assert 0 < len(found) < len(world.scene.objects)


def test_a_clip_of_a_world(world: WorldClip) -> None:
    # Whole boxes cut at the image; where hardly anything is seen the target is absent and has none.
    for index in range(len(world.scene.objects)):
        clip = world_clip(world, index, "x")
        assert len(clip) == len(world) and clip.size == SIZE and (clip.images[3] == world.frames[3].image).all()
        for t, frame in enumerate(world.frames):
            assert clip.visibility[t] == frame.visible_fraction[index]
            assert clip.absent[t] == (frame.visible_fraction[index] < 1 / 16) == np.isnan(clip.boxes[t]).all()
            if not clip.absent[t]:
                x1, y1, x2, y2 = frame.amodal_boxes[index]
                assert clip.boxes[t].tolist() == [max(x1, 0), max(y1, 0), min(x2, SIZE[0]), min(y2, SIZE[1])]
        assert all(clip.visibility[frame] >= 0.6 for frame, _ in clip.anchors)


def test_clips_of_worlds_are_always_the_same() -> None:
    source = SingleWorlds("standard", "test", 1, SIZE, 4)
    first, again = source.single_clips(0), source.single_clips(0)
    assert [one.name for one in first] == [one.name for one in again] and 0 < len(first) <= 2
    assert all(one.name.startswith("standard_test_0000_") for one in first)
    assert (first[0].boxes[0] == again[0].boxes[0]).all()
    assert str(source) == "worlds standard, test, 96x72" and len(SingleWorlds()) == 24


@pytest.fixture
def otb(tmp_path: Path) -> Path:
    """A sequence of OTB with five images, in which the target goes right."""
    (tmp_path / "Go" / "img").mkdir(parents=True)
    for t in range(5):
        cv2.imwrite(str(tmp_path / "Go" / "img" / f"{t + 1:04d}.jpg"), np.full((30, 40, 3), 50 * t, np.uint8))
    (tmp_path / "Go" / "groundtruth_rect.txt").write_text("".join(f"{3 + t}\t5\t10\t8\n" for t in range(5)))
    return tmp_path / "Go"


def test_boxes_of_a_benchmark(otb: Path) -> None:
    (clip,) = SingleFolder(otb).single_clips(0)
    assert clip.name == "Go" and clip.boxes[:, 0].tolist() == [2, 3, 4, 5, 6] and clip.origin == 1
    assert clip.size == (40, 30) and clip.images[2].shape == (30, 40, 3) and len(clip.images) == 5
    assert abs(int(clip.images[2][0, 0, 0]) - 100) < 5
    assert clip.anchors == [(0, 1), (4, -1)] and not clip.absent.any()


def test_anchors_of_vot(otb: Path) -> None:
    (otb / "anchor.value").write_text("1\n0\n-1\n")
    assert SingleFolder(otb).single_clips(0)[0].anchors == [(0, 1), (2, -1)]
    (otb / "anchor.value").write_text("1\n" * 6)
    with pytest.raises(FormatError, match="at most 5 numbers"):
        SingleFolder(otb).single_clips(0)


def test_unreadable_image(otb: Path) -> None:
    (otb / "img" / "0003.jpg").write_bytes(b"")
    (clip,) = SingleFolder(otb).single_clips(0)
    with pytest.raises(UserError, match=r"0003\.jpg is empty"):
        clip.images[2]


def test_masks(tmp_path: Path) -> None:
    # The objects of the first mask are targets; one goes, the other stays; an image without a mask is left out.
    masks = np.zeros((4, 30, 40), np.uint8)
    masks[:, 2:8, 3:12] = 1
    masks[:2, 20:29, 10:20] = 2
    masks[2, 5:8, 30:33] = 3
    masks[:, :, 39] = 255
    write_masks(tmp_path / "v" / "Annotations", masks)
    (tmp_path / "v" / "JPEGImages").mkdir()
    for t in range(5):
        cv2.imwrite(str(tmp_path / "v" / "JPEGImages" / f"{t:05d}.jpg"), np.zeros((30, 40, 3), np.uint8))
    stays, goes = SingleFolder(tmp_path / "v").single_clips(0)
    assert (stays.name, goes.name) == ("v_1", "v_2") and len(stays) == len(stays.images) == 4
    assert stays.boxes.tolist() == [[3, 2, 12, 8]] * 4 and not stays.absent.any()
    assert goes.absent.tolist() == [False, False, True, True] and goes.boxes[1].tolist() == [10, 20, 20, 29]
    assert goes.anchors == [(0, 1), (1, 1)]


def test_nothing_to_follow(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(UserError, match="expected sequences of a single-object benchmark"):
        len(SingleFolder(tmp_path))


def test_real_sequences(shared_data: Path) -> None:
    (crossing,) = SingleFolder(shared_data / "otb" / "Crossing").single_clips(0)
    assert len(crossing) == 120 and crossing.size == (360, 240) and np.isfinite(crossing.boxes).all()
    (car,) = SingleFolder(shared_data / "davis").single_clips(0)
    assert car.name == "car-shadow" and len(car) == 40 and car.size == (427, 240)


def test_a_box_that_stays_in_a_real_sequence(shared_data: Path) -> None:
    # Its AO, straight from the rows of the file.
    (clip,) = SingleFolder(shared_data / "otb" / "Crossing").single_clips(0)
    rows = np.loadtxt(shared_data / "otb" / "Crossing" / "groundtruth_rect.txt")
    low, high = np.maximum(rows[0, :2], rows[:, :2]), np.minimum(rows[0, :2] + rows[0, 2:], rows[:, :2] + rows[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    overlaps = shared / (rows[0, 2:].prod() + rows[:, 2:].prod(1) - shared)
    judged = judge_boxes(clip.boxes, np.tile(clip.boxes[0], (120, 1)), clip.absent, clip.size)
    np.testing.assert_allclose(judged.overlap, overlaps)
    assert single_figures([judged])["ao"] == pytest.approx(overlaps[1:].mean())

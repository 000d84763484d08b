"""Figures of discovered and tracked objects, on a clip of two squares that are known to the pixel."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scenegraph_track.discovery import FoundObjects
from scenegraph_track.evaluation import tracked_clips
from scenegraph_track.evaluation.object_clips import FrameTruth, ObjectClip
from scenegraph_track.evaluation.tracked_clips import Proposed, Told, judge, numbered, propose, tracked
from scenegraph_track.structures import Frame
from scenegraph_track.tracking.tracker import Tracker

SIZE, FRAMES = (32, 48), 6


def corners(k: int) -> list[tuple[int, int]]:
    """Left and top of two squares of 12 pixels that move apart."""
    return [(4 + k, 4), (30 - k, 16)]


def told(k: int, ids: list[int]) -> Told:
    masks, boxes = np.zeros((2, *SIZE), bool), []
    for mask, (x, y) in zip(masks, corners(k)):
        mask[y : y + 12, x : x + 12] = True
        boxes.append([x, y, x + 12, y + 12])
    return Told(np.array(ids), np.array(boxes, float), masks, np.array(ids))


def clip(scale: int = 1) -> ObjectClip:
    """The truth may be of a larger size than the images."""
    truth = []
    for k in range(FRAMES):
        one = told(k, [1, 2])
        labels = np.zeros(SIZE, np.int32)
        for mask, number in zip(one.masks, (1, 2)):
            labels[mask] = number
        labels = np.kron(labels, np.ones((scale, scale), np.int32))
        truth.append(FrameTruth(labels.shape, one.ids, one.boxes * scale, labels))
    cues = [SimpleNamespace(flow=None, residual=None)] * FRAMES
    return ObjectClip("squares", torch.zeros(FRAMES, 3, *SIZE, dtype=torch.uint8), torch.eye(3), cues, tuple(truth))


@pytest.mark.parametrize("scale", [1, 3])
def test_the_truth_itself_is_perfect(scale: int) -> None:
    figures = judge(clip(scale), [told(k, [7, 9]) for k in range(FRAMES)])
    assert {round(figures[name], 6) for name in ("HOTA", "DetA", "AssA", "IDF1", "fg_ari", "mbo")} == {100.0}
    assert figures["IDSW"] == 0


def test_lost_identities_lower_association_and_the_masks_of_whole_videos() -> None:
    # The identities change in the middle: detection stays perfect, everything that spans time does not.
    figures = judge(clip(), [told(k, [1, 2] if k < FRAMES // 2 else [3, 4]) for k in range(FRAMES)])
    assert figures["DetA"] == pytest.approx(100) and figures["IDSW"] == 2
    assert figures["AssA"] == pytest.approx(50) == figures["mbo"] and figures["fg_ari"] < 60


def test_without_masks_only_boxes_are_judged() -> None:
    bare = [FrameTruth(one.size, one.ids, one.boxes) for one in clip().truth]
    given = ObjectClip("boxes", clip().images, torch.eye(3), clip().cues, tuple(bare))
    figures = judge(given, [told(k, [1, 2]) for k in range(FRAMES)])
    assert figures["HOTA"] == pytest.approx(100) and np.isnan(figures["fg_ari"]) and np.isnan(figures["mbo"])


def found(k: int) -> FoundObjects:
    """The squares as slots see them, at half the resolution, in an order that changes."""
    masks = torch.from_numpy(told(k, [1, 2]).masks[:: 1 if k % 2 else -1, ::2, ::2].copy())
    return FoundObjects(masks.float(), masks, torch.tensor([0.9, 0.8]), torch.eye(2), SIZE)


@pytest.fixture
def proposed(monkeypatch: pytest.MonkeyPatch) -> Proposed:
    frames = iter(range(FRAMES))
    monkeypatch.setattr(tracked_clips, "objects_of", lambda net, image, residual: found(next(frames)))
    return propose(None, clip(), 0.3)


def test_video_slots_keep_their_numbers_by_their_masks(proposed: Proposed) -> None:
    figures = judge(clip(), numbered(proposed))
    assert figures["IDSW"] == 0 and figures["AssA"] > 60 and figures["mbo"] > 60
    assert sorted({number for numbers in proposed.numbers for number in numbers}) == [1, 2]


def test_a_tracker_of_the_same_detections(proposed: Proposed) -> None:
    tracker, scenes = Tracker.from_config("reference"), []
    state = tracker.start()
    for k, one in enumerate(proposed.detections):
        state, scene = tracker.step(state, Frame(k, k / 10, size=SIZE[::-1]), tracked_clips.without_looks(one))
        scenes.append(scene)
    made = tracked(scenes, proposed)
    figures = judge(clip(), made)
    assert figures["IDSW"] == 0 and figures["mbo"] > 60
    assert all(sorted(one.mask_ids) == [1, 2] == sorted(one.ids) for one in made)

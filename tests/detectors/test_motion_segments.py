"""Segments of like motion, whose outlines lie where the colours say."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.motion_segments import homography_flow, segment_motion


def scene(shift: tuple[int, int] = (4, 0), size: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A textured square that moves over a still ground: the image, the next one, the exact flow and the mask."""
    rng = np.random.default_rng(0)
    ground, thing = rng.random((2, size, size, 3)).astype(np.float32)
    mask = np.zeros((size, size), bool)
    mask[20:40, 16:38] = True
    image = np.where(mask[..., None], thing, ground)
    dx, dy = shift
    moved = np.roll(mask, (dy, dx), (0, 1))
    after = np.where(moved[..., None], np.roll(thing, (dy, dx), (0, 1)), ground)
    flow = np.where(mask[..., None], np.float32([dx, dy]), np.float32([0, 0])).astype(np.float32)
    return image, after, flow, mask


def blurred(flow: np.ndarray) -> np.ndarray:
    """What an optical flow makes of an outline."""
    import cv2

    return cv2.blur(flow, (9, 9))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_outlines_are_sharper_than_those_of_the_flow() -> None:
    image, after, flow, mask = scene()
    soft, still = blurred(flow), np.zeros_like(flow)
    found = segment_motion(image, [after], [soft], [still])
    of_flow = np.linalg.norm(soft, axis=-1) > 0.35
    assert found.labels.max() == 1
    assert overlap(found.labels == 1, mask) > 0.85 > overlap(of_flow, mask)


def test_what_the_camera_explains_is_no_object() -> None:
    image, after, flow, _ = scene()
    assert not segment_motion(image, [after], [flow], [flow]).labels.any()


def test_a_segment_that_its_motion_does_not_explain_is_not_sure() -> None:
    image, after, flow, mask = scene()
    right = segment_motion(image, [after], [flow], [np.zeros_like(flow)])
    wrong = segment_motion(image, [after], [-flow], [np.zeros_like(flow)])
    assert overlap(right.chosen() == 1, mask) > 0.9
    assert not wrong.chosen().any() and wrong.moving.any(), "it moves, but nobody knows how"
    assert not right.chosen(area=10_000).any()


def test_two_that_move_apart_are_two() -> None:
    image, _, flow, mask = scene()
    flow[:, 27:] = np.where(mask[:, 27:, None], np.float32([-4, 0]), 0)
    found = segment_motion(image, [image], [flow], [np.zeros_like(flow)], rounds=0)
    assert len(set(found.labels[25:35, 20])) == 1 and found.labels[30, 20] != found.labels[30, 34] > 0


def test_numbers_of_the_chosen_have_no_gaps() -> None:
    image, after, flow, mask = scene()
    found = segment_motion(image, [after], [flow], [np.zeros_like(flow)])
    object.__setattr__(found, "labels", np.where(mask, 2, 0).astype(np.int32))
    for name, values in (("gain", [0.0, 1.0]), ("spread", [0.1, 0.1]), ("area", [400, 400])):
        object.__setattr__(found, name, np.array(values))
    assert set(np.unique(found.chosen())) == {0, 1}


@pytest.mark.parametrize("angle", [0.0, 0.03])
def test_a_turning_camera_is_explained_by_a_homography(angle: float) -> None:
    y, x = np.mgrid[:48, :64] + 0.5
    turned = np.stack([np.cos(angle) * x - np.sin(angle) * y + 1.5, np.sin(angle) * x + np.cos(angle) * y - 0.5], -1)
    flow = (turned - np.stack([x, y], -1)).astype(np.float32)
    clean = flow.copy()
    flow[10:25, 10:30] += 6
    assert np.abs(homography_flow(flow) - clean).max() < 0.05

"""Motion of the camera, from images and from the boxes alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from scenegraph_track.structures import Frame
from scenegraph_track.tracking.camera import WIDTH, measured_motion, small_grey, voted_motion

NOTHING = np.zeros((0, 4))


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth random texture, (H, W, 3) uint8."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height // 4, width // 4, 3)).astype(np.float32)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def moved(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The image under a map of continuous pixel coordinates (pixel centres at + 0.5)."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return cv2.warpAffine(image, shifted, (image.shape[1], image.shape[0]), borderMode=cv2.BORDER_REFLECT)


def grey(image: np.ndarray) -> np.ndarray:
    return small_grey(Frame.from_rgb(image, 0, 0.0))


def error(found: np.ndarray, true: np.ndarray, width: int, height: int) -> float:
    """Largest distance at the corners of the image in pixels."""
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1.0]])
    return float(np.abs(corners @ (found - true).T).max())


@pytest.mark.parametrize(("width", "height"), [(320, 240), (960, 540)])  # as it is, and reduced for measuring
@pytest.mark.parametrize(
    "matrix", [[[1, 0, 6.5], [0, 1, -3.25]], [[1.02, 0, -4], [0, 1.02, 2]], [[1, 0, 0], [0, 1, 0]]]
)
def test_recovers_a_shift_and_a_zoom(width: int, height: int, matrix: list[list[float]]) -> None:
    true = np.array(matrix, dtype=float)
    image = texture(height, width)
    found = measured_motion(grey(image), grey(moved(image, true)), NOTHING, width)
    assert found is not None and error(found, true, width, height) < 0.5


def test_masks_objects_that_move_on_their_own() -> None:
    # Two thirds of the image is one large object that goes left while the camera sees the background go right.
    width, height = 320, 240
    true = np.array([[1, 0, 4.0], [0, 1, 0]])
    box = np.array([[0, 0, 213.0, 240.0]])
    first = texture(height, width)
    second = moved(first, true)
    second[:, :205] = moved(first, np.array([[1, 0, -8.0], [0, 1, 0]]))[:, :205]
    assert error(measured_motion(grey(first), grey(second), box, width), true, width, height) < 0.5
    fooled = measured_motion(grey(first), grey(second), NOTHING, width)
    assert fooled is None or error(fooled, true, width, height) > 4


def test_nothing_to_see_gives_none() -> None:
    blank, full = np.full((240, 320, 3), 90, np.uint8), texture(240, 320)
    assert measured_motion(grey(blank), grey(blank), NOTHING, 320) is None
    assert measured_motion(grey(full), grey(blank), NOTHING, 320) is None
    assert measured_motion(grey(full), grey(full), np.array([[-10, -10, 400, 300.0]]), 320) is None  # all masked
    assert measured_motion(grey(full), grey(texture(200, 320)), NOTHING, 320) is None  # another size
    assert measured_motion(np.zeros((0, 0), np.uint8), grey(full), NOTHING, 320) is None  # no image before
    assert measured_motion(grey(full), grey(texture(240, 320, seed=1)), NOTHING, 320) is None  # a cut


def test_small_grey() -> None:
    # At most WIDTH wide, the weights of grey, (0, 0) without image.
    assert grey(texture(540, 960)).shape == (270, WIDTH)
    red = torch.zeros(3, 20, 30)
    red[0] = 1
    assert small_grey(Frame(0, 0.0, image=red)).tolist() == np.full((20, 30), 76).tolist()
    assert small_grey(Frame(0, 0.0)).shape == (0, 0)
    assert small_grey(Frame(0, 0.0, image=torch.zeros(3, 2, 2))).shape == (8, 8)


def crowd(seed: int, n: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.permutation(40)[:n, None] % [8, 40] // [1, 8] * [160.0, 180.0] + rng.uniform(0, 40, (n, 2))
    return np.concatenate([corner, corner + np.array([40, 100])], axis=1)


@pytest.mark.parametrize("jump", [(35, 0), (-30, 20), (0, 60)])
def test_vote_recovers_a_common_jump(jump: tuple[float, float]) -> None:
    # Also where a third of the objects is missing and the boxes are noisy.
    boxes = crowd(0)
    noise = np.random.default_rng(1).normal(scale=1.5, size=(12, 2))
    found = boxes + np.tile(np.array(jump) + noise, 2)
    for detected in (found, found[:8][::-1]):
        motion = voted_motion(boxes, detected)
        assert motion is not None and np.abs(motion[:, 2] - jump).max() < 3
        assert motion[:, :2].tolist() == [[1, 0], [0, 1]]


def test_vote_is_silent_where_there_is_no_common_jump() -> None:
    rng = np.random.default_rng(2)
    boxes = crowd(0)
    assert voted_motion(boxes, boxes + np.tile(rng.normal(scale=2, size=(12, 2)), 2)) is None  # standing
    ways = 40 * np.stack([np.cos(np.arange(12.0)), np.sin(np.arange(12.0))], axis=1)
    assert voted_motion(boxes, boxes + np.tile(ways, 2)) is None  # everyone his own way
    assert voted_motion(boxes[:2], boxes[:2] + 30) is None  # two are no crowd
    assert voted_motion(boxes, np.zeros((0, 4))) is None
    assert voted_motion(boxes, boxes * 3) is None  # other sizes
    assert voted_motion(np.tile(boxes[:1], (5, 1)) * 0 + 5, np.tile(boxes[:1], (5, 1)) * 0 + 5) is None  # zero area

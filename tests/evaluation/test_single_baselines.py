"""Simple ways to follow one target."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from scenegraph_track.evaluation.single_baselines import (
    ConstantPosition,
    ConstantVelocity,
    NormalisedCorrelation,
    OpenCvTracker,
    SingleMethod,
    opencv_methods,
    simple_methods,
    whole_pixels,
)

SIZE = (96, 72)
BOX = np.array([10.3, 20.6, 34.3, 44.6])


def patch(seed: int, side: int) -> NDArray[np.uint8]:
    """Soft blobs, different for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (side // 4 + 1, side // 4 + 1, 3), np.uint8)
    return cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)


def frame(left: int, top: int = 21, shown: bool = True) -> NDArray[np.uint8]:
    """A patch of 24 pixels on another one."""
    image = np.ascontiguousarray(patch(1, 100)[: SIZE[1], : SIZE[0]] // 2)
    if shown:
        image[top : top + 24, max(left, 0) : left + 24] = patch(2, 24)[:, max(-left, 0) :][:, : SIZE[0] - max(left, 0)]
    return image


def boxes_of(method: SingleMethod, frames: list[NDArray[np.uint8]], box: NDArray = BOX) -> list[NDArray | None]:
    state, found = method.start(frames[0], box.copy()), []
    for image in frames[1:]:
        state, said, score = method.step(state, image)
        assert np.isfinite(score) and (said is None or said.shape == (4,))
        found.append(said)
    return found


def test_constant_position() -> None:
    for box in boxes_of(ConstantPosition(), [frame(10 + 3 * t) for t in range(4)]):
        assert (box == BOX).all()


def test_correlation_follows_by_whole_pixels() -> None:
    # The part of a pixel by which the box lies beside whole ones is kept; the first frame is never forgotten.
    lefts = [10, 14, 21, 19, 40, 60]
    found = boxes_of(NormalisedCorrelation(), [frame(left) for left in lefts])
    for left, box in zip(lefts[1:], found):
        np.testing.assert_allclose(box, BOX + [left - 10, 0] * 2)


def test_correlation_searches_nearby_only() -> None:
    # 24 pixels in each direction for a template of 24 x 24; further it finds something else, but it says so.
    method = NormalisedCorrelation()
    state = method.start(frame(10), BOX)
    _, near, sure = method.step(state, frame(33))
    _, far, unsure = method.step(state, frame(60))
    assert near[0] == pytest.approx(33.3) and far[0] < 40 and sure > 0.99 > unsure + 0.1


def test_correlation_at_the_border() -> None:
    # The target leaves the image by a third; flat images give no answer and no error.
    found = boxes_of(NormalisedCorrelation(), [frame(10), frame(2), frame(-8)])
    assert np.abs(found[1] - (BOX - [18, 0, 18, 0])).max() < 2
    flat = np.full((*SIZE[::-1], 3), 90, np.uint8)
    for box in boxes_of(NormalisedCorrelation(), [flat] * 3):
        assert np.isfinite(box).all()
    tiny = boxes_of(NormalisedCorrelation(), [frame(10)] * 2, np.array([95.5, 71.5, 99, 99]))
    assert tiny[0].tolist() == [95.5, 71.5, 99, 99]


def test_constant_velocity_looks_at_five_frames() -> None:
    # 2 pixels a frame to the right and one up, as measured; then on and on, whatever there is to see.
    frames = [frame(10 + 2 * t, 21 - t) for t in range(6)] + [frame(0, shown=False)] * 4
    found = boxes_of(ConstantVelocity(), frames)
    for t, box in enumerate(found, 1):
        np.testing.assert_allclose(box, BOX + [2 * t, -t] * 2)


@pytest.mark.parametrize("name", ["mil", "kcf", "kcf_low", "csrt"])
def test_opencv_follows(name: str) -> None:
    # The same each time, whatever else draws random numbers, and near the target.
    methods, missing = opencv_methods()
    if name.removesuffix("_low") in missing:
        pytest.skip(f"this OpenCV has no {name}: install opencv-contrib-python")
    frames = [frame(10 + 2 * t) for t in range(6)]
    first = boxes_of(methods[name], frames)
    cv2.setRNGSeed(99)
    again = boxes_of(methods[name], frames)
    assert all((a == b).all() for a, b in zip(first, again))
    assert np.abs(first[-1] - BOX - np.array([10, 0, 10, 0])).max() < 5


def test_opencv_that_lacks_a_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "TrackerMIL_create")
    methods, missing = opencv_methods()
    assert "mil" in missing and "mil" not in methods
    assert list(simple_methods()) == ["constant_position", "constant_velocity", "ncc"]


class Moody:
    """Stands for a tracker of OpenCV: finds, finds nothing, gives up with an error, finds again."""

    def __init__(self) -> None:
        self.called = 0

    def init(self, image: NDArray, box: tuple[int, ...]) -> None:
        self.box = box

    def update(self, image: NDArray) -> tuple[bool, tuple[int, ...]]:
        self.called += 1
        if self.called == 3:
            raise cv2.error("outside")
        return self.called != 2, self.box


def test_what_opencv_cannot_find_is_absent() -> None:
    found = boxes_of(OpenCvTracker(Moody), [frame(10)] * 5)
    assert [one is None for one in found] == [False, True, True, False]
    assert found[0].tolist() == [10, 21, 34, 45]


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        ((1.4, 2.6, 5.5, 9.2), (1, 3, 6, 9)),
        ((-5, -5, 200, 200), (0, 0, 96, 72)),
        ((4.2, 4.2, 4.4, 4.4), (4, 4, 5, 5)),
        ((300, 300, 310, 310), (95, 71, 96, 72)),
        ((-30, -30, -20, -20), (0, 0, 1, 1)),
    ],
)
def test_whole_pixels(box: Any, wanted: tuple[int, ...]) -> None:
    assert whole_pixels(np.array(box, float), frame(10)) == wanted

"""Simple ways to follow one target, to measure a learned one against.

Images are (H, W, 3) uint8 RGB, boxes (4,) float64 xyxy in pixels.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Step = tuple[Any, NDArray[np.float64] | None, float]
"""The next state, the box or None where the target is absent, and a score, the higher the surer."""


class SingleMethod(Protocol):
    """Follows one target."""

    def start(self, image: NDArray[np.uint8], box: NDArray[np.float64]) -> Any:
        """The state after the first frame, in which the box is told."""
        ...

    def step(self, state: Any, image: NDArray[np.uint8]) -> Step:
        """The next frame; the state that is given may be used up."""
        ...


class ConstantPosition:
    """The target stays where it was in the first frame."""

    def start(self, image: NDArray[np.uint8], box: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `SingleMethod`."""
        return box

    def step(self, state: NDArray[np.float64], image: NDArray[np.uint8]) -> Step:
        """See `SingleMethod`."""
        return state, state, 1.0


@dataclass(frozen=True, eq=False)
class Template:
    """A grey piece of the first frame, and where it is now.

    Args:
        grey: (h, w) uint8.
        corner: (x, y) integers, where its first pixel is.
        inside: (4,) the box less the corner.
    """

    grey: NDArray[np.uint8]
    corner: NDArray[np.int64]
    inside: NDArray[np.float64]

    @property
    def box(self) -> NDArray[np.float64]:
        """(4,) xyxy."""
        return self.inside + np.tile(self.corner, 2)


@dataclass(frozen=True)
class NormalisedCorrelation:
    """Normalised cross-correlation, less the means, with the first frame, grey, of fixed scale, never adapted.

    Args:
        reach: Pixels searched in each direction round the last place, in square roots of the template's area.
        least: The least of them.
    """

    reach: float = 1.0
    least: int = 12

    def start(self, image: NDArray[np.uint8], box: NDArray[np.float64]) -> Template:
        """See `SingleMethod`."""
        left, top, right, bottom = whole_pixels(box, image)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[top:bottom, left:right]
        corner = np.array([left, top])
        return Template(grey.copy(), corner, box - np.tile(corner, 2))

    def step(self, state: Template, image: NDArray[np.uint8]) -> Step:
        """See `SingleMethod`; beyond its border the image is continued by its last pixels, for half a template."""
        if np.ptp(state.grey) == 0:  # it resembles everything alike
            return state, state.box, 0.0
        height, width = state.grey.shape
        reach = max(round(self.reach * (height * width) ** 0.5), self.least)
        border = np.array([(width + 1) // 2, (height + 1) // 2])
        across, down = border.tolist()
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        padded = cv2.copyMakeBorder(grey, down, down, across, across, cv2.BORDER_REPLICATE)
        last = np.array([padded.shape[1] - width, padded.shape[0] - height])
        at = state.corner + border
        low, high = np.clip(at - reach, 0, last), np.clip(at + reach, 0, last)
        window = padded[low[1] : high[1] + height, low[0] : high[0] + width]
        response = np.nan_to_num(cv2.matchTemplate(window, state.grey, cv2.TM_CCOEFF_NORMED), posinf=0, neginf=0)
        _, score, _, (x, y) = cv2.minMaxLoc(response)
        moved = replace(state, corner=low + np.array([x, y]) - border)
        return moved, moved.box, max(score, 0.0)


@dataclass(frozen=True, eq=False)
class Moving:
    """What `ConstantVelocity` knows.

    Args:
        first: (4,) box of the first frame.
        box: (4,) of the last frame.
        frame: Number of the last frame, from 0.
        velocity: (4,) pixels a frame, once it is known.
        template: To measure it by, until then.
    """

    first: NDArray[np.float64]
    box: NDArray[np.float64]
    frame: int
    velocity: NDArray[np.float64] | None
    template: Template


@dataclass(frozen=True)
class ConstantVelocity:
    """Mean velocity over the first frames, as `NormalisedCorrelation` measures it, kept for ever after without a look.

    Args:
        frames: Frames after the first one in which the target is looked at.
    """

    frames: int = 5
    matching: NormalisedCorrelation = NormalisedCorrelation()

    def start(self, image: NDArray[np.uint8], box: NDArray[np.float64]) -> Moving:
        """See `SingleMethod`."""
        return Moving(box, box, 0, None, self.matching.start(image, box))

    def step(self, state: Moving, image: NDArray[np.uint8]) -> Step:
        """See `SingleMethod`."""
        frame = state.frame + 1
        if state.velocity is not None:
            moved = replace(state, box=state.box + state.velocity, frame=frame)
            return moved, moved.box, 1.0
        template, box, score = self.matching.step(state.template, image)
        velocity = (box - state.first) / frame if frame == self.frames else None
        return Moving(state.first, box, frame, velocity, template), box, score


@dataclass
class OpenCvState:
    """A tracker of OpenCV, which holds its state itself and is changed by each step, and the number of steps."""

    tracker: Any
    steps: int = 0


@dataclass(frozen=True)
class OpenCvTracker:
    """A tracker of OpenCV; it knows whole pixels only.

    Args:
        make: Makes one.
    """

    make: Callable[[], Any]

    def start(self, image: NDArray[np.uint8], box: NDArray[np.float64]) -> OpenCvState:
        """See `SingleMethod`."""
        left, top, right, bottom = whole_pixels(box, image)
        seed_opencv(0)
        state = OpenCvState(self.make())
        state.tracker.init(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (left, top, right - left, bottom - top))
        return state

    def step(self, state: OpenCvState, image: NDArray[np.uint8]) -> Step:
        """See `SingleMethod`; what OpenCV cannot go on with (a box outside the image, say) is absent."""
        state.steps += 1
        seed_opencv(state.steps)  # what else draws numbers between two steps shall not matter
        try:
            found, (left, top, width, height) = state.tracker.update(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        except cv2.error:
            return state, None, 0.0
        box = np.array([left, top, left + width, top + height], np.float64)
        return (state, box, 1.0) if found else (state, None, 0.0)


def seed_opencv(seed: int) -> None:
    """Seed all random numbers that OpenCV's trackers draw: its own, and those of the C library, of which MIL draws."""
    cv2.setRNGSeed(seed)
    if os.name == "posix":
        ctypes.CDLL(None).srand(seed)


def whole_pixels(box: NDArray[np.float64], image: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """A box at the nearest whole pixels, in the image, at least one pixel wide and high."""
    height, width = image.shape[:2]
    left, top = (int(np.clip(round(value), 0, most - 1)) for value, most in zip(box[:2], (width, height)))
    right, bottom = (
        int(np.clip(round(value), low + 1, most)) for value, low, most in zip(box[2:], (left, top), (width, height))
    )
    return left, top, right, bottom


OPENCV = {"mil": "TrackerMIL", "kcf": "TrackerKCF", "csrt": "TrackerCSRT"}
"""Trackers of OpenCV; in versions 4 and 5 opencv-python brings the first one, opencv-contrib-python all."""

KCF_THRESHOLD = 0.1
"""Threshold of detection of ``kcf_low``; at OpenCV's own, 0.5, KCF gives up at once and never comes back."""


def opencv_methods() -> tuple[dict[str, SingleMethod], list[str]]:
    """The trackers of OpenCV by name, KCF also with a lower threshold; and the names of those that are not there."""
    found: dict[str, SingleMethod] = {}
    for name, kind in OPENCV.items():
        make = getattr(cv2, f"{kind}_create", None)
        if make is not None:
            found[name] = OpenCvTracker(make)
            if name == "kcf":
                found["kcf_low"] = OpenCvTracker(partial(_low_kcf, make))
    return found, [name for name in OPENCV if name not in found]


def _low_kcf(make: Callable[[Any], Any]) -> Any:
    settings = cv2.TrackerKCF_Params()
    settings.detect_thresh = KCF_THRESHOLD
    return make(settings)


def simple_methods() -> dict[str, SingleMethod]:
    """The methods that need nothing, by name."""
    return {
        "constant_position": ConstantPosition(),
        "constant_velocity": ConstantVelocity(),
        "ncc": NormalisedCorrelation(),
    }

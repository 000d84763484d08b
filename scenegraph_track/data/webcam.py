"""Read the frames of a camera that is attached to this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from scenegraph_track.errors import UserError

_PATIENCE = 10
"""Failed reads in a row after which the camera counts as gone."""


class Webcam:
    """An endless stream of pictures with the time at which each was taken.

    Args:
        number: Index of the camera, 0 for the first.
        frame_rate: Frames a second to ask the camera for; None leaves its own.

    Attributes:
        frame_rate: Frames a second that the camera promises.
        length: None, a camera has no end.
        size: (W, H) in pixels.

    Raises:
        UserError: The camera cannot be opened, or stops delivering.
    """

    length = None

    def __init__(self, number: int, frame_rate: float | None = None) -> None:
        self.name, self._number, self._given_rate = f"camera {number}", number, frame_rate
        capture = self._open()
        try:
            ok, bgr = capture.read()
            if not ok:
                raise UserError(f"{self.name}: expected pictures, the camera is open but delivers none")
            self.size = (bgr.shape[1], bgr.shape[0])
            self.frame_rate = float(capture.get(cv2.CAP_PROP_FPS)) or frame_rate or 30.0
        finally:
            capture.release()

    def where(self, index: int) -> str:
        """What messages call a frame."""
        return f"{self.name}: frame {index}"

    def pictures(
        self, start: int, stop: int | None, note: Callable[[int, str], None]
    ) -> Iterator[tuple[int, float, np.ndarray]]:
        """Yield (index, seconds since the first picture, (H, W, 3) uint8 RGB) until the caller stops."""
        capture = self._open()
        try:
            index, failures, first = 0, 0, None
            while stop is None or index < stop:
                ok, bgr = capture.read()
                now = time.monotonic()
                first = now if first is None else first
                failures = 0 if ok else failures + 1
                if failures == _PATIENCE:
                    raise UserError(
                        f"{self.name}: expected pictures, the camera has stopped delivering at frame {index}"
                    )
                if not ok:
                    note(index, "the camera did not deliver it")
                elif index >= start:
                    yield index, now - first, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
                index += 1
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._number)
        if not capture.isOpened():
            raise UserError(f"{self.name}: cannot be opened; is it attached, free, and readable by this user?")
        if self._given_rate is not None:
            capture.set(cv2.CAP_PROP_FPS, self._given_rate)
        return capture

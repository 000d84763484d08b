"""A simple simulated detector for worlds, so that their sequences can be tracked; streams have the thorough one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.render import WorldFrame

MISSED_BELOW = 0.3
"""Objects of which less than this part is visible are not found."""

_MISSED = 0.02
_JITTER = 0.015
_SMALLEST = 6.0


def detect(frame: WorldFrame, seed: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes of what can be seen, a little off; scores that fall with occlusion.

    Args:
        frame: A rendered frame.
        seed: With the index of the frame it decides every number.

    Returns:
        Boxes (M, 4), xyxy pixels inside the image, and scores (M,) in [0.05, 0.99].
    """
    rng = np.random.default_rng((*seed, frame.index, 0xDE7))
    height, width = frame.image.shape[:2]
    visible = frame.visible_fraction.astype(np.float64)
    count = len(visible)
    boxes = np.clip(frame.amodal_boxes.astype(np.float64), 0, [width, height, width, height])
    sides = boxes[:, 2:] - boxes[:, :2]
    lost = rng.random(count) < np.where(visible < MISSED_BELOW, 1.0, _MISSED)
    noise = rng.normal(0.0, _JITTER, (count, 4)) * np.tile(sides, 2)
    scores = np.clip(0.5 + 0.45 * visible + rng.normal(0.0, 0.03, count), 0.05, 0.99)
    found = ~lost & (sides.min(1, initial=np.inf) >= _SMALLEST)
    return np.clip(boxes + noise, 0, [width, height, width, height])[found], scores[found]

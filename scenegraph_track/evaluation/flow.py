"""End-point error of optical flow, by where in the image it falls."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.render import WorldFrame

BAND = 2
"""Pixels on either side of an outline that count as its border."""


def flow_regions(frame: WorldFrame, objects: int) -> dict[str, NDArray[np.bool_]]:
    """Where errors are counted apart: (H, W) masks of pixels that the next frame shows too.

    Args:
        frame: Ground truth.
        objects: Number of objects; greater instance numbers are static occluders.

    Returns:
        ``moving`` (objects), ``border`` (at most `BAND` pixels from an outline) and ``background`` (all the rest).
    """
    seen = ~frame.occluded_forward
    mobile = (frame.instance > 0) & (frame.instance <= objects)
    band = np.ones((2 * BAND + 1, 2 * BAND + 1), np.uint8)
    outline = cv2.dilate(frame.instance, band) != cv2.erode(frame.instance, band)
    return {"moving": mobile & seen, "border": outline & seen, "background": ~mobile & ~outline & seen}


def end_point_error(flow: NDArray, truth: NDArray) -> NDArray[np.float64]:
    """Distance in pixels (H, W) between two flows (H, W, 2)."""
    return np.linalg.norm(np.asarray(flow, np.float64) - truth, axis=-1)

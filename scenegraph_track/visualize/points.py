"""Draw points that are followed, with short tails."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.visualize.canvas import Pen
from scenegraph_track.visualize.colors import track_colors
from scenegraph_track.visualize.draw import display_scale

TAIL = 10
"""Frames that a tail is long, the present one included."""


def draw_points(
    rgb: NDArray[np.uint8], path: Sequence[NDArray], visible: NDArray[np.bool_], scale: int | None = None
) -> NDArray[np.uint8]:
    """Draw the points of one frame: discs, hollow where hidden, each in its colour and with a tail.

    Args:
        rgb: (H, W, 3) uint8; it is not changed.
        path: Positions (n, 2) in pixels of ``rgb`` in the last frames, the present one last; a row is a point, later
            frames may have more rows, NaN is not drawn.
        visible: (N,) whether each point is seen in the present frame.
        scale: Whole factor to enlarge small frames by; None chooses with `draw.display_scale`.

    Returns:
        (H * scale, W * scale, 3) uint8 RGB.
    """
    scale = display_scale((rgb.shape[1], rgb.shape[0])) if scale is None else scale
    image = rgb.copy() if scale == 1 else cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    pen, count = Pen(image), len(visible)
    places = np.full((len(path), count, 2), np.nan)
    for frame, positions in zip(places, path):
        frame[: len(positions)] = np.asarray(positions, float) * scale
    reach = np.array([image.shape[1], image.shape[0]])
    places[~((places > -reach) & (places < 2 * reach)).all(-1)] = np.nan  # also what would overflow when drawn
    colors = [tuple(color) for color in track_colors(np.arange(1, count + 1)).tolist()]
    faint = Pen(image.copy())
    for row, color in enumerate(colors):
        for piece in _pieces(places[:, row]):
            faint.lines([piece], color)
    pen.blend(faint.image, 0.6)
    for row in np.flatnonzero(np.isfinite(places[-1]).all(-1)):
        radius = 1.5 * pen.width + 1
        if visible[row]:
            pen.disc(places[-1, row], radius, colors[row])
        else:
            pen.disc(places[-1, row], radius, colors[row], 1)
    return image


def _pieces(places: NDArray) -> list[NDArray]:
    """The unbroken pieces, of two positions at least, of positions (T, 2) with gaps of NaN."""
    known = np.isfinite(places).all(-1)
    cuts = np.flatnonzero(np.diff(known)) + 1
    return [piece for piece in np.split(places, cuts) if len(piece) > 1 and np.isfinite(piece).all()]

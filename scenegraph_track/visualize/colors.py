"""Colours: one for each identity, one for each relation."""

from __future__ import annotations

import numpy as np

RELATION_COLORS = {
    "occludes": (255, 92, 92),
    "in_front_of": (255, 170, 60),
    "left_of": (90, 190, 255),
    "above": (170, 140, 255),
    "contains": (90, 225, 160),
    "near": (190, 190, 190),
}
"""RGB of the relations of the scene graph; others are drawn in ``OTHER_RELATION``."""

OTHER_RELATION = (235, 235, 120)

_GOLDEN = 0.6180339887498949
_OKLAB_TO_LMS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.291485548]]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.707614701],
    ]
)


def track_colors(ids: np.ndarray) -> np.ndarray:
    """Colour of each identity, the same in every frame and every run.

    The hue walks round the circle of OKLab (Ottosson 2020) in steps of the golden ratio, so that any few consecutive
    ids lie far apart; the lightness takes three turns, all of them light enough to stand out from a video.

    Args:
        ids: (N,) integers.

    Returns:
        (N, 3) uint8 RGB.
    """
    ids = np.asarray(ids, dtype=np.int64)
    angle = 2 * np.pi * np.mod(ids * _GOLDEN + 0.05, 1.0)
    lightness = np.array([0.76, 0.68, 0.85])[ids % 3]
    chroma = 0.17
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], -1)
    linear = np.clip((lab @ _OKLAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * srgb).astype(np.uint8)


def relation_color(name: str) -> tuple[int, int, int]:
    """RGB of a relation."""
    return RELATION_COLORS.get(name, OTHER_RELATION)


def text_color(background: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever reads better on the background (Rec. 709 luma)."""
    luma = 0.2126 * background[0] + 0.7152 * background[1] + 0.0722 * background[2]
    return (15, 15, 15) if luma > 110 else (255, 255, 255)

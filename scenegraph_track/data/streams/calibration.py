"""Score curves: what a detector reports for a detection of a given quality."""

from __future__ import annotations

import numpy as np


def scores_from_quality(
    quality: np.ndarray, curve: str, shape: float, scale: str, top: float, noise: np.ndarray
) -> np.ndarray:
    """Map qualities to scores by a monotone curve.

    ``power``: p^shape; ``saturating``: 1 - (1 - p)^(1 + 2 shape), most scores near the top; ``plateau``: good
    detections bunch below ``top``; ``staircase``: six levels. p is the logistic function of the quality. ``scale`` is
    ``unit`` (0..1), ``raw`` (about 0..120), ``logit`` (about -1..3) or ``percent`` (whole numbers 0..100).

    Args:
        quality: Logits of the score before the curve, shape (D,).
        curve: Name of the curve.
        shape: Its exponent.
        scale: Name of the scale.
        top: Largest score of the plateau, at most 1.
        noise: Standard normal values, shape (D,), for the spread of raw scores.

    Returns:
        Scores, shape (D,).
    """
    p = 1 / (1 + np.exp(-quality))
    if curve == "power":
        unit = p**shape
    elif curve == "saturating":
        unit = 1 - (1 - p) ** (1 + 2 * shape)
    elif curve == "plateau":
        unit = top * p ** (0.4 * shape)
    else:
        unit = np.round(5 * p**shape) / 5 * 0.99 + 0.01 * p
    if scale == "raw":
        return np.maximum(0.05, 9 * np.sqrt(shape) * (quality + 4.6) * np.exp(0.25 * noise))
    if scale == "logit":
        return 3 * np.log1p(np.exp(quality / 2)) / (1 + shape) - 1 + 0.1 * noise
    if scale == "percent":
        return np.round(100 * unit)
    return np.clip(unit, 1e-4, 1.0)

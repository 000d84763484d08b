"""Averaging of uncertain inverse depth."""

from __future__ import annotations

import numpy as np

from geometry.smoothing import smooth_inverse_depth


def test_noise_goes_and_planes_stay() -> None:
    # A slanted plane keeps its slope; noise of 0.05 shrinks to less than a third; the deviation never grows.
    y, x = np.mgrid[:40, :40]
    plane = 0.5 + 0.01 * x + 0.005 * y
    noisy = plane + 0.05 * np.random.default_rng(0).normal(size=plane.shape)
    smooth, deviation = smooth_inverse_depth(noisy, np.full_like(plane, 0.05), None)
    error = (smooth - plane)[8:-8, 8:-8]
    assert abs(error.mean()) < 0.005 and error.std() < 0.016
    assert deviation.max() <= 0.051


def test_edges_of_colour_and_depth_stay() -> None:
    # Two depths side by side: told apart by colour though uncertain, or by sure depths without an image.
    w = np.where(np.arange(40) < 20, 0.2, 0.8) * np.ones((40, 1))
    guide = (w > 0.5)[..., None] * np.ones(3)
    for deviation, image in ((np.full_like(w, 0.4), guide), (np.full_like(w, 0.01), None)):
        smooth, _ = smooth_inverse_depth(w, deviation, image)
        np.testing.assert_allclose(smooth, w, atol=0.01)


def test_holes_are_filled_from_neighbours() -> None:
    w, deviation = np.full((30, 30), 0.5), np.full((30, 30), 0.02)
    w[14:17, 14:17], deviation[14:17, 14:17] = 9.0, np.inf
    smooth, after = smooth_inverse_depth(w, deviation, None)
    np.testing.assert_allclose(smooth, 0.5, atol=1e-6)
    assert np.isfinite(after).all()

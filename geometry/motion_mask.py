"""Which pixels move on their own, from what the camera does not explain of a flow."""

from __future__ import annotations

import torch
from torch import Tensor

from geometry.camera import lengths

THRESHOLD = 3.0
"""Standard deviations of the residual from which a pixel counts as moving."""

LEAST = 0.7
"""Pixels of residual under which nothing counts as moving."""


def residual_noise(residual: Tensor, trusted: Tensor) -> float:
    """Robust standard deviation in pixels of each component of a residual (2, H, W) over trusted pixels (H, W).

    It is that of the still part, as long as less than half of the pixels move; infinite where no pixel is trusted.
    """
    found = lengths(residual)[trusted]
    return float(found.median()) / 1.177 if len(found) else float("inf")  # the median of a Rayleigh distribution


def moving_mask(
    residual: Tensor,
    noise: float | Tensor,
    along: Tensor | None = None,
    threshold: float = THRESHOLD,
) -> Tensor:
    """Pixels whose residual is more than its uncertainty allows.

    The residual is split into the part along the direction in which a wrong depth would move the pixel (the epipolar
    line) and the part across.  With s the noise and a the uncertainty along that line from the depth, a pixel moves
    where ``across^2 / s^2 + along^2 / (s^2 + a^2) > threshold^2`` and the residual is longer than `LEAST`.

    Args:
        residual: (2, H, W) pixels, `motion_residual`; not finite where the flow is not to be trusted.
        noise: Standard deviation in pixels of the flow, a number or (H, W).
        along: (2, H, W) standard deviation in pixels that the depth's error adds, as a vector along the epipolar line,
            or None where the depth counts as exact.
        threshold: Standard deviations.

    Returns:
        (H, W) bool.
    """
    finite = residual.isfinite().all(0)
    residual = torch.where(finite, residual, torch.zeros_like(residual))
    variance = torch.as_tensor(noise, dtype=residual.dtype).square().clamp(min=1e-6)
    squared = residual.square().sum(0)
    chi = squared / variance
    if along is not None:
        deviation = along.square().sum(0)
        part = (residual * along).sum(0).square() / deviation.clamp(min=1e-12)
        chi = (squared - part) / variance + part / (variance + deviation)
    return finite & (chi > threshold**2) & (squared > LEAST**2)

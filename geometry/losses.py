"""Photometric self-supervision of depth and motion (Godard et al., 2019), from the equations.

``pe = alpha * mean_c clamp((1 - SSIM) / 2, 0, 1) + (1 - alpha) * mean_c |I - I'|``, then the minimum over the source
images and, against all that does not move with respect to the camera, over the unwarped sources as well.
SSIM here is a *distance*: 0 for equal images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from geometry.errors import GeometryError

ALPHA = 0.85
"""Share of the SSIM distance in the photometric error."""

SMOOTHNESS = 1e-3
"""Usual weight of `smoothness` at full resolution; divided by 2^s at scale s."""

TIE = 1e-5
"""Size of the noise that breaks ties between warped and unwarped sources."""


def ssim_distance(image: Tensor, other: Tensor) -> Tensor:
    """``(1 - SSIM) / 2`` over 3 x 3 windows with reflected borders.

    Args:
        image: (B, C, H, W) in [0, 1], at least 2 x 2 pixels.
        other: The same shape.

    Returns:
        (B, C, H, W) in [0, 1], 0 where the windows are equal.
    """
    if image.shape != other.shape:
        raise GeometryError(f"expected images of one shape, found {tuple(image.shape)} and {tuple(other.shape)}")
    c1, c2 = 0.01**2, 0.03**2
    x, y = (pad(i, (1, 1, 1, 1), mode="reflect") for i in (image, other))
    mean_x, mean_y = avg_pool2d(x, 3, 1), avg_pool2d(y, 3, 1)
    variance_x = avg_pool2d(x * x, 3, 1) - mean_x**2
    variance_y = avg_pool2d(y * y, 3, 1) - mean_y**2
    covariance = avg_pool2d(x * y, 3, 1) - mean_x * mean_y
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return ((1 - above / below) / 2).clamp(0, 1)


def photometric_error(image: Tensor, other: Tensor, alpha: float = ALPHA) -> Tensor:
    """Weighted sum of SSIM distance and absolute difference.

    Args:
        image: (B, C, H, W) in [0, 1].
        other: The same shape.
        alpha: Weight of the SSIM distance; 0 gives the absolute difference alone.

    Returns:
        (B, 1, H, W) in [0, 1].
    """
    difference = (image - other).abs().mean(1, keepdim=True)
    if alpha == 0:
        return difference
    return alpha * ssim_distance(image, other).mean(1, keepdim=True) + (1 - alpha) * difference


def minimum_over_sources(errors: Sequence[Tensor]) -> Tensor:
    """Per-pixel minimum of error maps (B, 1, H, W), one for each source: what one view hides another may show."""
    if not errors:
        raise GeometryError("expected the error map of at least one source")
    return torch.cat(list(errors), 1).amin(1, keepdim=True)


def auto_mask(
    warped_error: Tensor, identity_errors: Sequence[Tensor], generator: torch.Generator | None = None
) -> Tensor:
    """Where warping explains the target better than the unwarped sources do.

    Left out are pixels that do not move with respect to the camera: still cameras, objects of the camera's own speed,
    bare walls.

    Args:
        warped_error: (B, 1, H, W) minimum over the warped sources.
        identity_errors: Error maps (B, 1, H, W) of the unwarped sources.
        generator: Of the noise that breaks ties.

    Returns:
        (B, 1, H, W) bool.
    """
    identity = minimum_over_sources(identity_errors)
    noise = torch.randn(identity.shape, generator=generator, device=identity.device, dtype=identity.dtype)
    return warped_error < identity + TIE * noise


def photometric_loss(
    target: Tensor,
    warped: Sequence[Tensor],
    sources: Sequence[Tensor] = (),
    alpha: float = ALPHA,
    weight: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """The loss of one scale: minimum over warped and, where given, unwarped sources; then the mean.

    Args:
        target: (B, C, H, W) in [0, 1].
        warped: Sources as seen from the target camera, each (B, C, H, W).
        sources: The same sources unwarped for the automatic mask, or none for no mask.
        alpha: See `photometric_error`.
        weight: (B, 1, H, W) in [0, 1], for instance 0 on moving objects, or None.
        generator: Of the noise that breaks ties.

    Returns:
        The scalar loss and the (B, 1, H, W) bool mask of `auto_mask` (all True without sources).
    """
    error = minimum_over_sources([photometric_error(target, image, alpha) for image in warped])
    mask = torch.ones_like(error, dtype=torch.bool)
    if sources:
        identity = [photometric_error(target, image, alpha) for image in sources]
        mask = auto_mask(error, identity, generator)
        error = torch.where(mask, error, minimum_over_sources(identity))
    if weight is None:
        return error.mean(), mask
    return (error * weight).sum() / weight.sum().clamp(min=1e-6), mask


def smoothness(disparity: Tensor, image: Tensor) -> Tensor:
    """Edge-aware smoothness ``|dx d*| exp(-|dx I|) + |dy d*| exp(-|dy I|)`` of the disparity over its mean.

    Args:
        disparity: (B, 1, H, W), positive.
        image: (B, C, H, W) in [0, 1]; gradients are averaged over channels.

    Returns:
        A scalar.
    """
    normalised = disparity / (disparity.mean((2, 3), keepdim=True) + 1e-7)
    total = disparity.new_zeros(())
    for dimension in (-1, -2):
        edge = image.diff(dim=dimension).abs().mean(1, keepdim=True)
        total = total + (normalised.diff(dim=dimension).abs() * torch.exp(-edge)).mean()
    return total

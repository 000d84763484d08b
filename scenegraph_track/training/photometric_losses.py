"""How badly depth and camera motion explain images and flow (Godard et al., 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from geometry.camera import rigid_flow, warp
from geometry.losses import auto_mask, minimum_over_sources, photometric_error, smoothness
from scenegraph_track.training.photometric_settings import PhotometricLoss


def flow_of_camera(depth: Tensor, motions: Tensor, intrinsics: Tensor) -> Tensor:
    """Rigid flow (B, S, 2, H, W) of depth (B, 1, H, W) and motions (B, S, 4, 4)."""
    count = motions.shape[1]
    flow = rigid_flow(_each(depth, count), motions.flatten(0, 1), _each(intrinsics, count))
    return flow.view(-1, count, *flow.shape[1:])


def unwarped_errors(images: Tensor, alpha: float) -> Tensor:
    """Photometric errors (B, S, 1, H, W) of the sources as they are; arguments as in `window_loss`."""
    count = images.shape[1] - 1
    error = photometric_error(_each(images[:, 0], count), images[:, 1:].flatten(0, 1), alpha)
    return error.view(-1, count, *error.shape[1:])


def warped_errors(
    depth: Tensor, motions: Tensor, images: Tensor, intrinsics: Tensor, alpha: float, unwarped: Tensor
) -> Tensor:
    """The same of the sources as the target's camera would see them.

    What leaves a source's image has the error of ``unwarped``: nothing is gained by turning the camera away.
    """
    count = motions.shape[1]
    each, sources = _each(intrinsics, count), images[:, 1:].flatten(0, 1)
    seen, valid = warp(sources, _each(depth, count), motions.flatten(0, 1), each)
    error = photometric_error(_each(images[:, 0], count), seen, alpha)
    return torch.where(valid.view_as(unwarped), error.view_as(unwarped), unwarped)


def window_loss(
    disparities: Sequence[Tensor],
    motions: Tensor,
    images: Tensor,
    intrinsics: Tensor,
    settings: PhotometricLoss,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """How badly the sources explain the target (Godard et al., 2019, section 3).

    Args:
        disparities: (B, 1, H, W), then at 1/2, 1/4, ... of a resolution that may be padded at right and bottom.
        motions: ``source_from_target`` (B, S, 4, 4), in the unit of the depth.
        images: (B, 1 + S, 3, H, W) in [0, 1], the target first.
        intrinsics: (B, 3, 3).
        settings: See `PhotometricLoss`.
        weight: Of pixels, (B, 1, H, W), or None.

    Returns:
        The mean over scales, and the mean photometric error of the finest one, without masks and weights.
    """
    target = images[:, 0]
    height, width = target.shape[-2:]
    unwarped = unwarped_errors(images, settings.alpha)
    total, first = images.new_zeros(()), images.new_zeros(())
    for scale, disparity in enumerate(disparities):
        factor = 2**scale
        fine = disparity
        if scale:
            fine = interpolate(disparity, scale_factor=factor, mode="bilinear", align_corners=False)
        depth = 1 / fine[..., :height, :width]
        errors = warped_errors(depth, motions, images, intrinsics, settings.alpha, unwarped)
        error = minimum_over_sources(errors.unbind(1))
        if scale == 0:
            first = error.mean()
        if settings.auto_mask:
            mask = auto_mask(error, unwarped.unbind(1))
            error = torch.where(mask, error, minimum_over_sources(unwarped.unbind(1)))
        total = total + (error.mean() if weight is None else (error * weight).sum() / weight.sum().clamp(min=1e-6))
        if settings.smoothness:
            small = avg_pool2d(target, factor, ceil_mode=True)
            inner = disparity[..., : small.shape[-2], : small.shape[-1]]
            total = total + settings.smoothness / factor * smoothness(inner, small)
    return total / len(disparities), first


def weight_of_still(flow: Tensor, trusted: Tensor, rigid: Tensor, scale: float) -> Tensor:
    """Little where an object moves by itself: ``1 / (1 + (|flow - rigid| / scale)^2)``, the least over the sources.

    The idea that what the camera does not explain must not bend the depth is that of Dynamo-Depth (Sun and Hariharan,
    2023), here with classical flow.

    Args:
        flow: Optical flow (B, S, 2, H, W) to the sources.
        trusted: (B, S, 1, H, W) bool; the other pixels count fully.
        rigid: As ``flow``, of depth and motion.
        scale: Pixels that halve the weight.

    Returns:
        (B, 1, H, W).
    """
    squared = ((flow - rigid) ** 2).sum(2, keepdim=True) / scale**2
    return torch.where(trusted, 1 / (1 + squared), 1.0).amin(1)


def flow_distance(flow: Tensor, trusted: Tensor, rigid: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean distance in pixels of two flows over trusted pixels; arguments as in `weight_of_still` and its result."""
    share = trusted.to(flow) if weight is None else trusted * weight[:, None]
    distance = (((flow - rigid) ** 2).sum(2, keepdim=True) + 1e-6).sqrt()
    return (distance * share).sum() / share.sum().clamp(min=1e-6)


def motion_distance(motions: Tensor, teacher: Tensor, sure: Tensor, intrinsics: Tensor, depth: Tensor) -> Tensor:
    """How far motions are from a teacher's, in pixels by which they move the image at a depth.

    Args:
        motions: (B, S, 4, 4).
        teacher: The same, with translations in units of ``depth``.
        sure: Weights (B, S).
        intrinsics: (B, 3, 3).
        depth: A scalar.
    """
    turn = (motions[..., :3, :3] - teacher[..., :3, :3]).flatten(2)
    shift = motions[..., :3, 3] / depth - teacher[..., :3, 3]
    distance = sum((part.square().sum(-1) + 1e-8).sqrt() for part in (turn / math.sqrt(2), shift))
    pixels = intrinsics[:, 0, 0, None] * distance
    return (pixels * sure).sum() / sure.sum().clamp(min=1e-6)


def _each(values: Tensor, count: int) -> Tensor:
    """Repeat every sample for its sources: (B, ...) to (B S, ...)."""
    return values.repeat_interleave(count, 0)

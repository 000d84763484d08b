"""Pinhole cameras: pixels, rays, points, and images seen from elsewhere.

Pixels are continuous, the centre of the first pixel is (0.5, 0.5), so that an image of width W spans x from 0 to W.
`torch.nn.functional.grid_sample` with ``align_corners=False`` puts the image's borders at -1 and 1, which is
``2 x / W - 1`` in this convention (`grid_from_pixels`); every function here samples in that way.  Intrinsics that were
calibrated with the first pixel's centre at (0, 0) need 0.5 added to their principal point.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from geometry.errors import GeometryError

FOCAL_FACTOR = 1.1
"""Guessed focal length over the longer image side; 1.0 to 1.2 (fields of view of 53 to 45 degrees) fit most cameras."""

NEAREST = 1e-6
"""Depths are not divided by less than this."""


def guess_intrinsics(width: int, height: int, focal_factor: float = FOCAL_FACTOR) -> Tensor:
    """Intrinsics of a camera of which only the image size is known.

    Args:
        width: Pixels.
        height: Pixels.
        focal_factor: Focal length over the longer side, usually 1.0 to 1.2.

    Returns:
        (3, 3) float32, with the principal point in the middle of the image.

    Raises:
        GeometryError: A number is not positive.
    """
    if min(width, height, focal_factor) <= 0:
        raise GeometryError(f"expected a positive size and focal factor, found {width} x {height}, {focal_factor}")
    focal = focal_factor * max(width, height)
    return torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def scale_intrinsics(intrinsics: Tensor, scale_x: float, scale_y: float) -> Tensor:
    """Intrinsics (..., 3, 3) of the image resized by these factors (new size over old size)."""
    return intrinsics * intrinsics.new_tensor([scale_x, scale_y, 1.0])[:, None]


def pixel_grid(
    height: int, width: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Pixel centres of an image: (2, H, W), x then y."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device, dtype=dtype) + 0.5,
        torch.arange(width, device=device, dtype=dtype) + 0.5,
        indexing="ij",
    )
    return torch.stack([x, y])


def lengths(vectors: Tensor) -> Tensor:
    """Lengths (...) of vectors (2, ...); many times faster than `torch.linalg.vector_norm` along the first axis."""
    return vectors.square().sum(0).sqrt()


def grid_from_pixels(pixels: Tensor, height: int, width: int) -> Tensor:
    """Turn pixels into the coordinates of ``grid_sample(..., align_corners=False)``.

    Args:
        pixels: (B, 2, H', W') in an image of ``height`` x ``width``.
        height: Of the image to be sampled.
        width: Of the image to be sampled.

    Returns:
        (B, H', W', 2), -1 and 1 at the borders of the image.
    """
    size = pixels.new_tensor([width, height])
    return 2 * pixels.movedim(1, -1) / size - 1


def inside(pixels: Tensor, height: int, width: int) -> Tensor:
    """Whether pixels (B, 2, H', W') lie in an image of ``height`` x ``width``: (B, 1, H', W') bool."""
    x, y = pixels[:, :1], pixels[:, 1:]
    return (x >= 0) & (y >= 0) & (x <= width) & (y <= height)


def sample(image: Tensor, pixels: Tensor, padding: str = "border", mode: str = "bilinear") -> Tensor:
    """Look an image (B, C, H, W) up at pixels (B, 2, H', W'): (B, C, H', W'), differentiable in both.

    Args:
        image: Any channels.
        pixels: Where to look.
        padding: "border" repeats the outermost pixels, "zeros" gives 0 outside.
        mode: "bilinear" or "nearest".
    """
    grid = grid_from_pixels(pixels, *image.shape[-2:])
    return grid_sample(image, grid, mode=mode, padding_mode=padding, align_corners=False)


def rays(height: int, width: int, intrinsics: Tensor) -> Tensor:
    """Viewing rays with z = 1 through the pixel centres: (B, 3, H, W) for intrinsics (B, 3, 3)."""
    grid = pixel_grid(height, width, intrinsics.device, intrinsics.dtype)
    homogeneous = torch.cat([grid, torch.ones_like(grid[:1])])
    return torch.einsum("bij,jhw->bihw", torch.linalg.inv(intrinsics), homogeneous)


def back_project(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Points in camera axes.

    Args:
        depth: (B, 1, H, W) along z.
        intrinsics: (B, 3, 3).

    Returns:
        (B, 3, H, W), in the unit of the depth.
    """
    return depth * rays(*depth.shape[-2:], intrinsics)


def project(points: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels and depths of points.

    Args:
        points: (B, 3, H, W) in camera axes.
        intrinsics: (B, 3, 3).

    Returns:
        Pixels (B, 2, H, W), meaningless where the depth is not positive, and depth (B, 1, H, W).
    """
    homogeneous = torch.einsum("bij,bjhw->bihw", intrinsics, points)
    depth = points[:, 2:3]
    return homogeneous[:, :2] / homogeneous[:, 2:3].clamp(min=NEAREST), depth


def transform(points: Tensor, target_from_source: Tensor) -> Tensor:
    """Move points (B, 3, H, W) by transforms (B, 4, 4)."""
    turned = torch.einsum("bij,bjhw->bihw", target_from_source[:, :3, :3], points)
    return turned + target_from_source[:, :3, 3, None, None]


def reproject(depth: Tensor, target_from_source: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Where the pixels of a source image are in a target image of the same camera, if nothing else moves.

    Args:
        depth: (B, 1, H, W) of the source.
        target_from_source: (B, 4, 4), translation in the unit of the depth.
        intrinsics: (B, 3, 3).

    Returns:
        Target pixels (B, 2, H, W) and depths in the target's axes (B, 1, H, W).
    """
    return project(transform(back_project(depth, intrinsics), target_from_source), intrinsics)


def warp(source: Tensor, depth: Tensor, source_from_target: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """See a source image from the target camera, with the target's depth; differentiable in all arguments.

    Args:
        source: (B, C, H, W) image of the source camera.
        depth: (B, 1, H, W) of the target.
        source_from_target: (B, 4, 4).
        intrinsics: (B, 3, 3) of both.

    Returns:
        (B, C, H, W) source values at the target's pixels (outside, the nearest border), and (B, 1, H, W) bool: in front
        of the source camera and inside its image.
    """
    pixels, ahead = reproject(depth, source_from_target, intrinsics)
    return sample(source, pixels), inside(pixels, *source.shape[-2:]) & (ahead > 0)


def warp_depth(
    source_depth: Tensor, depth: Tensor, source_from_target: Tensor, intrinsics: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Compare a source's depth map with a target's.

    Args:
        source_depth: (B, 1, H, W).
        depth: (B, 1, H, W) of the target.
        source_from_target: (B, 4, 4).
        intrinsics: (B, 3, 3) of both.

    Returns:
        The source's depth at the target's pixels, the depth that the target's points have in source axes (equal to it
        where both maps and the pose are right and nothing is hidden), both (B, 1, H, W), and the mask of `warp`.
    """
    pixels, ahead = reproject(depth, source_from_target, intrinsics)
    valid = inside(pixels, *source_depth.shape[-2:]) & (ahead > 0)
    return sample(source_depth, pixels), ahead, valid


def rigid_flow(depth: Tensor, target_from_source: Tensor, intrinsics: Tensor) -> Tensor:
    """Flow of all that stands still, caused by the camera alone.

    Args:
        depth: (B, 1, H, W) of the source; ignored where the translation is zero.
        target_from_source: (B, 4, 4).
        intrinsics: (B, 3, 3).

    Returns:
        (B, 2, H, W) target pixel minus source pixel.
    """
    pixels, _ = reproject(depth, target_from_source, intrinsics)
    return pixels - pixel_grid(*depth.shape[-2:], depth.device, depth.dtype)


def motion_residual(flow: Tensor, depth: Tensor, target_from_source: Tensor, intrinsics: Tensor) -> Tensor:
    """What the camera does not explain of an optical flow: flow minus `rigid_flow`, (B, 2, H, W) pixels."""
    return flow - rigid_flow(depth, target_from_source, intrinsics)

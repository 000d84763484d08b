"""Blocks that hide a part of a target in its view: opaque, textured, semi-transparent, moving."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from scenegraph_track.errors import UserError

OCCLUDERS = ("opaque", "textured", "semi_transparent", "moving")
"""Kinds of blocks."""

_COARSE, _FINE = 3, 12
"""Random colours along a side of a view, of the grain that textures are mixed from."""

_INSTANTS = 8
"""Places of a moving block while one image is taken."""


def occluded(
    images: Tensor, boxes: Tensor, share: Tensor, kind: str = "textured", opacity: Tensor | None = None
) -> Tensor:
    """Images in which a block lies on a part of each box.

    A block has the shape of its box and lies anywhere within it.  One that is moving is textured and on its way while
    the image is taken, up to half of the box's sides: its borders are blurred, and it hides less.

    Args:
        images: (N, 3, H, W) in [0, 1].
        boxes: (N, 4) xyxy pixels.
        share: (N,) of the area of the box, in [0, 1].
        kind: See `OCCLUDERS`.
        opacity: (N,) of semi-transparent blocks; all others hide what is behind.

    Raises:
        UserError: There is no such kind of block, or the opacity of a semi-transparent one is missing.
    """
    if kind not in OCCLUDERS:
        raise UserError(f"occluders: expected one of {', '.join(OCCLUDERS)}, found {kind}")
    if (kind == "semi_transparent") != (opacity is not None):
        raise UserError("occluders: expected an opacity of semi-transparent blocks, and of no others")
    count, (height, width) = len(images), images.shape[2:]
    sides = boxes[:, 2:] - boxes[:, :2]
    block = sides * share.sqrt()[:, None]
    corner = boxes[:, :2] + torch.rand(count, 2, device=images.device) * (sides - block)
    moved = torch.zeros_like(corner)
    if kind == "moving":
        moved = (torch.rand(count, 2, device=images.device) - 0.5) * sides
    times = torch.linspace(-0.5, 0.5, _INSTANTS if kind == "moving" else 1, device=images.device)
    if kind != "moving":
        times = torch.zeros_like(times)
    there = [coverage(corner + time * moved, block, (height, width)) for time in times]
    alpha = torch.stack(there).mean(0)[:, None]
    if opacity is not None:
        alpha = alpha * opacity[:, None, None, None]
    return images + alpha * (_paint(images, plain=kind == "opaque") - images)


def coverage(corner: Tensor, sides: Tensor, size: tuple[int, int]) -> Tensor:
    """How much of each pixel N rectangles cover.

    Args:
        corner: (N, 2) x and y of their upper left corners, pixels.
        sides: (N, 2) width and height.
        size: (H, W) of the images.

    Returns:
        (N, H, W) in [0, 1].
    """
    parts = []
    for axis, length in ((1, size[0]), (0, size[1])):
        pixel = torch.arange(length, device=corner.device, dtype=corner.dtype)
        low, high = corner[:, axis, None], (corner + sides)[:, axis, None]
        parts.append((torch.minimum(pixel + 1, high) - torch.maximum(pixel, low)).clamp(0, 1))
    return parts[0][:, :, None] * parts[1][:, None]


def _paint(images: Tensor, plain: bool) -> Tensor:
    """Random colours (N, 3, H, W) or, if plain, (N, 3, 1, 1)."""
    count = len(images)
    colour = torch.rand(count, 3, 1, 1, device=images.device)
    if plain:
        return colour.to(images)
    total = colour.expand(-1, -1, *images.shape[2:])
    for cells in (_COARSE, _FINE):
        grain = torch.rand(count, 3, cells, cells, device=images.device) - 0.5
        total = total + interpolate(grain, images.shape[2:], mode="bilinear", align_corners=False)
    return total.clamp(0, 1).to(images)

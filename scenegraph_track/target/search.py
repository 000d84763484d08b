"""Where a lost target is looked for: in views that grow, and in the whole image."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from scenegraph_track.target.views import View

_LEVELS = 2
"""Scales of whole images in a doubling, so that targets of about one size share the features of one scaled image."""


def grown(view: View, growth: float, stride: int) -> View:
    """A view that shows more round the same middle, at the same scale.

    Args:
        view: Of a target.
        growth: Of its side, at least 1; the new pixels are a multiple of two cells, so that the grids coincide.
        stride: Pixels of a cell.
    """
    size = view.size + 2 * stride * round(view.size * (growth - 1) / (2 * stride))
    return View(view.centre, view.side * size / view.size, size)


def whole_view(view: View, size: tuple[int, int], longest: int) -> View:
    """The view from the left and upper border of an image to the end of its longer side, scaled about as another.

    Args:
        view: Of a target.
        size: (W, H) of the image.
        longest: Pixels of the view, at most.
    """
    side, scale = max(size), 2 ** (round(_LEVELS * math.log2(view.scale)) / _LEVELS)
    return View((side / 2, side / 2), float(side), min(max(round(side * scale), 1), longest))


def scaled(images: Tensor, whole: View) -> Tensor:
    """Images (B, 3, H, W), floats in [0, 1] or uint8, at the scale of a `whole_view`, without what lies outside."""
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    size = [max(round(side * whole.scale), 1) for side in images.shape[2:]]
    return interpolate(images, size, mode="bilinear", antialias=True)

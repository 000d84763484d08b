"""Square pieces of an image round a target, resized to one size, and boxes in them.

A view maps image pixels to its own by ``(p - corner) * scale``; both are continuous, the centre of the first pixel at
(0.5, 0.5).  What lies outside the image is zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from scenegraph_track.errors import UserError

Boxes = TypeVar("Boxes", Tensor, NDArray)

_COARSEST = 2.0
"""Image pixels between two samples of a view; more are sampled, and averaged, where it shrinks the image further."""


@dataclass(frozen=True)
class View:
    """A square piece of an image.

    Args:
        centre: x and y of its middle, pixels of the image.
        side: Pixels of the image.
        size: Pixels of the view itself, along each side.
    """

    centre: tuple[float, float]
    side: float
    size: int

    def __post_init__(self) -> None:
        if not (self.side > 0 and self.size > 0 and all(map(math.isfinite, (*self.centre, self.side)))):
            raise UserError(f"view: expected a finite centre and positive sides, found {self}")

    @property
    def scale(self) -> float:
        """Pixels of the view per pixel of the image."""
        return self.size / self.side

    @property
    def corner(self) -> tuple[float, float]:
        """The left and top end, pixels of the image."""
        return self.centre[0] - self.side / 2, self.centre[1] - self.side / 2


def view_of_box(box: Sequence[float] | NDArray | Tensor, factor: float, size: int) -> View:
    """The view centred at a box whose side is ``ceil(factor * sqrt(w * h))`` (OSTrack, section 3).

    Args:
        box: (4,) xyxy, pixels of the image.
        factor: Side of the view in mean sides of the box.
        size: Pixels of the view.

    Raises:
        UserError: The box is not finite, or its right or lower end lies before the other.
    """
    left, top, right, bottom = (float(value) for value in box)
    area = (right - left) * (bottom - top)
    if not (math.isfinite(area) and right >= left and bottom >= top):
        raise UserError(f"view: expected a box of finite x1 <= x2 and y1 <= y2, found {left, top, right, bottom}")
    side = math.ceil(round(factor * math.sqrt(area), 6))
    return View(((left + right) / 2, (top + bottom) / 2), float(max(side, 1)), size)


def to_view(boxes: Boxes, view: View | Sequence[View]) -> Boxes:
    """Boxes of the image in pixels of a view.

    Args:
        boxes: (..., 4) xyxy; (N, ..., 4) for N views.
        view: One for all boxes, or one for each row.
    """
    corner, scale = _placed(boxes, view)
    return (boxes - corner) * scale


def to_image(boxes: Boxes, view: View | Sequence[View]) -> Boxes:
    """Boxes of a view in pixels of the image; the inverse of `to_view`."""
    corner, scale = _placed(boxes, view)
    return boxes / scale + corner


def _placed(boxes: Boxes, view: View | Sequence[View]) -> tuple[Boxes, Boxes]:
    """Corners (4,) or (N, ..., 4) and scales, of the kind of the boxes."""
    single = isinstance(view, View)
    views = [view] if single else view
    values = np.array([[*v.corner, *v.corner, v.scale] for v in views])
    values = values[0] if single else values.reshape(len(values), *(1,) * (boxes.ndim - 2), 5)
    if isinstance(boxes, Tensor):
        values = torch.from_numpy(values).to(boxes)
    return values[..., :4], values[..., 4:]


def cut(images: Tensor, views: Sequence[View]) -> Tensor:
    """Pieces of images, with gradient to the images.

    Bilinear; where a view shrinks the image more than twice, samples on a finer grid are averaged.

    Args:
        images: (B, 3, H, W) floats, one for each view; or (1, 3, H, W) for all of them.
        views: B, all of one size.

    Returns:
        (B, 3, S, S), zero outside the image.

    Raises:
        UserError: There are neither as many images as views nor one, or the views differ in size.
    """
    if len(images) not in (1, len(views)) or len({view.size for view in views}) > 1:
        raise UserError(f"cut: expected views of one size for {len(images)} images, found {len(views)}: {views[:3]}")
    if not views:
        return images.new_zeros(0, images.shape[1], 0, 0)
    shared = len(images) == 1
    return torch.cat([_cut_one(images[:1] if shared else images[k : k + 1], view) for k, view in enumerate(views)])


def _cut_one(image: Tensor, view: View) -> Tensor:
    height, width = image.shape[2:]
    finer = _finer(view)
    steps = (torch.arange(view.size * finer, device=image.device, dtype=image.dtype) + 0.5) / (view.scale * finer)
    x, y = ((corner + steps) * (2 / side) - 1 for corner, side in zip(view.corner, (width, height)))
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)[None]
    found = grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return avg_pool2d(found, finer) if finer > 1 else found


def cut_array(image: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    """As `cut`, of one image as an array and by OpenCV.

    Args:
        image: (H, W, 3) uint8.
        view: What to cut.

    Returns:
        (S, S, 3) uint8.
    """
    import cv2

    finer = _finer(view)
    step = 1 / (view.scale * finer)
    offset = [corner + 0.5 * step - 0.5 for corner in view.corner]
    matrix = np.array([[step, 0, offset[0]], [0, step, offset[1]]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found = cv2.warpAffine(image, matrix, (view.size * finer,) * 2, flags=how, borderMode=cv2.BORDER_CONSTANT)
    return cv2.resize(found, (view.size,) * 2, interpolation=cv2.INTER_AREA) if finer > 1 else found


def _finer(view: View) -> int:
    """Samples along each side of a pixel of the view."""
    shrinks = 1 / view.scale
    return math.ceil(shrinks / _COARSEST) if shrinks > _COARSEST else 1


def jittered(
    box: Sequence[float] | NDArray, rng: np.random.Generator, centre_jitter: float, scale_jitter: float
) -> NDArray[np.float64]:
    """A box somewhere near a box, to centre a view of training at (OSTrack).

    With standard normal n and uniform u in [0, 1): ``wh' = wh * exp(n * scale_jitter)`` and
    ``centre' = centre + sqrt(w' h') * centre_jitter * (u - 0.5)``, of each axis its own.

    Args:
        box: (4,) xyxy.
        rng: What is drawn from.
        centre_jitter: Range of the centre, in mean sides of the box.
        scale_jitter: Standard deviation of the logarithm of both sides.

    Returns:
        (4,) xyxy.
    """
    corners = np.asarray(box, np.float64)
    sides = (corners[2:] - corners[:2]) * np.exp(rng.standard_normal(2) * scale_jitter)
    middle = (corners[:2] + corners[2:]) / 2 + np.sqrt(sides.prod()) * centre_jitter * (rng.random(2) - 0.5)
    return np.concatenate([middle - sides / 2, middle + sides / 2])

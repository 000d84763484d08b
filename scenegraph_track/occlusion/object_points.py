"""Points on objects, and maps of which of them are seen."""

from __future__ import annotations

import torch
from torch import Tensor

from scenegraph_track.occlusion.point_features import STRIDE

SIGMA = 0.9
"""Of a point in a visibility map, cells."""


def points_in_boxes(boxes: Tensor, count: int) -> Tensor:
    """A spread of points (O, P, 2) over the inner nine tenths of boxes (O, 4), the same for every box.

    They follow the sequence of Roberts (2018), which covers a square evenly for any number of points.
    """
    golden = 1.32471795724474602596
    steps = torch.arange(1, count + 1, dtype=torch.float64, device=boxes.device)
    unit = torch.stack([(0.5 + steps / golden) % 1, (0.5 + steps / golden**2) % 1], -1).to(boxes.dtype)
    inner = 0.05 + 0.9 * unit
    return boxes[:, None, :2] + inner * (boxes[:, None, 2:] - boxes[:, None, :2])


def box_priors(boxes: Tensor, size: tuple[int, int], sharp: float = 0.25) -> Tensor:
    """Gaussians (O, h, w) in boxes (O, 4) of an image of (H, W) pixels, at the stride of the point features.

    Args:
        boxes: Pixels.
        size: (H, W) of the image.
        sharp: Standard deviation in sides of the box.
    """
    height, width = (-(-length // STRIDE) for length in size)
    y = (torch.arange(height, device=boxes.device) + 0.5) * STRIDE
    x = (torch.arange(width, device=boxes.device) + 0.5) * STRIDE
    centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=1) * sharp
    across = ((x - centre[:, :1]) / side[:, :1]).square()
    down = ((y - centre[:, 1:]) / side[:, 1:]).square()
    return (-(down[:, :, None] + across[:, None]) / 2).exp()


def visibility_maps(positions: Tensor, visibility: Tensor, size: tuple[int, int], sigma: float = SIGMA) -> Tensor:
    """Where objects are seen: the visible points of each as soft dots, (O, h, w) between 0 and 1.

    Args:
        positions: (O, P, 2) in cells of the map, the middle of the first at 0.5.
        visibility: (O, P) probability that a point is seen, and lies on the object.
        size: (h, w) of the map.
        sigma: Of a dot, cells.
    """
    y = torch.arange(size[0], device=positions.device) + 0.5
    x = torch.arange(size[1], device=positions.device) + 0.5
    down = (-((y - positions[..., 1:]) / sigma).square() / 2).exp()
    across = (-((x - positions[..., :1]) / sigma).square() / 2).exp()
    dots = torch.einsum("opy,opx,op->opyx", down, across, visibility)
    return 1 - (1 - dots).prod(1)

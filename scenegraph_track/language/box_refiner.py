"""Boxes of objects made tight: what lies round a rough box is looked at, whatever the object is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scenegraph_track.language.object_look import PIECE, ObjectLook, convolution, pieces

ROUND = 0.5
"""What is seen round a box, in parts of its sides."""

_MOST = 0.8
"""Largest shift of a middle in sides of the box, and largest change of the logarithm of a side, of one look."""


class BoxRefiner(nn.Module):
    """Corrections of boxes from pieces of the image that show them with what is round them.

    Args:
        channels: Of the convolutions, the last two at a quarter of the resolution.
        hidden: Of the perceptron.
    """

    def __init__(self, channels: tuple[int, int, int] = (24, 48, 64), hidden: int = 128) -> None:
        super().__init__()
        a, b, c = channels
        self.layers = nn.Sequential(
            *convolution(7, a, 1), *convolution(a, b, 2), *convolution(b, c, 2), *convolution(c, c, 1)
        )
        self.out = nn.Sequential(
            nn.Flatten(), nn.Linear(c * (PIECE // 4) ** 2, hidden), nn.ReLU(), nn.Linear(hidden, 4)
        )
        nn.init.zeros_(self.out[-1].weight)
        nn.init.zeros_(self.out[-1].bias)

    def forward(self, images: Tensor, boxes: Tensor, image: Tensor) -> Tensor:
        """Tighter boxes (M, 4), at first the same.

        Args:
            images: (B, 7, H, W): RGB in [0, 1], and what has changed (`trunk.change_of`).
            boxes: (M, 4) xyxy pixels.
            image: (M,) the image of each.
        """
        seen = ObjectLook.scaled(pieces(images, boxes, image, around=ROUND))
        change = _MOST * self.out(self.layers(seen)).tanh()
        middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
        middle, half = middle + change[:, :2] * sides, sides * change[:, 2:].exp() / 2
        return torch.cat([middle - half, middle + half], 1)

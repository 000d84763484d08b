"""Objects looked at by themselves: small pieces of the image, all of one size, so that shapes are seen at one scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

PIECE = 24
"""Pixels of a piece along each side."""

_FINER = 2
"""Samples of a pixel of a piece along each side."""

_ROUND = 0.1
"""What is seen round a box, in parts of its sides."""


class ObjectLook(nn.Module):
    """Features of what boxes hold, from pieces of the image of `PIECE` pixels.

    Args:
        dim: Of the features.
        channels: Of the convolutions, the last two at a quarter of the resolution.
    """

    def __init__(self, dim: int, channels: tuple[int, int, int] = (24, 48, 64)) -> None:
        super().__init__()
        a, b, c = channels
        self.layers = nn.Sequential(
            *convolution(7, a, 1), *convolution(a, b, 2), *convolution(b, c, 2), *convolution(c, c, 1)
        )
        self.out = nn.Sequential(
            nn.Flatten(), nn.Linear(c * (PIECE // 4) ** 2, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim)
        )

    def forward(self, images: Tensor, boxes: Tensor, warp: float = 0.0) -> Tensor:
        """Features (B, K, dim); 0 of boxes without area.

        Args:
            images: (B, 7, H, W): RGB in [0, 1], and what has changed (`trunk.change_of`).
            boxes: (B, K, 4) xyxy pixels.
            warp: Strength of random distortions of the pieces, for training; see `warped`.
        """
        exist = (boxes[..., 2:] > boxes[..., :2]).all(-1)
        found = boxes.new_zeros(*boxes.shape[:2], self.out[-1].out_features)
        if bool(exist.any()):
            image, _ = torch.nonzero(exist, as_tuple=True)
            found[exist] = self.out(self.layers(self.scaled(pieces(images, boxes[exist], image, warp))))
        return found

    @staticmethod
    def scaled(pieces: Tensor) -> Tensor:
        """Colours about zero, changes as they are."""
        return torch.cat([(pieces[:, :3] - 0.45) / 0.25, pieces[:, 3:]], 1)


def pieces(images: Tensor, boxes: Tensor, image: Tensor, warp: float = 0.0, around: float = _ROUND) -> Tensor:
    """What boxes hold and a little round it, (M, C, `PIECE`, `PIECE`).

    Args:
        images: (B, C, H, W).
        boxes: (M, 4) xyxy pixels.
        image: (M,) the image of each.
        warp: See `ObjectLook.forward`.
        around: What is seen round a box, in parts of its sides.
    """
    height, width = images.shape[2:]
    side = PIECE * _FINER
    steps = ((torch.arange(side, device=boxes.device, dtype=boxes.dtype) + 0.5) / side - 0.5) * (1 + 2 * around)
    places = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).expand(len(boxes), -1, -1, -1)
    places = warped(places, warp) if warp else places
    middle, spread = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    pixels = middle[:, None, None] + spread[:, None, None] * places
    grid = 2 * pixels / boxes.new_tensor([width, height]) - 1
    cut = [
        grid_sample(images[k : k + 1], grid[image == k].flatten(0, 1)[None], align_corners=False)
        for k in image.unique()
    ]
    found = torch.cat([one[0].unflatten(1, (-1, side)).transpose(0, 1) for one in cut])
    return avg_pool2d(found, _FINER)


def warped(places: Tensor, strength: float) -> Tensor:
    """Places (M, s, s, 2) in parts of boxes, turned, sheared, stretched and bent at random, each piece in its own way.

    Textures and outlines of one name differ more between worlds than the families of one split do: stripes may be
    straight or not.
    """
    count, side = places.shape[:2]
    angle, shear = (strength * deviation * torch.randn(count, device=places.device) for deviation in (0.4, 0.2))
    stretch = (0.15 * strength * torch.randn(count, 2, device=places.device)).exp()
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.stack([cos, shear - sin, sin, cos], -1).unflatten(-1, (2, 2)) * stretch[:, :, None]
    knots = int(torch.randint(3, 7, ()))
    amount = 0.06 * strength * torch.rand(count, 1, 1, 1, device=places.device)
    bent = interpolate(amount * torch.randn(count, 2, knots, knots, device=places.device), (side, side), mode="bicubic")
    return torch.einsum("mij,myxj->myxi", matrix, places) + bent.permute(0, 2, 3, 1)


def convolution(channels: int, out: int, stride: int) -> list[nn.Module]:
    """3 x 3, with batch normalisation."""
    return [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]

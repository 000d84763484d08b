"""What the networks of depth, motion and flow have in common."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad, unfold

from geometry.camera import pixel_grid

SLOPE = 0.1
"""Of the leaky ReLU for negative values."""


class Convolutions(nn.Module):
    """3 x 3 convolutions with leaky ReLU behind each; only the first has a stride."""

    def __init__(self, *channels: int, stride: int = 1) -> None:
        super().__init__()
        pairs = enumerate(pairwise(channels))
        self.layers = nn.ModuleList(nn.Conv2d(c, o, 3, 1 if k else stride, 1) for k, (c, o) in pairs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) of the last convolution."""
        for layer in self.layers:
            x = leaky_relu(layer(x), SLOPE)
        return x


def initialise(module: nn.Module) -> None:
    """He initialisation of all convolutions, biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, SLOPE)
            nn.init.zeros_(layer.bias)


def pad_to(image: Tensor, stride: int) -> Tensor:
    """The image (B, C, H, W) with its last row and column repeated up to whole multiples of ``stride``."""
    height, width = image.shape[-2:]
    return pad(image, (0, -width % stride, 0, -height % stride), mode="replicate")


def convex_upsample(values: Tensor, logits: Tensor) -> Tensor:
    """Twice the resolution, each pixel a convex combination of nine of ``values`` (RAFT, Teed and Deng, 2020).

    Args:
        values: (B, C, H, W).
        logits: (B, 36, H, W) of the nine weights of each of four pixels.

    Returns:
        (B, C, 2 H, 2 W).
    """
    batch, channels, height, width = values.shape
    weights = logits.view(batch, 1, 9, 2, 2, height, width).softmax(2)
    around = unfold(pad(values, (1, 1, 1, 1), mode="replicate"), 3).view(batch, channels, 9, 1, 1, height, width)
    fine = (weights * around).sum(2)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(batch, channels, 2 * height, 2 * width)


def standardised(image: Tensor) -> Tensor:
    """An image (B, 3, H, W) with mean 0 in each channel and deviation 1 over all."""
    deviation = image.std((1, 2, 3), keepdim=True) + 1e-3
    return (image - image.mean((2, 3), keepdim=True)) / deviation


def ray_channels(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Where the pixels look: x / z and y / z of their rays, (B, 2, H, W), for cameras without skew."""
    focal, centre = intrinsics[:, [0, 1], [0, 1]], intrinsics[:, :2, 2]
    grid = pixel_grid(height, width, intrinsics.device, intrinsics.dtype)
    return (grid - centre[..., None, None]) / focal[..., None, None]

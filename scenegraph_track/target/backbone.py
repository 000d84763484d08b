"""The small convolutional network that ships as the backbone of target models."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from geometry.layers import pad_to
from scenegraph_track.errors import UserError

_MIDDLE, _RANGE = 0.45, 0.25
"""Of the colours of images."""


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)
        nn.init.zeros_(self.second[1].weight)  # a block begins as nothing
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w)."""
        return self.relu(x + self.second(self.relu(self.first(x))))


class ResidualBackbone(nn.Module):
    """Features at 1/8 of the resolution: three convolutions of stride 2 with residual blocks behind the last two.

    Args:
        channels: At 1/2, 1/4 and 1/8.
        blocks: Residual blocks at 1/4 and 1/8.
    """

    stride = 8

    def __init__(self, channels: Sequence[int] = (24, 40, 80), blocks: Sequence[int] = (0, 3)) -> None:
        super().__init__()
        if len(channels) != 3 or len(blocks) != 2:
            raise UserError(f"backbone: expected 3 numbers of channels and 2 of blocks, found {channels}, {blocks}")
        self.dim = channels[-1]
        parts: list[nn.Module] = [_convolution(3, channels[0], 2), nn.ReLU(inplace=True)]
        for k, count in enumerate(blocks):
            parts += [_convolution(channels[k], channels[k + 1], 2), nn.ReLU(inplace=True)]
            parts += [ResidualBlock(channels[k + 1]) for _ in range(count)]
        self.layers = nn.Sequential(*parts)

    def features(self, images: Tensor) -> Tensor:
        """Features (B, dim, ceil(H / 8), ceil(W / 8)) of RGB images (B, 3, H, W) in [0, 1]."""
        return self(images)

    def forward(self, images: Tensor) -> Tensor:
        """See `features`."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise UserError(f"backbone: expected RGB images (B, 3, H, W), found {tuple(images.shape)}")
        return self.layers(pad_to((images - _MIDDLE) / _RANGE, self.stride))


def _convolution(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    """3 x 3, with batch normalisation."""
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out))

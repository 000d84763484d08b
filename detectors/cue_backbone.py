"""The backbone that ships: a small U-Net that sees an image and, where there is one, its motion residual."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from detectors.errors import DetectorError
from geometry.layers import Convolutions, initialise, pad_to, standardised

CUES = 6
"""Channels that `motion_channels` makes of a residual."""

_LEAST_NOISE = 0.02
_STRONGEST, _LONGEST = 10.0, 8.0


def motion_channels(residual: Tensor | None, image: Tensor) -> Tensor:
    """What the backbone sees of a motion residual.

    Args:
        residual: (B, 2, H, W) pixels, NaN where it cannot be trusted; all NaN, or None, for images without motion.
        image: (B, 3, H, W).

    Returns:
        (B, 6, H, W): the residual over the noise of its image, the residual in pixels (both bounded and of order 1),
        where it can be trusted, and whether there is any; all zero without motion.
    """
    if residual is None:
        return image.new_zeros(len(image), CUES, *image.shape[2:])
    if residual.shape != (len(image), 2, *image.shape[2:]):
        wanted = (len(image), 2, *image.shape[2:])
        raise DetectorError(f"expected a motion residual {wanted}, found {tuple(residual.shape)}")
    trusted = residual.isfinite().all(1, keepdim=True)
    length = torch.where(trusted, _length(residual), residual.new_tensor(torch.nan)).flatten(1)
    noise = (length.nanmedian(1).values / 1.177).nan_to_num(1.0).clamp(min=_LEAST_NOISE)  # median of a Rayleigh
    values = torch.where(trusted, residual, torch.zeros_like(residual))
    ratio = _bounded(values / noise[:, None, None, None], _STRONGEST) / 4
    there = trusted.flatten(1).any(1)[:, None, None, None].expand_as(trusted)
    return torch.cat([ratio, _bounded(values, _LONGEST) / 2, trusted.to(values.dtype), there.to(values.dtype)], 1)


def _length(vector: Tensor) -> Tensor:
    """(B, 1, H, W) of (B, C, H, W); many times as fast as `torch.linalg.vector_norm` over the channels."""
    return vector.square().sum(1, keepdim=True).sqrt()


def _bounded(vector: Tensor, most: float) -> Tensor:
    """The same direction, the length bounded softly."""
    length = _length(vector)
    return vector * (most * torch.tanh(length / most) / length.clamp(min=1e-6))


class CueBackbone(nn.Module):
    """Features at 1/2 of the resolution from a U-Net with levels at 1/2, 1/4, 1/8 and 1/16.

    Args:
        channels: Of the four levels.
        dim: Of the features.
    """

    stride = 2

    def __init__(self, channels: Sequence[int] = (24, 48, 64, 96), dim: int = 24) -> None:
        super().__init__()
        self.dim = dim
        inner = (3 + CUES, *channels)
        self.down = nn.ModuleList(
            Convolutions(inner[k], inner[k + 1], inner[k + 1], stride=2) for k in range(len(channels))
        )
        out = (dim, *channels[1:-1])
        above = (*channels[1:-1], channels[-1])
        self.up = nn.ModuleList(Convolutions(above[k] + channels[k], out[k]) for k in range(len(out)))
        initialise(self)

    def features(self, images: Tensor, residual: Tensor | None = None) -> Tensor:
        """Features (B, D, H / 2, W / 2), rounded up, of images (B, 3, H, W) in [0, 1] and residuals (B, 2, H, W)."""
        return self(images, residual)

    def forward(self, images: Tensor, residual: Tensor | None = None) -> Tensor:
        """See `features`."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise DetectorError(f"expected RGB images (B, 3, H, W), found {tuple(images.shape)}")
        height, width = images.shape[2:]
        x = pad_to(torch.cat([standardised(images), motion_channels(residual, images)], 1), 2 ** len(self.down))
        levels = []
        for stage in self.down:
            x = stage(x)
            levels.append(x)
        x = levels.pop()
        for stage in reversed(self.up):
            x = stage(torch.cat([interpolate(x, scale_factor=2.0, mode="nearest"), levels.pop()], 1))
        return x[..., : -(-height // 2), : -(-width // 2)]

"""A small network for optical flow: feature pyramid, local correlation, coarse to fine (after PWC-Net, Sun et al., 2018).

At 1/16, 1/8, 1/4 and 1/2 of the resolution the features of image b are warped by the flow so far and correlated with
those of image a; a few convolutions turn the correlation, the features of a, the flow and the hidden state of the level
above into a correction of the flow.  A learned convex combination of neighbours (RAFT, Teed and Deng, 2020) brings the
flow of 1/2 to full resolution, which keeps the borders of objects sharp.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from geometry.camera import pixel_grid, sample
from geometry.errors import GeometryError
from geometry.layers import Convolutions, convex_upsample, initialise, pad_to

STRIDE = 16
"""Images are padded to multiples of this."""


def correlation(a: Tensor, b: Tensor, radius: int) -> Tensor:
    """Scalar products of features (B, C, H, W) with those of the pixels around: (B, (2 radius + 1)^2, H, W)."""
    height, width = a.shape[-2:]
    around = pad(b, (radius,) * 4)
    shifts = range(2 * radius + 1)
    products = [(a * around[..., i : i + height, j : j + width]).sum(1) for i in shifts for j in shifts]
    return torch.stack(products, 1)


def _unit(x: Tensor) -> Tensor:
    """Features of length 1 at every pixel."""
    return x * torch.rsqrt((x * x).sum(1, keepdim=True) + 1e-6)


class FlowNet(nn.Module):
    """Optical flow of a pair of images.

    The four numbers of each argument are for 1/2, 1/4, 1/8 and 1/16 of the resolution.

    Args:
        features: Channels of the pyramid.
        radius: Of the correlation, in pixels of that level.
        wide: Channels of the first convolution behind the correlation.
        hidden: Channels of the last one.
        carried: Channels of it that the next finer level sees.
    """

    def __init__(
        self,
        features: Sequence[int] = (16, 32, 48, 64),
        radius: Sequence[int] = (2, 3, 3, 3),
        wide: Sequence[int] = (32, 48, 64, 64),
        hidden: Sequence[int] = (24, 32, 48, 48),
        carried: Sequence[int] = (0, 5, 13, 29),
    ) -> None:
        super().__init__()
        self.radius = tuple(radius)
        inner = (3, *features)
        self.encoder = nn.ModuleList(Convolutions(inner[k], inner[k + 1], inner[k + 1], stride=2) for k in range(4))
        self.decoders, self.heads = nn.ModuleList(), nn.ModuleList()
        for level in range(4):
            above = carried[level + 1] + 2 if level < 3 else 0
            entering = (2 * radius[level] + 1) ** 2 + features[level] + above
            self.decoders.append(Convolutions(entering, wide[level], wide[level], hidden[level]))
            further = carried[level] if level else 36  # weights of `convex_upsample`
            self.heads.append(nn.Conv2d(hidden[level], 2 + further, 1))
        initialise(self)
        for head in self.heads:
            nn.init.normal_(head.weight[:2], 0, 1e-3)

    def forward(self, image_a: Tensor, image_b: Tensor) -> list[Tensor]:
        """Flow from a to b, coarse to fine.

        Args:
            image_a: (B, 3, H, W) RGB in [0, 1].
            image_b: The same shape.

        Returns:
            Flow at full resolution (B, 2, H, W), then at 1/2, 1/4, 1/8 and 1/16 of the padded resolution, each in
            pixels of the image.
        """
        if image_a.shape != image_b.shape or image_a.ndim != 4 or image_a.shape[1] != 3:
            shapes = f"{tuple(image_a.shape)} and {tuple(image_b.shape)}"
            raise GeometryError(f"expected two RGB images (B, 3, H, W) of one size, found {shapes}")
        height, width = image_a.shape[-2:]
        both = self._features(*_prepare(image_a, image_b))
        return self._decode([f.chunk(2)[0] for f in both], [f.chunk(2)[1] for f in both], height, width)

    def both_ways(self, image_a: Tensor, image_b: Tensor) -> tuple[Tensor, Tensor]:
        """Flow from a to b and from b to a at full resolution; the features of each image are computed once."""
        features = self._features(*_prepare(image_a, image_b))
        swapped = [torch.cat(feature.chunk(2)[::-1]) for feature in features]
        forward, backward = self._decode(features, swapped, *image_a.shape[-2:])[0].chunk(2)
        return forward, backward

    def _features(self, a: Tensor, b: Tensor) -> list[Tensor]:
        x = torch.cat([a, b])
        found = []
        for stage in self.encoder:
            x = stage(x)
            found.append(x)
        return found

    def _decode(self, of_a: list[Tensor], of_b: list[Tensor], height: int, width: int) -> list[Tensor]:
        flow = rest = None
        found: list[Tensor] = []
        for level in (3, 2, 1, 0):
            a, b = of_a[level], of_b[level]
            entering = [a]
            if flow is not None and rest is not None:
                finer = interpolate(
                    torch.cat([2 * flow, rest], 1), scale_factor=2, mode="bilinear", align_corners=False
                )
                flow = finer[:, :2]
                b = sample(b, pixel_grid(*a.shape[-2:], a.device, a.dtype) + flow, padding="zeros")
                entering.append(finer)
            matched = correlation(_unit(a), _unit(b), self.radius[level])
            hidden = self.decoders[level](torch.cat([matched, *entering], 1))
            step, rest = self.heads[level](hidden).split([2, self.heads[level].out_channels - 2], 1)
            flow = step if flow is None else flow + step
            found.insert(0, flow * 2 ** (level + 1))
        return [convex_upsample(2 * flow, rest)[..., :height, :width], *found]


def _prepare(image_a: Tensor, image_b: Tensor) -> tuple[Tensor, Tensor]:
    """Padded to multiples of `STRIDE`, with mean 0 and deviation 1 over the pair."""
    both = torch.cat([image_a, image_b], 3)
    mean = both.mean((2, 3), keepdim=True)
    deviation = both.std((1, 2, 3), keepdim=True) + 1e-3
    a, b = (pad_to((image - mean) / deviation, STRIDE) for image in (image_a, image_b))
    return a, b

"""A small network that corrects an optical flow: local correlation around it, at 1/4 and then at 1/2 of the resolution.

It starts from a flow that OpenCV's DIS finds in a few milliseconds: right for most pixels, to a fraction of a pixel,
but wrong at the borders of objects, in flat regions and where something small is fast.  At 1/4 of the resolution the
features of image b are warped by that flow and correlated with those of image a; a few convolutions turn the
correlation, the features of a and the flow into a correction (after PWC-Net, Sun et al., 2018).  At 1/2 the same is
done again, with what is left of the difference of the images under the flow, which holds its fractions of a pixel.  A
learned convex combination of neighbours (RAFT, Teed and Deng, 2020) gives the full resolution and keeps the borders
of objects sharp.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu, pad, pixel_unshuffle

from geometry.camera import pixel_grid, sample
from geometry.errors import GeometryError
from geometry.layers import SLOPE, Convolutions, convex_upsample, initialise, pad_to

STRIDE = 4
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


def _warped(image: Tensor, flow: Tensor) -> Tensor:
    """An image looked up where the flow (B, 2, H, W) ends."""
    return sample(image, pixel_grid(*flow.shape[-2:], flow.device, flow.dtype) + flow)


class _Decoder(nn.Module):
    """3 x 3 convolutions with leaky ReLU, some of them dilated, and a 1 x 1 convolution at the end."""

    def __init__(self, channels: Sequence[int], dilations: Sequence[int], out: int) -> None:
        super().__init__()
        pairs = zip(channels, channels[1:], dilations)
        self.layers = nn.ModuleList(nn.Conv2d(c, o, 3, 1, d, d) for c, o, d in pairs)
        self.head = nn.Conv2d(channels[-1], out, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = leaky_relu(layer(x), SLOPE)
        return self.head(x)


class FlowNet(nn.Module):
    """Optical flow of a pair of images, from a flow that is nearly right.

    Args:
        features: Channels at 1/2 and 1/4 of the resolution.
        radius: Of the correlation at 1/2 and 1/4, in pixels of that level.
        wide: Channels of the first convolution at 1/2 and 1/4; the others have 3/4 and 2/3 of it.
        carried: Channels that the finer level sees of the coarser.
    """

    def __init__(
        self,
        features: Sequence[int] = (16, 32),
        radius: Sequence[int] = (1, 2),
        wide: Sequence[int] = (32, 48),
        carried: int = 7,
    ) -> None:
        super().__init__()
        self.radius = tuple(radius)
        self.encoder = nn.ModuleList(
            [Convolutions(3, features[0], features[0], stride=2), Convolutions(*features, *features[1:] * 2, stride=2)]
        )
        fine, coarse = ((2 * r + 1) ** 2 + f for r, f in zip(radius, features))
        self.coarse = _Decoder((coarse + 5, wide[1], *[wide[1] * 2 // 3] * 3), (1, 2, 4, 1), 2 + carried)
        self.fine = _Decoder((fine + 16 + carried, wide[0], *[wide[0] * 3 // 4] * 2), (1, 2, 1), 2 + 36)
        initialise(self)
        for decoder in (self.coarse, self.fine):
            nn.init.normal_(decoder.head.weight[:2], 0, 1e-3)

    def forward(self, image_a: Tensor, image_b: Tensor, start: Tensor) -> list[Tensor]:
        """Flow from a to b.

        Args:
            image_a: (B, 3, H, W) RGB in [0, 1].
            image_b: The same shape.
            start: (B, 2, H, W) flow to be corrected, pixels.

        Returns:
            Flow at full resolution (B, 2, H, W), then at 1/2 and 1/4 of the padded resolution, each in pixels of the
            image.

        Raises:
            GeometryError: A shape is wrong.
        """
        if image_a.shape != image_b.shape or image_a.ndim != 4 or image_a.shape[1] != 3:
            shapes = f"{tuple(image_a.shape)} and {tuple(image_b.shape)}"
            raise GeometryError(f"expected two RGB images (B, 3, H, W) of one size, found {shapes}")
        if start.shape != (len(image_a), 2, *image_a.shape[2:]):
            raise GeometryError(f"expected a flow {(len(image_a), 2, *image_a.shape[2:])}, found {tuple(start.shape)}")
        height, width = image_a.shape[-2:]
        a, b = _prepare(image_a, image_b)
        start = pad_to(start, STRIDE)
        features = self._features(torch.cat([a, b]))
        (half_a, half_b), (quarter_a, quarter_b) = (f.chunk(2) for f in features)
        flow, rest = self._coarse(a, b, quarter_a, quarter_b, start)
        found = [4 * flow]
        flow, rest = self._fine(a, b, half_a, half_b, start, torch.cat([2 * flow, rest], 1))
        return [convex_upsample(2 * flow, rest)[..., :height, :width], 2 * flow, *found]

    def both_ways(self, image_a: Tensor, image_b: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Flow from a to b and from b to a of one pair, each image looked at once.

        Args:
            image_a: (3, H, W) RGB in [0, 1].
            image_b: The same shape.
            start: (2, 2, H, W) flow there and back to be corrected, pixels.

        Returns:
            (2, H, W) each, as those of `forward`.
        """
        height, width = image_a.shape[-2:]
        pair = torch.cat(_prepare(image_a[None], image_b[None]))
        other, start = pair.flip(0), pad_to(start, STRIDE)
        half, quarter = self._features(pair)
        flow, rest = self._coarse(pair, other, quarter, quarter.flip(0), start)
        flow, rest = self._fine(pair, other, half, half.flip(0), start, torch.cat([2 * flow, rest], 1))
        there, back = convex_upsample(2 * flow, rest)[..., :height, :width]
        return there, back

    def _features(self, images: Tensor) -> list[Tensor]:
        half = self.encoder[0](images)
        return [half, self.encoder[1](half)]

    def _coarse(self, a: Tensor, b: Tensor, of_a: Tensor, of_b: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Flow at 1/4 in pixels of that level, and what is carried on."""
        flow = avg_pool2d(start, 4) / 4
        left = avg_pool2d((a - _warped(b, start)).abs(), 4)
        matched = correlation(_unit(of_a), _unit(_warped(of_b, flow)), self.radius[1])
        step, rest = self.coarse(torch.cat([matched, of_a, flow, left], 1)).tensor_split([2], 1)
        return flow + step, rest

    def _fine(
        self, a: Tensor, b: Tensor, of_a: Tensor, of_b: Tensor, start: Tensor, above: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Flow at 1/2 in pixels of that level, and the weights for the full resolution."""
        above = interpolate(above, scale_factor=2.0, mode="bilinear", align_corners=False)
        flow = above[:, :2]
        full = 2 * interpolate(flow, scale_factor=2.0, mode="bilinear", align_corners=False)
        left = pixel_unshuffle(a - _warped(b, full), 2)
        first = avg_pool2d(start, 2) / 2 - flow
        matched = correlation(_unit(of_a), _unit(_warped(of_b, flow)), self.radius[0])
        step, rest = self.fine(torch.cat([matched, of_a, left, first, above], 1)).tensor_split([2], 1)
        return flow + step, rest


def _prepare(image_a: Tensor, image_b: Tensor) -> tuple[Tensor, Tensor]:
    """Padded to multiples of `STRIDE`, with mean 0 and deviation 1 over the pair."""
    mean = (image_a.mean((2, 3), keepdim=True) + image_b.mean((2, 3), keepdim=True)) / 2
    power = ((image_a * image_a).mean((1, 2, 3), keepdim=True) + (image_b * image_b).mean((1, 2, 3), keepdim=True)) / 2
    deviation = (power - (mean * mean).mean(1, keepdim=True)).clamp(min=0).sqrt() + 1e-3
    a, b = (pad_to((image - mean) / deviation, STRIDE) for image in (image_a, image_b))
    return a, b

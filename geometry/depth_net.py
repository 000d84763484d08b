"""Depth of a single image: an encoder with skips and disparity at four scales (after Godard et al., 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from geometry.camera import guess_intrinsics
from geometry.errors import GeometryError
from geometry.layers import Convolutions, convex_upsample, initialise, pad_to, ray_channels, standardised

STRIDE = 32
"""Images are padded to multiples of this."""

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class SmallEncoder(nn.Module):
    """Two convolutions at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution; sees the image and what stands beside it."""

    def __init__(self, channels: Sequence[int], beside: int) -> None:
        super().__init__()
        inner = (3 + beside, *channels)
        self.stages = nn.ModuleList(
            Convolutions(inner[k], inner[k + 1], inner[k + 1], stride=2) for k in range(len(channels))
        )
        self.channels = tuple(channels)

    def forward(self, image: Tensor, beside: Tensor) -> list[Tensor]:
        """Features (B, C, h, w), fine to coarse."""
        x = torch.cat([standardised(image), beside], 1)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


class TimmEncoder(nn.Module):
    """A ``timm`` network that gives features at five scales; what stands beside the image enters at the coarsest.

    Raises:
        GeometryError: There is no such network, or it does not give features at 1/2 to 1/32 of the resolution.
    """

    def __init__(self, name: str, beside: int, pretrained: bool = False, **options: Any) -> None:
        super().__init__()
        import timm

        try:
            self.network = timm.create_model(name, pretrained=pretrained, features_only=True, **options)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise GeometryError(f"backbone {name}: timm cannot give its features ({error})") from None
        reductions = self.network.feature_info.reduction()
        if list(reductions) != [2, 4, 8, 16, 32]:
            raise GeometryError(f"backbone {name}: expected features at 1/2 to 1/32, found 1/{reductions}")
        channels = self.network.feature_info.channels()
        self.channels = (*channels[:-1], channels[-1] + beside)
        mean, deviation = (torch.tensor(values)[None, :, None, None] for values in _IMAGENET)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)

    def forward(self, image: Tensor, beside: Tensor) -> list[Tensor]:
        """Features (B, C, h, w), fine to coarse."""
        found = list(self.network((image - self.mean) / self.deviation))
        coarse = interpolate(beside, found[-1].shape[-2:], mode="bilinear", align_corners=False, antialias=True)
        found[-1] = torch.cat([found[-1], coarse], 1)
        return found


class DepthNet(nn.Module):
    """Depth along z of an image, in a scale of the network's own; on request completes depth that is known in part.

    Disparity is ``1 / depth``, and depth is ``exp(m + h tanh(x))``, which lies in (min_depth, max_depth) with a
    gradient everywhere.

    Args:
        channels: Of the small encoder at 1/2 to 1/32 of the resolution.
        decoder: Of the decoder at 1/2, 1/4, 1/8 and 1/16.
        min_depth: Lower bound.
        max_depth: Upper bound.
        backbone: Name of a ``timm`` network in place of the small encoder.
        pretrained: Whether its weights are fetched.
        backbone_options: Passed to ``timm.create_model``.
        completes: Whether depth that is known in part can be given.

    Raises:
        GeometryError: The bounds are no bounds, or the backbone does not fit.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 48, 64, 96),
        decoder: Sequence[int] = (16, 24, 48, 64),
        min_depth: float = 0.1,
        max_depth: float = 100.0,
        backbone: str | None = None,
        pretrained: bool = False,
        backbone_options: dict[str, Any] | None = None,
        completes: bool = True,
    ) -> None:
        super().__init__()
        if not 0 < min_depth < max_depth:
            raise GeometryError(f"expected 0 < min_depth < max_depth, found {min_depth} and {max_depth}")
        self.min_depth, self.max_depth = min_depth, max_depth
        self.completes, beside = completes, 4 if completes else 2
        if backbone is None:
            self.encoder: nn.Module = SmallEncoder(channels, beside)
            initialise(self.encoder)
        else:
            self.encoder = TimmEncoder(backbone, beside, pretrained, **(backbone_options or {}))
        skips = self.encoder.channels
        above = (*decoder[1:], skips[4])
        self.decoder = nn.ModuleList(Convolutions(above[k] + skips[k], decoder[k], decoder[k]) for k in range(4))
        further = (36, 0, 0)  # weights of `convex_upsample`
        self.heads = nn.ModuleList(nn.Conv2d(decoder[k], 1 + further[k], 1) for k in range(3))
        initialise(self.decoder)
        initialise(self.heads)
        for head in self.heads:
            nn.init.normal_(head.weight[:1], 0, 1e-2)

    def forward(self, image: Tensor, intrinsics: Tensor | None = None, known: Tensor | None = None) -> list[Tensor]:
        """Disparity at four scales.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].
            intrinsics: (B, 3, 3), or None to guess them from the size.
            known: (B, 2, H, W) depth of any scale, 0 where unknown, and its confidence in [0, 1]; or None.

        Returns:
            Disparity (B, 1, H, W), then at 1/2, 1/4 and 1/8 of the padded resolution.

        Raises:
            GeometryError: A shape is wrong.
        """
        found = [head(x) for head, x in zip(self.heads, self._decoded(image, intrinsics, known))]
        finest = self._finest(found[0], image)
        return [self._disparity(value) for value in (finest, found[0][:, :1], *found[1:])]

    def depth(self, image: Tensor, intrinsics: Tensor | None = None, known: Tensor | None = None) -> Tensor:
        """Depth (B, 1, H, W) alone, see `forward`."""
        coarse = self.heads[0](self._decoded(image, intrinsics, known)[0])
        return 1 / self._disparity(self._finest(coarse, image))

    def _decoded(self, image: Tensor, intrinsics: Tensor | None, known: Tensor | None) -> list[Tensor]:
        """What the decoder says at 1/2, 1/4 and 1/8 of the padded resolution."""
        if image.ndim != 4 or image.shape[1] != 3:
            raise GeometryError(f"expected RGB images (B, 3, H, W), found {tuple(image.shape)}")
        height, width = image.shape[-2:]
        if intrinsics is None:
            intrinsics = guess_intrinsics(width, height).to(image.device).expand(len(image), 3, 3)
        if intrinsics.shape != (len(image), 3, 3):
            raise GeometryError(f"expected intrinsics {(len(image), 3, 3)}, found {tuple(intrinsics.shape)}")
        padded = pad_to(image, STRIDE)
        beside = [ray_channels(intrinsics, *padded.shape[-2:])]
        if known is not None and not (self.completes and known.shape == (len(image), 2, height, width)):
            wanted = f"known depth {(len(image), 2, height, width)}" if self.completes else "no known depth"
            raise GeometryError(f"expected {wanted}, found {tuple(known.shape)}")
        if self.completes:
            relative = image.new_zeros(len(image), 2, height, width) if known is None else _relative(known)
            beside.append(pad_to(relative, STRIDE))
        features = self.encoder(padded, torch.cat(beside, 1))
        x, found = features[4], []
        for k in (3, 2, 1, 0):
            x = torch.cat([interpolate(x, scale_factor=2.0, mode="nearest"), features[k]], 1)
            x = self.decoder[k](x)
            found.insert(0, x)
        return found[:3]

    @staticmethod
    def _finest(coarse: Tensor, image: Tensor) -> Tensor:
        fine = convex_upsample(coarse[:, :1], coarse[:, 1:])
        return fine[..., : image.shape[-2], : image.shape[-1]]

    def _disparity(self, x: Tensor) -> Tensor:
        middle = math.log(self.min_depth * self.max_depth) / 2
        half = math.log(self.max_depth / self.min_depth) / 2
        return torch.exp(-middle - half * torch.tanh(x))


def _relative(known: Tensor) -> Tensor:
    """Log depth over its weighted mean, times the confidence, and the confidence: (B, 2, H, W), free of scale."""
    depth, confidence = known[:, :1], known[:, 1:]
    confidence = torch.where(depth > 0, confidence, torch.zeros_like(confidence))
    log = torch.where(confidence > 0, depth, torch.ones_like(depth)).log()
    mean = (log * confidence).sum((2, 3), keepdim=True) / confidence.sum((2, 3), keepdim=True).clamp(min=1e-6)
    return torch.cat([(log - mean) * confidence, confidence], 1)

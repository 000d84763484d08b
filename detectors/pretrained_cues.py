"""Features for slots from a pretrained network of ``timm`` (DINOv2, DINOv3 and the like) beside those of motion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from detectors.backbones import TimmBackbone
from detectors.cue_backbone import CueBackbone

HUB = "hub"
"""Weights of a pretrained network that the hub has under its name."""


class PretrainedCues(nn.Module):
    """Features at 1/2 of the resolution: a pretrained network tells what things are, `CueBackbone` where they end.

    Both are mapped to as many channels, put side by side and mixed.  The pretrained network is neither trained nor
    saved: its weights are looked up again wherever these are loaded.

    Args:
        name: Of the pretrained network, see `TimmBackbone`.
        weights: "hub", or a folder or file, see ``folder`` there.
        channels: Of `CueBackbone`.
        dim: Of the features.

    Raises:
        DetectorError: There is no such network, or no weights that fit it.
    """

    stride = 2

    def __init__(
        self, name: str, weights: str = HUB, channels: Sequence[int] = (24, 48, 64, 96), dim: int = 24
    ) -> None:
        super().__init__()
        fetched = weights == HUB
        network = TimmBackbone(name, pretrained=fetched, folder=None if fetched else weights)
        self._pretrained = (network,)  # in a tuple, so that it is no part of the weights
        self.dim = dim
        self.cues = CueBackbone(channels, dim)
        self.map = nn.Conv2d(network.dim, dim, 1)
        self.mix = nn.Sequential(nn.GELU(), nn.Conv2d(2 * dim, dim, 1))

    def features(self, images: Tensor, residual: Tensor | None = None) -> Tensor:
        """Features (B, D, H / 2, W / 2), rounded up, of images (B, 3, H, W) in [0, 1] and residuals (B, 2, H, W)."""
        return self(images, residual)

    def forward(self, images: Tensor, residual: Tensor | None = None) -> Tensor:
        """See `features`."""
        (network,) = self._pretrained
        fine = self.cues(images, residual)
        with torch.no_grad():
            known = network.features(images)
        coarse = self.map(known)
        height, width = (cells * network.stride // self.stride for cells in coarse.shape[2:])
        smooth = interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
        return self.mix(torch.cat([fine, smooth[..., : fine.shape[2], : fine.shape[3]]], 1))

    def _apply(self, change: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Takes the pretrained network along to devices and types."""
        self._pretrained[0]._apply(change)
        return super()._apply(change, recurse)

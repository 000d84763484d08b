"""Camera motion from a pair of images, a short window, or their optical flow (after Godard et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geometry.errors import GeometryError
from geometry.layers import Convolutions, initialise, pad_to, ray_channels, standardised
from geometry.pose import target_from_source

SCALE = 0.01
"""Factor on the output, so that training starts near no motion."""


class PoseNet(nn.Module):
    """Motion of the camera from a reference image to one or more others.

    The images (standardised together), where their pixels look and, if asked for, the optical flow over the focal
    length go through convolutions of stride 2; the mean over the image of a last layer, times `SCALE`, is an
    axis-angle and a translation, in the scale of the depth that it was trained with. A motion that is already
    known, such as the classical estimate, can be given: the network then adds a correction to it.

    Args:
        channels: Of the convolutions, each of half the resolution of the one before.
        targets: Other images in the window; 1: a pair.
        flow: Whether the flow from the reference to each of them is given too.
        images: Whether the images are looked at; without them only the flow is.

    Raises:
        GeometryError: Neither images nor flow are to be used.
    """

    def __init__(
        self, channels: Sequence[int] = (16, 32, 64, 96, 128), targets: int = 1, flow: bool = False, images: bool = True
    ) -> None:
        super().__init__()
        if not (images or flow):
            raise GeometryError("expected a PoseNet that looks at images, at flow, or at both")
        self.targets, self.flow, self.images = targets, flow, images
        entering = 2 + 3 * (1 + targets) * images + 3 * targets * flow
        inner = (entering, *channels)
        self.encoder = nn.ModuleList(Convolutions(inner[k], inner[k + 1], stride=2) for k in range(len(channels)))
        self.squeeze = Convolutions(channels[-1], channels[-1], channels[-1])
        self.head = nn.Conv2d(channels[-1], 6 * targets, 1)
        initialise(self)

    def forward(
        self, images: Tensor, intrinsics: Tensor, flow: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """Motions to the other images.

        Args:
            images: (B, 1 + targets, 3, H, W) RGB in [0, 1], the reference first.
            intrinsics: (B, 3, 3).
            flow: (B, targets, 3, H, W): pixels from the reference, and whether to trust them (0 or 1).
            known: (B, targets, 4, 4) motions to be corrected, or None to start from no motion.

        Returns:
            ``target_from_reference`` (B, targets, 4, 4).

        Raises:
            GeometryError: A shape is wrong.
        """
        batch, count = images.shape[:2]
        if images.ndim != 5 or images.shape[2] != 3 or count != 1 + self.targets:
            raise GeometryError(f"expected images (B, {1 + self.targets}, 3, H, W), found {tuple(images.shape)}")
        height, width = images.shape[-2:]
        if self.flow and (flow is None or flow.shape != (batch, self.targets, 3, height, width)):
            found = None if flow is None else tuple(flow.shape)
            raise GeometryError(f"expected flow {(batch, self.targets, 3, height, width)}, found {found}")
        parts = [ray_channels(intrinsics, height, width)]
        if self.images:
            wide = images.transpose(1, 2).reshape(batch, 3, count * height, width)
            wide = standardised(wide).reshape(batch, 3, count, height, width)
            parts.append(wide.transpose(1, 2).flatten(1, 2))
        if self.flow and flow is not None:
            focal = intrinsics[:, [0, 1], [0, 1]][:, None, :, None, None]
            sure = flow[:, :, 2:]
            parts.append(torch.cat([flow[:, :, :2] * sure / (SCALE * focal), sure], 2).flatten(1, 2))
        x = pad_to(torch.cat(parts, 1), 2 ** len(self.encoder))
        for stage in self.encoder:
            x = stage(x)
        motion = SCALE * self.head(self.squeeze(x)).mean((2, 3)).view(batch, self.targets, 6)
        with torch.autocast(images.device.type, enabled=False):  # small angles do not survive half precision
            step = target_from_source(motion[..., :3].float(), motion[..., 3:].float())
        return step if known is None else step @ known

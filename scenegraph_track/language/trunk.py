"""The cheap visual trunk of the language network that ships: convolutions to 1/8 resolution, and what changed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geometry.layers import pad_to
from scenegraph_track.target.backbone import ResidualBackbone

_CHANGE = 4.0
"""Factor of differences."""


def change_of(images: Tensor, before: Tensor, moves: Tensor) -> Tensor:
    """(B, 4, H, W) how images differ from those one frame earlier, and whether that is known.

    Args:
        images: (B, 3, H, W) RGB in [0, 1].
        before: (B, 3, H, W), the images one frame earlier; any where they are not known.
        moves: (B,) bool, whether they are known; where not, motion counts as unknown, not as none.
    """
    known = moves.to(images)[:, None, None, None]
    return torch.cat([(images - before) * known * _CHANGE, known.expand(-1, 1, *images.shape[2:])], 1)


class Trunk(nn.Module):
    """Features at 1/8 of the resolution of an image and of its difference to the one before.

    Args:
        channels: At 1/2, 1/4 and 1/8, see `ResidualBackbone`.
        blocks: Residual blocks at 1/4 and 1/8.
        motion: Channels of the branch that sees the difference.
    """

    stride = 8

    def __init__(
        self, channels: Sequence[int] = (24, 40, 80), blocks: Sequence[int] = (0, 3), motion: int = 16
    ) -> None:
        super().__init__()
        self.appearance = ResidualBackbone(channels, blocks)
        self.dim = self.appearance.dim
        self.motion = nn.Sequential(
            nn.Conv2d(4, motion, 4, 4), nn.ReLU(), nn.Conv2d(motion, 2 * motion, 5, 2, 2), nn.ReLU()
        )
        self.motion_out = nn.Conv2d(2 * motion, self.dim, 3, padding=1)
        nn.init.zeros_(self.motion_out.weight)
        nn.init.zeros_(self.motion_out.bias)

    def forward(self, images: Tensor, change: Tensor) -> Tensor:
        """Features (B, dim, ceil(H / 8), ceil(W / 8)).

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            change: (B, 4, H, W) of `change_of`.
        """
        seen = self.appearance(images) + self.motion_out(self.motion(pad_to(change, self.stride)))
        return seen.relu()

    def start_from(self, backbone: ResidualBackbone) -> None:
        """Take over a trained backbone with as many channels, which may have fewer blocks at 1/4.

        A block that is new begins as nothing, so that the features are those of the trained one.
        """
        own, theirs = list(self.appearance.layers), list(backbone.layers)
        added = len(own) - len(theirs)
        kept = own[:4] + own[4 + added :]
        for mine, other in zip(kept, theirs, strict=True):
            mine.load_state_dict(other.state_dict())

    def kept(self) -> nn.Sequential:
        """What a training that began with a trained backbone leaves as it is."""
        return self.appearance.layers

    def keep(self) -> None:
        """Take them out of the training."""
        self.kept().requires_grad_(False)

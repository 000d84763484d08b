"""A small scene with exact depth, motion and flow, for the tests of this package."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from geometry.camera import rigid_flow
from geometry.pose import target_from_source


@dataclass(frozen=True)
class Room:
    """A slanted, bumpy surface seen by a camera of 96 x 64 pixels."""

    depth: Tensor
    intrinsics: Tensor

    def flow(self, turn: tuple[float, ...], move: tuple[float, ...]) -> tuple[Tensor, Tensor]:
        """Flow (2, H, W) and ``target_from_source`` (4, 4), float64, of a motion in radians and metres."""
        motion = target_from_source(torch.tensor(turn).double(), torch.tensor(move).double())
        return rigid_flow(self.depth[None, None], motion[None], self.intrinsics[None])[0], motion


@pytest.fixture(scope="package")
def room() -> Room:
    y, x = torch.meshgrid(torch.arange(64).double(), torch.arange(96).double(), indexing="ij")
    depth = 4 + 1.5 * torch.sin(x / 13) * torch.cos(y / 9) - y / 40
    return Room(depth, torch.tensor([[90.0, 0.0, 47.0], [0.0, 92.0, 33.0], [0.0, 0.0, 1.0]]).double())

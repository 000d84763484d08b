"""A tiny point network and solver, and a video of a square that moves."""

from __future__ import annotations

import torch

from scenegraph_track.occlusion.occu_solver import OccuSolver, OccuSolverSettings
from scenegraph_track.occlusion.point_net import PointNet, PointNetSettings

SETTINGS = PointNetSettings(
    channels=(4, 6, 8), features=6, dim=12, layers=1, heads=2, virtual=2, window=4, stride=2, iterations=2
)


def tiny_net() -> PointNet:
    torch.manual_seed(0)
    return PointNet(SETTINGS).eval().requires_grad_(False)


def tiny_solver() -> OccuSolver:
    torch.manual_seed(1)
    made = OccuSolver(SETTINGS.dim, SETTINGS.window, OccuSolverSettings(dim=8, layers=1, heads=2))
    torch.nn.init.normal_(made.whole.weight)
    return made.eval().requires_grad_(False)


def square_video(frames: int = 7, size: int = 48) -> list[torch.Tensor]:
    make = torch.Generator().manual_seed(0)
    ground = torch.randint(0, 120, (3, size, size), generator=make, dtype=torch.uint8)
    square = torch.randint(120, 256, (3, 16, 16), generator=make, dtype=torch.uint8)
    images = []
    for t in range(frames):
        image = ground.clone()
        image[:, 12:28, 6 + 2 * t : 22 + 2 * t] = square
        images.append(image)
    return images

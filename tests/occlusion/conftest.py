"""A tiny point network, and a video whose content moves by a known way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from scenegraph_track.occlusion.point_net import PointNet, PointNetSettings

TINY = {
    "channels": (4, 6, 8),
    "features": 8,
    "dim": 16,
    "layers": 1,
    "heads": 2,
    "virtual": 3,
    "window": 4,
    "stride": 2,
    "iterations": 2,
}


@pytest.fixture
def net() -> PointNet:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return PointNet(PointNetSettings(**TINY)).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def moving() -> list[Tensor]:
    """Nine images (3, 48, 64) uint8 of a texture that moves by (2, 1) pixels a frame."""
    noise = np.random.default_rng(0).uniform(0, 255, (90, 110, 3)).astype(np.float32)
    whole = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    crops = [whole[20 - t : 68 - t, 30 - 2 * t : 94 - 2 * t] for t in range(9)]
    return [torch.from_numpy(crop.transpose(2, 0, 1).copy()) for crop in crops]

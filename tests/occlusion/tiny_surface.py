"""A tiny surface network."""

from __future__ import annotations

import torch

from scenegraph_track.occlusion.surface_net import SurfaceNet, SurfaceNetSettings


def tiny_surface() -> SurfaceNet:
    torch.manual_seed(0)
    net = SurfaceNet(SurfaceNetSettings(first=4, width=6, deep=8, hidden=4, look=4))
    torch.nn.init.normal_(net.whole[-1].weight, std=0.3)
    return net.eval().requires_grad_(False)

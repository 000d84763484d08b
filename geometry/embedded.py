"""The trained networks that ship with the package, or others of the same shape from a file, ready to use.

Each takes and gives plain tensors, on the device of its input (where the network moves to), without gradient.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geometry.depth_net import DepthNet
from geometry.errors import GeometryError
from geometry.flow import dis_both_ways
from geometry.flow_net import FlowNet
from geometry.pose_net import PoseNet
from geometry.weights import embedded_weights, load_weights, recipe_section

START = "dis_fine"
"""The flow that `LearnedFlow` corrects."""


class LearnedFlow:
    """A `FlowNet` as a flow estimator.

    Args:
        net: In evaluation mode.
    """

    def __init__(self, net: FlowNet) -> None:
        self.net = net.eval()

    def __call__(self, image_a: Tensor, image_b: Tensor) -> Tensor:
        """Flow (2, H, W) from a to b, RGB images (3, H, W) in [0, 1] or uint8."""
        return self.both_ways(image_a, image_b)[0]

    @torch.no_grad()
    def both_ways(self, image_a: Tensor, image_b: Tensor) -> tuple[Tensor, Tensor]:
        """Flow from a to b and from b to a."""
        start = torch.stack(dis_both_ways(image_a, image_b, START))
        return _on(self.net, start).both_ways(_floating(image_a), _floating(image_b), start)


class LearnedDepth:
    """A `DepthNet` as a depth estimator that can also complete depth.

    Args:
        net: In evaluation mode.
    """

    trained_on = 128
    """Longer side in pixels of the images that it was taught by: it need not see much larger ones."""

    def __init__(self, net: DepthNet) -> None:
        self.net = net.eval().to(memory_format=torch.channels_last)  # nearly twice as fast on a CPU at 128 x 128

    @torch.no_grad()
    def __call__(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Depth (B, 1, H, W) of images (B, 3, H, W) in [0, 1] with intrinsics (B, 3, 3)."""
        return _on(self.net, image).depth(image, intrinsics)

    @torch.no_grad()
    def complete(self, image: Tensor, intrinsics: Tensor, depth: Tensor, confidence: Tensor) -> Tensor:
        """The same, knowing depth (B, 1, H, W), 0 where unknown, with a confidence (B, 1, H, W)."""
        known = torch.cat([depth, confidence], 1) if self.net.completes else None
        return _on(self.net, image).depth(image, intrinsics, known)


def _on(net: Any, like: Tensor) -> Any:
    """The network where a tensor is; asked first, as moving it looks at every weight."""
    return net if next(net.parameters()).device == like.device else net.to(like.device)


def _floating(image: Tensor) -> Tensor:
    return image.float() / 255 if image.dtype == torch.uint8 else image.float()


def _loaded(module: nn.Module, name: str, path: str | Path | None) -> nn.Module:
    load_weights(module, embedded_weights(name) if path is None else path, name)
    return module.eval().requires_grad_(False)


def flow_net(path: str | Path | None = None) -> FlowNet:
    """The trained flow network; ``path``: other weights of it.

    Raises:
        GeometryError: The weights do not fit, or the file is missing.
    """
    return _loaded(FlowNet(), "flow", path)


def flow_estimator(path: str | Path | None = None) -> LearnedFlow:
    """The trained flow network for `optical_flow` and `video_depth`."""
    return LearnedFlow(flow_net(path))


def depth_net(path: str | Path | None = None) -> DepthNet:
    """The trained depth network, built as its weights file says; ``path``: other weights."""
    file = embedded_weights("depth") if path is None else path
    settings = {**recipe_section(file, "depth_net"), "pretrained": False}  # the file holds all weights
    return _loaded(_built(DepthNet, settings, file), "depth", file)


def depth_estimator(path: str | Path | None = None) -> LearnedDepth:
    """The trained depth network as a function of images and intrinsics."""
    return LearnedDepth(depth_net(path))


def pose_net(path: str | Path | None = None) -> PoseNet:
    """The trained pose network, built as its weights file says; ``path``: other weights."""
    file = embedded_weights("pose") if path is None else path
    return _loaded(_built(PoseNet, recipe_section(file, "pose_net"), file), "pose", file)


def _built(kind: Any, settings: dict[str, Any], path: str | Path) -> Any:
    try:
        return kind(**settings)
    except TypeError as error:
        raise GeometryError(f"{path}: the recipe in it does not describe a {kind.__name__} ({error})") from None

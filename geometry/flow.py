"""Optical flow behind one interface: OpenCV's DIS, the network that ships, or any other `FlowEstimator`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from geometry.camera import pixel_grid, sample
from geometry.errors import GeometryError

METHODS = ("dis_fast", "dis_sparse", "dis_fine", "embedded", "dis_half")
"""DIS at its fast preset; down to the finest scale with large, sparse patches; the same with small, dense patches
(several times slower, less error on moving objects of few pixels); the network that ships with the package, which
corrects ``dis_fine``; large, sparse patches down to half the resolution only (a third of the time of ``dis_sparse``,
for far frames of a video)."""


class FlowEstimator(Protocol):
    """Anything that finds flow, such as a learned network.

    One with a method ``both_ways(image_a, image_b)`` is asked for the flow there and back at once.
    """

    def __call__(self, image_a: Tensor, image_b: Tensor) -> Tensor:
        """Flow (2, H, W) float32 in pixels, b minus a at the pixels of a, for RGB images (3, H, W) in [0, 1]."""
        ...


@dataclass(frozen=True, eq=False)
class OpticalFlow:
    """Flow from a source to a target image.

    Args:
        flow: (2, H, W) float32, target pixel minus source pixel, at the pixels of the source.
        consistent: (H, W) bool: flow there and back ends near where it began, inside the image; False where the surface
            is hidden in the target, or flow is wrong.
        error: (H, W) float32 pixels between start and end of there and back; infinite where the flow leaves the image.
    """

    flow: Tensor
    consistent: Tensor
    error: Tensor


def _gray(image: Tensor) -> np.ndarray:
    """(3, H, W) float in [0, 1] or uint8 to (H, W) uint8."""
    if image.ndim != 3 or image.shape[0] != 3:
        raise GeometryError(f"expected an RGB image (3, H, W), found a tensor {tuple(image.shape)}")
    weights = torch.tensor([0.299, 0.587, 0.114], device=image.device)
    scale = 1.0 if image.dtype == torch.uint8 else 255.0
    gray = (image.float() * weights[:, None, None]).sum(0) * scale
    return gray.round().clamp(0, 255).to(torch.uint8).cpu().numpy()


_DIS = {"dis_sparse": (0, 8, 4, 2), "dis_fine": (0, 5, 2, 10), "dis_half": (1, 8, 4, 5)}
"""Finest scale, patch, its stride, and iterations of the refinement."""

LEAST_SIDE = 32
"""Pixels; OpenCV's DIS reads beyond smaller images unless it goes down to the finest scale."""


def _dis(method: str, side: int) -> Any:
    """A fresh OpenCV estimator (they keep state, so none is shared) for images whose shorter side is this."""
    import cv2

    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    if method == "dis_fast" and side < LEAST_SIDE:
        dis.setFinestScale(0)
    if method != "dis_fast":
        finest, patch, stride, iterations = _DIS[method]
        dis.setFinestScale(finest if side >= LEAST_SIDE else 0)
        dis.setPatchSize(patch)
        dis.setPatchStride(stride)
        dis.setVariationalRefinementIterations(iterations)
    return dis


def dis_flow(image_a: Tensor, image_b: Tensor, method: str = "dis_sparse") -> Tensor:
    """Flow (2, H, W) from a to b by OpenCV's DIS (Kroeger et al., 2016), see `optical_flow`."""
    return dis_both_ways(image_a, image_b, method, ways=1)[0]


def dis_both_ways(image_a: Tensor, image_b: Tensor, method: str, ways: int = 2) -> list[Tensor]:
    """Flow (2, H, W) from a to b and from b to a by `dis_flow`; only the first with one of the ``ways``."""
    pair = _gray(image_a), _gray(image_b)
    found = [_dis(method, min(image_a.shape[1:])).calc(*way, None) for way in (pair, pair[::-1])[:ways]]
    return [torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1))).to(image_a.device) for flow in found]


@cache
def _embedded() -> FlowEstimator:
    from geometry.embedded import flow_estimator

    return flow_estimator()


def _both_ways(image_a: Tensor, image_b: Tensor, method: str | FlowEstimator) -> tuple[Tensor, Tensor]:
    """Flow from a to b and from b to a."""
    if isinstance(method, str) and method != "embedded":
        there, back = dis_both_ways(image_a, image_b, method)
        return there, back
    estimator = _embedded() if isinstance(method, str) else method
    if hasattr(estimator, "both_ways"):
        there, back = estimator.both_ways(image_a, image_b)
    else:
        there, back = estimator(image_a, image_b), estimator(image_b, image_a)
    return there.float(), back.float()


def consistency(
    forward: Tensor, backward: Tensor, relative: float = 0.01, absolute: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Follow flow there and back.

    Consistent is ``|f + b|^2 < relative (|f|^2 + |b|^2) + absolute`` with b looked up where f ends.

    Args:
        forward: (2, H, W) from source to target.
        backward: (2, H, W) from target to source.
        relative: Share of the squared motion that is tolerated.
        absolute: Squared pixels that are tolerated.

    Returns:
        (H, W) bool and the distance (H, W) in pixels, infinite where the flow leaves the image.
    """
    height, width = forward.shape[-2:]
    ends = pixel_grid(height, width, forward.device) + forward
    back = sample(backward[None], ends[None])[0]
    squared = ((forward + back) ** 2).sum(0)
    stays = (ends[0] >= 0) & (ends[1] >= 0) & (ends[0] <= width) & (ends[1] <= height)
    limit = relative * ((forward**2).sum(0) + (back**2).sum(0)) + absolute
    return stays & (squared < limit), torch.where(stays, squared.sqrt(), torch.inf)


def optical_flow(image_a: Tensor, image_b: Tensor, method: str | FlowEstimator = "dis_fast") -> OpticalFlow:
    """Flow from image a to image b, checked by the flow from b to a.

    Args:
        image_a: (3, H, W) RGB, float in [0, 1] or uint8, at least 16 x 16 pixels.
        image_b: The same shape.
        method: One of `METHODS`, or a `FlowEstimator`.

    Returns:
        Flow at the pixels of a, its mask and its error there and back.

    Raises:
        GeometryError: The method is unknown, or the images are not RGB images of one size, or too small.
    """
    if isinstance(method, str) and method not in METHODS:
        raise GeometryError(f"flow method: expected one of {', '.join(METHODS)} or an estimator, found {method!r}")
    if image_a.shape != image_b.shape or image_a.ndim != 3 or min(image_a.shape[1:]) < 16:
        shapes = f"{tuple(image_a.shape)} and {tuple(image_b.shape)}"
        raise GeometryError(f"expected two images (3, H, W) of one size of at least 16 x 16 pixels, found {shapes}")
    forward, backward = _both_ways(image_a, image_b, method)
    return OpticalFlow(forward, *consistency(forward, backward))

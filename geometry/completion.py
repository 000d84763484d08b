"""From depth that is known in places to depth everywhere: triangulation where it is sure, a network elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from geometry.camera import scale_intrinsics
from geometry.errors import GeometryError
from geometry.triangulation import PRIOR, VideoDepth, fuse, relative_scale

DepthEstimator = Callable[[Tensor, Tensor], Tensor]
"""Depth (B, 1, H, W) along z, of any scale, from images (B, 3, H, W) in [0, 1] and intrinsics (B, 3, 3).

One with a method ``complete(image, intrinsics, depth, confidence)`` is told the depth that is known.
"""

DISAGREEMENT = 0.5
"""Mean difference in log depth between the fused depth and the network's own from which what is known is not believed:
where triangulation is right the two differ by 0.1 to 0.35 on held-out worlds, where it is wrong by about 1."""

GUESS_ERROR = 0.2
"""Relative error of a network's depth that the fusion reckons with."""

SURER = 10.0
"""A network is told what has at least so many times the odds of its own guess.  Frames that only carry its guesses on
come to about as much (`geometry.video_views.MEMORY`): told those, it would follow itself."""

FLAT = 0.02
"""Confidence of depth that nothing is known about."""


def complete_depth(found: VideoDepth, image: Tensor, intrinsics: Tensor, estimator: DepthEstimator) -> Tensor:
    """Depth of every pixel of a frame of a clip, see `fill_depth`.

    Args:
        found: What triangulation is sure of.
        image: (3, H, W) RGB, float in [0, 1] or uint8.
        intrinsics: (3, 3).
        estimator: A network's depth, which may also complete what is known.

    Returns:
        (H, W), positive, in the scale of ``found``, or of the estimator where nothing was found.
    """
    return fill_depth(found.depth, found.confidence, image, intrinsics, estimator)[0]


def fill_depth(
    depth: Tensor,
    confidence: Tensor,
    image: Tensor,
    intrinsics: Tensor,
    estimator: DepthEstimator | None,
    error: float = GUESS_ERROR,
    doubt: bool = True,
    shrink: int = 1,
) -> tuple[Tensor, Tensor]:
    """Depth of every pixel; the network's own, in the scale of what is known, where the two contradict each other.

    A network that completes is told what is measured or much surer than its own guess (`SURER`).

    Args:
        depth: (H, W), 0 where unknown.
        confidence: (H, W) in [0, 1], ``1 / (1 + (s / PRIOR)^2)`` of the relative standard deviation s.
        image: (3, H, W) RGB, float in [0, 1] or uint8.
        intrinsics: (3, 3).
        estimator: A network's depth, which may also complete what is known; None: what is known goes on around itself.
        error: Typical relative error of the network's depth.
        shrink: The network sees the image and what is known so many times smaller.
        doubt: False where what is known was measured, and is to be believed whatever the network says.

    Returns:
        Depth (H, W), positive, in the scale of ``depth``, or of the estimator where nothing is known; and its
        confidence (H, W), `FLAT` where nothing tells.

    Raises:
        GeometryError: The estimator gives another shape.
    """
    known = (depth > 0) & (confidence > 0)
    flat = FLAT if estimator is None else 1 / (1 + (error / PRIOR) ** 2)
    own = flat / (1 - flat)
    odds = torch.where(known, confidence / (1 - confidence).clamp(min=1e-3), 0.0)
    if estimator is None:
        alone, guess = None, torch.ones_like(depth)
        error = PRIOR * ((1 - FLAT) / FLAT) ** 0.5
    else:
        network = _Shrunk(estimator, shrink) if shrink > 1 else estimator
        pixels, cameras = (image.float() / 255 if image.dtype == torch.uint8 else image)[None], intrinsics[None].float()
        surer = known & (odds > SURER * own) if doubt else known
        tells = hasattr(estimator, "complete") and bool(surer.any())
        alone = _like(depth, network(pixels, cameras)) if doubt or not tells else None
        guess = alone
        if tells:
            told = (torch.where(surer, part, 0.0)[None, None].to(pixels) for part in (depth, confidence))
            guess = _like(depth, network.complete(pixels, cameras, *told))
    full = fuse(depth, confidence, guess, error)
    if doubt and alone is not None and _contradict(full, alone):
        factor = relative_scale(depth, confidence, alone, torch.ones_like(alone))
        return alone * factor, torch.full_like(alone, flat)
    return full, (own + odds) / (1 + own + odds)


class _Shrunk:
    """A network of depth that sees everything a number of times smaller."""

    def __init__(self, estimator: DepthEstimator, factor: int) -> None:
        self.estimator, self.factor = estimator, factor

    def __call__(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        return self._enlarged(self.estimator(*self._shrunk(image, intrinsics)), image)

    def complete(self, image: Tensor, intrinsics: Tensor, depth: Tensor, confidence: Tensor) -> Tensor:
        """Depth is averaged by its confidence."""
        shape = self._shape(image)
        sure = interpolate(confidence, shape, mode="area")
        mean = interpolate(depth * confidence, shape, mode="area") / sure.clamp(min=1e-9)
        small = self.estimator.complete(*self._shrunk(image, intrinsics), mean, sure)  # type: ignore[attr-defined]
        return self._enlarged(small, image)

    def _shape(self, image: Tensor) -> tuple[int, int]:
        return -(-image.shape[2] // self.factor), -(-image.shape[3] // self.factor)

    def _shrunk(self, image: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        height, width = self._shape(image)
        factors = width / image.shape[3], height / image.shape[2]
        return interpolate(image, (height, width), mode="area"), scale_intrinsics(intrinsics, *factors)

    @staticmethod
    def _enlarged(found: Tensor, image: Tensor) -> Tensor:
        return interpolate(found, image.shape[2:], mode="bilinear", align_corners=False)


def _like(depth: Tensor, found: Tensor) -> Tensor:
    """A network's depth (1, 1, H, W) as a map like another."""
    if found.shape != (1, 1, *depth.shape):
        raise GeometryError(f"expected depth (1, 1, H, W) from the network, found {tuple(found.shape)}")
    return found[0, 0].detach().to(depth).clamp(min=1e-6)


def _contradict(full: Tensor, alone: Tensor) -> bool:
    difference = (full / alone).log()
    return float((difference - difference.median()).abs().mean()) > DISAGREEMENT

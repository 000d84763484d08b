"""Depth of a reference frame from its flow to a few other frames, and the poses of those frames, in one scale.

It starts from the pairwise ego-motions, fits all poses and the inverse depths of some pixels together (`adjustment`),
then the inverse depth of every pixel, and averages over alike neighbours (`smoothing`).  All frames share one unknown
scale: the mean length of the translations is 1.

The confidence of a pixel is ``1 / (1 + (s / PRIOR)^2)`` with s the relative standard deviation of its inverse depth,
from its parallax and its own residual: the weight it deserves against a guess that is wrong by a factor of about
exp(PRIOR).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from geometry.adjustment import Views, adjust, make_views, solve_pixels, squared_lengths
from geometry.camera import lengths, pixel_grid, sample
from geometry.ego_motion import NOISE, EgoMotion, fit_ego_motion
from geometry.errors import GeometryError
from geometry.flow import FlowEstimator, optical_flow
from geometry.smoothing import CORRELATED, SPACINGS, smooth_inverse_depth

MAX_TARGETS = 4
PRIOR = 0.3
"""Relative error of the guess that a confidence is measured against."""

SURE = 0.05
"""Pixels of less confidence have depth 0."""

FLOW_BIAS = 0.06
"""Error of flow that all frames share, and no residual shows, over its length."""

MIN_CONTRAST = 4.0
"""Windows in which the median contrast of the pairwise motions is less give no depth: they hardly translate."""

MIN_POSITIVE = 0.9
"""Windows in which fewer of the clear pixels have positive depth give none."""

_POINTS = 1500
_FINEST = 20.0
"""Pixels of standard deviation that are left of a blur in `fuse`."""

_RATIOS = 16384
"""Pixels from which a median of ratios is taken, at least half as many."""


@dataclass(frozen=True, eq=False)
class VideoDepth:
    """Depth of one frame from its neighbours.

    Args:
        depth: (H, W) float32 along z, in the scale of the poses; 0 where it is not known.
        confidence: (H, W) float32 in [0, 1]; 0 where the depth is.
        target_from_reference: (N, 4, 4) float64 poses of the other frames.
        positive_depth: Share of pixels with clear parallax whose inverse depth is positive; 0 without translation.
        noise: Median distance in pixels of the flow from the fit.
    """

    depth: Tensor
    confidence: Tensor
    target_from_reference: Tensor
    positive_depth: float
    noise: float

    def scaled(self, factor: float) -> VideoDepth:
        """The same scene in another unit."""
        poses = self.target_from_reference.clone()
        poses[:, :3, 3] *= factor
        return VideoDepth(self.depth * factor, self.confidence, poses, self.positive_depth, self.noise)


def _pairwise(views: Views, k: int, rotation: NDArray, translation: NDArray) -> NDArray:
    """Inverse depths (P,) from target k alone, least squares along the epipolar line; may be negative."""
    turned = rotation @ views.rays
    m = turned[:2] / turned[2]
    line = translation[:2, None] - m * translation[2]
    along = ((views.seen[k] - m) * line).sum(0) / ((line**2).sum(0) + 1e-9)
    below = 1 - along * translation[2]
    return along * turned[2] / np.where(np.abs(below) < 0.05, 0.05, below)


def _start(views: Views, motions: Sequence[EgoMotion]) -> tuple[NDArray, NDArray, NDArray] | None:
    """Rotations, translations in one scale and inverse depths (P,), from pairwise motions; None without translation."""
    poses = np.stack([motion.target_from_source.numpy() for motion in motions])
    rotation, translation = poses[:, :3, :3].copy(), poses[:, :3, 3].copy()
    strength = [m.parallax * m.inlier_ratio * m.positive_depth if m.translates else 0.0 for m in motions]
    anchor = int(np.argmax(strength))
    if strength[anchor] == 0 or np.median([motion.contrast for motion in motions]) < MIN_CONTRAST:
        return None
    w = _pairwise(views, anchor, rotation[anchor], translation[anchor])
    good = views.trusted[anchor] & (w > 0)
    if good.sum() < 32:
        return None
    middle = float(np.median(w[good]))
    w = np.where(good, np.clip(w, 0.05 * middle, 20 * middle), middle)
    for k, motion in enumerate(motions):
        if k == anchor or not motion.translates:
            continue
        both = good & views.trusted[k]
        ratio = _pairwise(views, k, rotation[k], translation[k])[both] / w[both]
        translation[k] *= np.clip(np.median(ratio), 0.02, 5.0) if both.any() else 1.0
    return rotation, translation, w


def _empty(shape: tuple[int, int], motions: Sequence[EgoMotion]) -> VideoDepth:
    """No depth; the rotations are kept."""
    poses = torch.stack([motion.target_from_source for motion in motions]).clone()
    poses[:, :3, 3] = 0
    return VideoDepth(torch.zeros(shape), torch.zeros(shape), poses, 0.0, 0.0)


def _guide(image: Tensor) -> NDArray:
    """(H, W, 3) in [0, 1] from (3, H, W) float in [0, 1] or uint8."""
    values = image.detach().cpu().permute(1, 2, 0).numpy().astype(np.float64)
    return values / 255 if image.dtype == torch.uint8 else values


def _describe(w: NDArray, deviation: NDArray) -> tuple[NDArray, NDArray]:
    """Depth and confidence of uncertain inverse depth.

    Far away, where the deviation reaches the inverse depth itself, half the deviation is taken instead: "at least so
    far", with little confidence.
    """
    nearest = (w + np.sqrt(w**2 + deviation**2)) / 2
    relative = deviation / (nearest + deviation / 2)
    confidence = 1 / (1 + (relative / PRIOR) ** 2)
    far = deviation < 0.25 * np.median(nearest)
    confidence[(confidence < SURE) | ~((w > 2 * deviation) | far)] = 0
    return np.where(confidence > 0, 1 / np.maximum(nearest, 1e-12), 0), confidence


def deviations(
    views: Views, rotation: NDArray, translation: NDArray, w: NDArray, noise: float, flows: Tensor
) -> NDArray:
    """Standard deviations (P,) of inverse depths: from parallax, residuals, a noise in pixels and `FLOW_BIAS`."""
    residual, points = views.residuals(rotation, translation, w)
    seen = np.maximum(views.trusted.sum(0), 1)
    information = (views.trusted * squared_lengths(views.by_inverse_depth(points, translation))).sum(0)
    spread = (views.trusted * squared_lengths(residual)).sum(0) / seen
    moved = np.nan_to_num(flows.detach().cpu().numpy().reshape(len(flows), 2, -1))
    bias = FLOW_BIAS * (views.trusted * np.sqrt(squared_lengths(moved))).sum(0) / seen
    return np.sqrt((noise**2 + spread + bias**2) / np.maximum(information, 1e-12))


def _repeated(values: NDArray, stride: int, shape: tuple[int, int]) -> NDArray:
    """A map of pixels ``stride`` apart at all pixels."""
    return values.repeat(stride, 0).repeat(stride, 1)[: shape[0], : shape[1]]


def triangulate(
    flows: Tensor,
    masks: Tensor,
    intrinsics: Tensor,
    motions: Sequence[EgoMotion] | None = None,
    image: Tensor | None = None,
    stride: int = 1,
) -> VideoDepth:
    """Depth of the frame that flows start from.

    Args:
        flows: (N, 2, H, W) pixels from the reference to N other frames.
        masks: (N, H, W) bool pixels to trust, such as `OpticalFlow.consistent`.
        intrinsics: (3, 3) of all frames.
        motions: The N pairwise motions, or None to estimate them.
        image: (3, H, W) the reference, float in [0, 1] or uint8, whose edges stop the averaging over neighbours.
        stride: Every so many pixels, along both axes, one is triangulated; those around it get its depth.

    Returns:
        Depth, confidence and poses.  Without translation the depth is 0 everywhere.  What moves on its own along its
        epipolar lines gets a wrong depth: no geometry can tell.

    Raises:
        GeometryError: A shape is wrong.
    """
    if flows.ndim != 4 or flows.shape[1] != 2 or not len(flows):
        raise GeometryError(f"expected flows (N, 2, H, W), found {tuple(flows.shape)}")
    if masks.shape != (len(flows), *flows.shape[2:]):
        raise GeometryError(f"expected masks {(len(flows), *flows.shape[2:])}, found {tuple(masks.shape)}")
    if motions is None:
        motions = [fit_ego_motion(flow, intrinsics, mask) for flow, mask in zip(flows, masks)]
    if len(motions) != len(flows):
        raise GeometryError(f"expected a motion for each of {len(flows)} flows, found {len(motions)}")
    shape = (int(flows.shape[2]), int(flows.shape[3]))
    views = make_views(flows, masks, intrinsics, stride)
    start = _start(views, motions)
    if start is None:
        return _empty(shape, motions)
    few, step = views.thin(_POINTS // stride)
    rotation, translation, w = adjust(few, start[0], start[1], start[2][step], 1.0, 8)
    size = squared_lengths(few.residuals(rotation, translation, w)[0])[few.trusted]
    noise = float(np.clip(np.sqrt(np.median(size)), *NOISE))
    rotation, translation, w = adjust(few, rotation, translation, w, 3 * noise, 10)
    begin = np.full(views.rays.shape[1], float(np.median(w)))
    w = solve_pixels(views, rotation, translation, begin, 3 * noise)
    deviation = deviations(views, rotation, translation, w, noise, flows[..., ::stride, ::stride])
    clear = np.abs(w) > 2 * deviation
    positive = float((w[clear] > 0).mean()) if clear.any() else 0.0
    if positive < MIN_POSITIVE:
        return _empty(shape, motions)
    guide = None if image is None else _guide(image[:, ::stride, ::stride])
    coarse = -(-shape[0] // stride), -(-shape[1] // stride)
    spacings = tuple(spacing // stride for spacing in SPACINGS if spacing >= stride)
    w, deviation = smooth_inverse_depth(
        w.reshape(coarse), deviation.reshape(coarse), guide, spacings, correlated=CORRELATED / stride
    )
    depth, confidence = (_repeated(part, stride, shape) for part in _describe(w, deviation))
    poses = np.tile(np.eye(4), (len(rotation), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = rotation, translation
    return VideoDepth(
        torch.from_numpy(depth.astype(np.float32)),
        torch.from_numpy(confidence.astype(np.float32)),
        torch.from_numpy(poses),
        positive,
        noise,
    )


def choose_targets(count: int, reference: int, stride: int) -> tuple[int, ...]:
    """Up to four frames around a reference, ``stride`` apart, on the side where there are any.

    Args:
        count: Frames in the clip.
        reference: 0-based.
        stride: Frames between them.

    Returns:
        Sorted indices, without the reference.
    """
    reach = [reference + stride * k for k in (1, -1, 2, -2, 3, -3, 4, -4)]
    return tuple(sorted([k for k in reach if 0 <= k < count][:MAX_TARGETS]))


def choose_stride(flow: Tensor, share: float = 0.04, largest: int = 6) -> int:
    """Frames between the frames of a window, so that the median motion is about a share of the image's width.

    Args:
        flow: (2, H, W) pixels between neighbouring frames.
        share: Of the width.
        largest: Frames.
    """
    motion = float(lengths(flow).median())
    return int(min(max(round(share * flow.shape[-1] / max(motion, 1e-6)), 1), largest))


def video_depth(
    images: Sequence[Tensor],
    reference: int,
    intrinsics: Tensor,
    method: str | FlowEstimator = "dis_fine",
    targets: Sequence[int] | None = None,
) -> VideoDepth:
    """Depth of one frame of a clip, from flow, ego-motion and triangulation.

    Args:
        images: RGB images (3, H, W), float in [0, 1] or uint8.
        reference: 0-based frame whose depth is wanted.
        intrinsics: (3, 3) of all frames.
        method: Flow method, see `optical_flow`.
        targets: Other frames to use (at most four are advised), or None to choose them by the size of the motion.

    Returns:
        Depth, confidence and the targets' poses, in the order of ``targets`` or of `choose_targets`.

    Raises:
        GeometryError: There is no such frame or no other one, or shapes are wrong.
    """
    if not 0 <= reference < len(images) or len(images) < 2:
        raise GeometryError(f"reference: expected a frame of a clip of at least 2, found {reference} of {len(images)}")
    if targets is None:
        neighbour = reference + 1 if reference + 1 < len(images) else reference - 1
        first = optical_flow(images[reference], images[neighbour], "dis_fast").flow
        targets = choose_targets(len(images), reference, choose_stride(first))
        targets = targets or (neighbour,)
    found = [optical_flow(images[reference], images[k], method) for k in targets]
    flows, masks = torch.stack([f.flow for f in found]), torch.stack([f.consistent for f in found])
    return triangulate(flows, masks, intrinsics, image=images[reference])


def relative_scale(depth: Tensor, confidence: Tensor, other: Tensor, other_confidence: Tensor) -> float | None:
    """The factor that brings ``other`` to the scale of ``depth``: weighted median of their ratio.

    Args:
        depth: (H, W), 0 where unknown.
        confidence: (H, W).
        other: (H, W) of the same pixels, 0 where unknown; to compare two frames, look the second up along the flow.
        other_confidence: (H, W).

    Returns:
        The factor, or None where they share no pixel.
    """
    weight = (confidence * other_confidence).flatten()
    depths, others = depth.flatten(), other.flatten()
    both = ((weight > 0) & (depths > 0) & (others > 0)).nonzero()[:, 0]
    if not len(both):
        return None
    both = both[:: -(-len(both) // _RATIOS)]
    ratio = (depths[both] / others[both]).double()
    order = ratio.argsort()
    total = weight[both][order].double().cumsum(0)
    return float(ratio[order][torch.searchsorted(total, total[-1] / 2)])


def chain_scale(previous: VideoDepth, current: VideoDepth, flow: Tensor, consistent: Tensor) -> VideoDepth:
    """Bring the depth of a later frame to the scale of an earlier one.

    Args:
        previous: Of the earlier frame.
        current: Of the later frame.
        flow: (2, H, W) from the earlier to the later one.
        consistent: (H, W) bool, pixels of it to trust.

    Returns:
        ``current`` in the scale of ``previous``, unchanged where they share no pixel.  The motion
        between the two is taken to be small against the depths.
    """
    ends = (pixel_grid(*flow.shape[1:]) + flow)[None]
    both = torch.stack([current.depth, current.confidence])[None]
    depth, confidence = sample(both, ends, padding="zeros", mode="nearest")[0]
    factor = relative_scale(previous.depth, previous.confidence * consistent, depth, confidence)
    return current if factor is None else current.scaled(factor)


def fuse(depth_a: Tensor, confidence_a: Tensor, depth_b: Tensor, error_b: float = PRIOR) -> Tensor:
    """Sure but sparse depth where it is sure, a guess of any scale elsewhere.

    The guess is scaled to the sure depth (weighted median of the ratio), bent towards it around sure pixels, and the
    two are averaged in the logarithm, each by the inverse of its squared relative error.

    Args:
        depth_a: (H, W), 0 where unknown.
        confidence_a: (H, W) in [0, 1].
        depth_b: (H, W), positive everywhere: a network's depth or a mean depth map.
        error_b: Typical relative error of ``depth_b``.

    Returns:
        (H, W) in the scale of ``depth_a``, or of ``depth_b`` where no pixel of it is known.

    Raises:
        GeometryError: Shapes differ.
    """
    if not depth_a.shape == confidence_a.shape == depth_b.shape:
        shapes = f"{tuple(depth_a.shape)}, {tuple(confidence_a.shape)}, {tuple(depth_b.shape)}"
        raise GeometryError(f"expected depths and confidence of one shape, found {shapes}")
    factor = relative_scale(depth_a, confidence_a, depth_b, torch.ones_like(depth_b))
    if factor is None:
        return depth_b.clone()
    guess = (depth_b * factor).clamp(min=1e-9).log()
    known = (depth_a > 0) & (confidence_a > 0)
    odds = confidence_a / (1 - confidence_a).clamp(min=1e-6) * (error_b / PRIOR) ** 2
    weight = torch.where(known, odds / (1 + odds), torch.zeros_like(confidence_a))
    difference = torch.where(known, depth_a.clamp(min=1e-9).log() - guess, torch.zeros_like(guess))
    bent = guess
    for radius in (0.25, 0.06):
        bent = bent + _spread(guess + difference - bent, weight, radius)
    return (weight * (guess + difference) + (1 - weight) * bent).exp()


def _spread(difference: Tensor, weight: Tensor, radius: float, prior: float = 0.1) -> Tensor:
    """What unknown pixels learn from near ones: normalised convolution, ``radius`` a share of the image's width."""
    import cv2

    whole = difference.shape
    shrunk = max(1, int(radius * whole[-1] / _FINEST))  # a wide blur needs few pixels
    shape = tuple(-(-side // shrunk) for side in whole)
    maps = interpolate(torch.stack([weight * difference, weight])[None], shape, mode="area")
    sigma = radius * shape[1]
    size = min(2 * int(2 * sigma) + 1, 2 * (min(shape) // 2) - 1)
    both = np.ascontiguousarray(maps[0].detach().permute(1, 2, 0).numpy())
    blurred, mass = torch.from_numpy(cv2.GaussianBlur(both, (size, size), sigma)).unbind(2)  # the border is reflected
    learned = (blurred / (mass + prior))[None, None]
    return interpolate(learned, whole, mode="bilinear", align_corners=False)[0, 0]

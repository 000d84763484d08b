"""What detections look like, from the image, where they bring no embeddings: a vector each, compared by cosine.

Colours are the simplest thing that can tell objects apart.  Target models tell more: the filter that they predict from
a detection is what its track keeps, and two detections with alike filters are of one object.  The response of a track's
filter in the features at a detection says the same less well (``benchmarks/appearance.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from scenegraph_track.config import AppearanceSettings
from scenegraph_track.target.memory import frame_memories, memory_tokens
from scenegraph_track.target.network import TargetNetwork
from scenegraph_track.tracking.appearance import unit

Looks = Callable[[Tensor, NDArray[np.float64]], NDArray[np.float64]]
"""From an image (3, H, W) RGB in [0, 1] and boxes (M, 4) xyxy pixels to appearance (M, D)."""

CELLS = 8
"""Side of the window of features that a target model is predicted from, cells."""

TYPICAL = 3.5
"""Mean side of the median detection in the image as the network sees it, cells: as in the views of its training."""

LONGEST = 640
"""Pixels of the longer side of that image at most."""

_STEP = math.sqrt(2)
"""Scales of the image are powers of it, so that they seldom change from frame to frame."""

_SAMPLES = (12, 8)
"""Points of a box, down and across, whose colours are looked at."""

_INSET = (0.1, 0.2)
"""Part of a box at each end, down and across, that is left out: there is more background in it."""

_PARTS = 2
"""Parts of a box, one above the other, with colours of their own."""

_BINS = 8
"""Of each channel, in a part."""

_RANGES = ((0.0, 256.0), (96.0, 160.0), (96.0, 160.0))
"""Of lightness and the two colour channels of Lab in 8 bits; colours are rarely purer."""


def looks(settings: AppearanceSettings) -> Looks | None:
    """What the settings name, or None.

    Raises:
        UserError: The weights are not there or do not fit.
    """
    if settings.kind == "none":
        return None
    if settings.kind == "colour":
        return colour_looks
    of_models = partial(target_looks, _network(settings.weights))
    return of_models if settings.kind == "target" else lambda image, boxes: _side_by_side(of_models, image, boxes)


def _side_by_side(of_models: Looks, image: Tensor, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines are the mean of those of colours and models."""
    return np.concatenate([unit(colour_looks(image, boxes)), unit(of_models(image, boxes))], 1)


@lru_cache(maxsize=2)
def _network(weights: str) -> TargetNetwork:
    from geometry.errors import GeometryError
    from scenegraph_track.errors import UserError
    from scenegraph_track.target.embedded import target_network

    try:
        network = target_network(None if weights == "embedded" else Path(weights))
    except GeometryError as wrong:
        raise UserError(str(wrong)) from None
    if network.settings.sees_current:
        raise UserError(f"{weights}: expected target models that do not see the current features")
    return network


@torch.inference_mode()
def target_looks(network: TargetNetwork, image: Tensor, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The filters that target models predict from detections; one pass of the backbone serves all.

    Args:
        network: In evaluation mode, of a kind that does not see the current features.
        image: (3, H, W) RGB in [0, 1].
        boxes: (M, 4) xyxy pixels.

    Returns:
        (M, D).
    """
    if not len(boxes):
        return np.zeros((0, network.settings.dim))
    features, there = _features(network, image, boxes)
    memories = frame_memories(features, there, network.stride, CELLS)
    tokens = memory_tokens(memories, network.stride, network.unit, network.settings.sigma)
    return network.filters(tokens).classification.double().numpy()


@torch.inference_mode()
def middle_features(network: TargetNetwork, image: Tensor, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M, 9, D) features of the cells in and round the middles of detections, in which filters find their targets."""
    if not len(boxes):
        return np.zeros((0, 9, network.settings.dim))
    features, there = _features(network, image, boxes)
    height, width = features.shape[1:]
    middles = ((there[:, :2] + there[:, 2:]) / (2 * network.stride)).long()
    columns = middles[:, :1].clamp(0, width - 1) + torch.arange(3).repeat(3)
    rows = middles[:, 1:].clamp(0, height - 1) + torch.arange(3).repeat_interleave(3)
    return pad(features, (1, 1, 1, 1)).permute(1, 2, 0)[rows, columns].double().numpy()


def _features(network: TargetNetwork, image: Tensor, boxes: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Features (D, h, w) of the image in a fitting size, and the boxes (M, 4) in it."""
    scale = _scale(boxes, max(image.shape[1:]), network.stride)
    size = [max(round(side * scale), network.stride) for side in image.shape[1:]]
    small = interpolate(image[None].float(), size, mode="bilinear", antialias=True, align_corners=False)
    features = network.features(small.contiguous(memory_format=torch.channels_last))[0]
    ratio = torch.tensor([size[1] / image.shape[2], size[0] / image.shape[1]]).repeat(2)
    return features, torch.from_numpy(boxes).float() * ratio


def _scale(boxes: NDArray[np.float64], longest: int, stride: int) -> float:
    """Of the image, so that the median detection is of typical size, but of an image that is not too large."""
    side = max(float(np.median(np.sqrt((boxes[:, 2:] - boxes[:, :2]).clip(1.0).prod(1)))), 1.0)
    wanted = min(TYPICAL * stride / side, LONGEST / longest)
    return _STEP ** math.floor(math.log(wanted, _STEP) + 0.5)


def colour_looks(image: Tensor, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square roots of soft histograms of Lab colours in the upper and the lower half of detections.

    Args:
        image: (3, H, W) RGB in [0, 1].
        boxes: (M, 4) xyxy pixels.

    Returns:
        (M, 48) of length 1; the cosine of two is the Bhattacharyya coefficient of their colours.
    """
    import cv2

    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    height, width = lab.shape[:2]
    down, across = (low + (1 - 2 * low) * (np.arange(n) + 0.5) / n for n, low in zip(_SAMPLES, _INSET))
    x = boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * across
    y = boxes[:, 1:2] + (boxes[:, 3:] - boxes[:, 1:2]) * down
    column, row = np.floor(x).astype(int).clip(0, width - 1), np.floor(y).astype(int).clip(0, height - 1)
    seen = lab[row[:, :, None], column[:, None, :]].astype(float)  # M, down, across, 3
    low, high = np.array(_RANGES).T
    place = ((seen + 0.5 - low) / (high - low) * _BINS - 0.5).clip(0, _BINS - 1)
    lower = np.minimum(place.astype(int), _BINS - 2)
    share = place - lower
    part = (np.arange(_SAMPLES[0]) * _PARTS // _SAMPLES[0])[:, None, None]
    number = (np.arange(len(boxes))[:, None, None, None] * _PARTS + part) * 3 + np.arange(3)
    bins = number * _BINS + lower
    count = len(boxes) * _PARTS * 3 * _BINS
    told = np.bincount(bins.ravel(), (1 - share).ravel(), count) + np.bincount(bins.ravel() + 1, share.ravel(), count)
    samples = _SAMPLES[0] * _SAMPLES[1] * 3
    return np.sqrt(told.reshape(len(boxes), _PARTS * 3 * _BINS) / samples)

"""Ways to find objects that learn nothing: a grid of blocks, k-means, and linked components of what moves.

Labels are 1.. for segments and 0 for nothing, as in `evaluation.objects`.

The numbers of k-means gave the largest sum of mBO and FG-ARI over whole videos on ten validation worlds (preset
"standard", split "val", seeds 0 to 9, 128 x 128 pixels, the flow and depth that ship with the package), one varied
after the other and partly at half that size; two seeds of k-means differ by up to four points.  More clusters than
`CLUSTERS` lose more FG-ARI than they gain mBO; about `FEW_CLUSTERS` gave the largest FG-ARI alone.  Of the linking,
a memory matters (5 points of mBO against none, on seven of them with masks carried by whole pixels and on two as they
are carried now); its length and the least overlap hardly did on the seven.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detectors.carrying import LEAST_IOU, MEMORY, NumberedMasks, number_masks
from detectors.components import motion_components
from scenegraph_track.errors import UserError

CLUSTERS = 30
"""Clusters of k-means."""

FEW_CLUSTERS = 10
"""The same where clusters shall hold whole objects rather than fit them closely."""

COLOUR = 0.6
"""Weight of a difference in colour (CIE L*a*b* over 100) against one of the longer side of the image."""

MOTION = 6.4
"""Weight of a motion residual of the longer side of the image."""

TIME = 0.1
"""Weight of the length of the clip."""

FASTEST = 1 / 16
"""Share of the longer side to which a motion residual is bounded smoothly."""

FITTED = 20_000
"""Pixels to which the centres are fitted."""


def blocks(frames: int, size: tuple[int, int], grid: int = 3) -> NDArray[np.int32]:
    """A grid of blocks that knows nothing of the images.

    Args:
        frames: T.
        size: (H, W).
        grid: Blocks along each side.

    Returns:
        (T, H, W) labels 1..grid^2.
    """
    rows, columns = (np.arange(n) * grid // n for n in size)
    return np.repeat((rows[:, None] * grid + columns + 1)[None].astype(np.int32), frames, axis=0)


def kmeans(
    images: Tensor,
    residuals: Sequence[Tensor],
    clusters: int = CLUSTERS,
    colour: float = COLOUR,
    motion: float = MOTION,
    time: float = TIME,
    seed: int = 0,
) -> NDArray[np.int32]:
    """K-means over all pixels of a clip, on position, colour, motion residual and time.

    The centres are fitted to some of the pixels, drawn with the seed; then each pixel goes to the nearest.

    Args:
        images: (T, 3, H, W) uint8 RGB.
        residuals: T motion residuals (2, H, W) in pixels; what is not finite counts as no motion.
        clusters: How many.
        colour: Weight of colour, see `COLOUR`.
        motion: Weight of the motion residual, see `MOTION`.
        time: Weight of time, see `TIME`.
        seed: Of the drawn pixels and the first centres.

    Returns:
        (T, H, W) labels 1..clusters.

    Raises:
        UserError: The shapes do not fit, or there is no cluster.
    """
    from sklearn.cluster import KMeans

    count, _, height, width = images.shape
    if len(residuals) != count or any(one.shape != (2, height, width) for one in residuals) or clusters < 1:
        raise UserError(
            f"kmeans: expected {count} residuals (2, {height}, {width}) and clusters >= 1, "
            f"found {len(residuals)} of {sorted({tuple(one.shape) for one in residuals})} and {clusters}"
        )
    features = _features(images, residuals, (colour, motion, time))
    pixels = features.reshape(-1, features.shape[-1])
    drawn = np.random.default_rng(seed).permutation(len(pixels))[:FITTED]
    fitted = KMeans(min(clusters, len(drawn)), n_init=2, max_iter=100, random_state=seed).fit(pixels[drawn])
    centres = fitted.cluster_centers_.astype(np.float32)
    offsets = (centres**2).sum(1)
    return np.stack([(offsets - 2 * frame @ centres.T).argmin(-1).astype(np.int32) + 1 for frame in features])


def linked_components(residuals: Sequence[Tensor], flows: Sequence[Tensor]) -> NDArray[np.int32]:
    """Components of the motion residual of each frame (`motion_components`), linked by `link_labels`.

    Args:
        residuals: T motion residuals (2, H, W) in pixels, not finite where unknown.
        flows: T flows (2, H, W) in pixels, from each frame to the one before.

    Returns:
        (T, H, W) labels.
    """
    return link_labels([motion_components(one).numpy() for one in residuals], flows)


def link_labels(
    labels: Sequence[NDArray] | NDArray,
    flows: Sequence[Tensor | NDArray],
    least_iou: float = LEAST_IOU,
    memory: int = MEMORY,
) -> NDArray[np.int32]:
    """One number for each object of a video, from regions that were found frame by frame.

    They are numbered as the objects that discovery finds, by `number_masks`.

    Args:
        labels: T maps (H, W) of integers, 0 for nothing.
        flows: T flows (2, H, W) in pixels, from each frame to the one before, not finite where unknown; the first is
            not used.
        least_iou: Overlap from which two regions are the same object.
        memory: Frames for which a region that vanished is remembered.

    Returns:
        (T, H, W) labels, numbered in the order of their first frame.

    Raises:
        UserError: Not as many flows as maps, or sizes that differ.
    """
    shapes = {np.shape(one) for one in labels} | {np.shape(one)[1:] for one in flows}
    if len(labels) != len(flows) or len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise UserError(
            f"link_labels: expected as many flows (2, H, W) as label maps (H, W), found {len(flows)} and {len(labels)} "
            f"of {sorted(shapes)}"
        )
    linked = np.zeros((len(labels), *next(iter(shapes), (0, 0))), np.int32)
    state = NumberedMasks.start()
    for index, (found, flow) in enumerate(zip(map(np.asarray, labels), flows)):
        regions = torch.from_numpy(found[None] == np.unique(found[found > 0])[:, None, None])
        state, numbers = number_masks(state, regions, torch.as_tensor(flow), least_iou, memory)
        linked[index] = torch.where(regions, numbers[:, None, None], 0).sum(0).numpy()
    return linked


def _features(images: Tensor, residuals: Sequence[Tensor], weights: tuple[float, float, float]) -> NDArray[np.float32]:
    """(T, H, W, 8) float32: x, y, colour, motion residual and time, weighted."""
    colour, motion, time = weights
    count, _, height, width = images.shape
    longer = max(height, width)
    features = np.empty((count, height, width, 8), np.float32)
    features[..., 0], features[..., 1] = np.arange(width) / longer, np.arange(height)[:, None] / longer
    for index, (image, residual) in enumerate(zip(images, residuals)):
        rgb = np.ascontiguousarray(image.permute(1, 2, 0).numpy(), np.float32) / 255
        features[index, ..., 2:5] = colour * cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB) / 100
        vectors = np.moveaxis(residual.numpy(), 0, -1) / longer
        vectors = np.where(np.isfinite(vectors).all(-1, keepdims=True), vectors, 0.0)
        length = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
        features[index, ..., 5:7] = motion * FASTEST * np.tanh(length / FASTEST) * vectors / length
        features[index, ..., 7] = time * index / max(count - 1, 1)
    return features

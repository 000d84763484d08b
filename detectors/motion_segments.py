"""Objects cut out of an image by how they move: components of like motion, with outlines where the colours agree.

Optical flow is smooth across the borders of objects, so its components are too large and have soft outlines.  Once an
object's motion is known, each pixel near it can be asked whether the object's motion or that of its surroundings
explains its colour in the neighbouring frames better (layered motion segmentation; Wang and Adelson, 1994).  Nothing
here is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_RATIO, LEAST_RESIDUAL = 4.0, 0.35
"""A pixel moves where its residual exceeds so many standard deviations of the still part, and so many pixels."""

LIKE, SLACK = 0.15, 0.25
"""Neighbours belong together whose motions differ by less than this share of their lengths plus so many pixels."""

LEAST_AREA = 14
"""Pixels of the smallest component."""

REACH = 4
"""Pixels by which a component may grow in one round."""

KEEP = 0.004
"""Difference of colours, of 1, that is needed to change what the flow said."""

FLOW_WEIGHT = 0.02
"""Difference of colours that counts like a pixel between the flow and a motion."""


@dataclass(frozen=True, eq=False)
class MotionSegments:
    """Segments that move on their own.

    Args:
        labels: (H, W) int32, 0 for none, then 1, 2 ...
        gain: (K,) how much better the segment's own motion explains its colours than that of the surroundings, over
            noise and what is left unexplained.
        spread: (K,) pixels, median distance of the flow from the segment's motion.
        area: (K,) pixels.
        moving: (H, W) bool, pixels of which the flow says that they move, in a segment or not.
    """

    labels: NDArray[np.int32]
    gain: NDArray[np.float64]
    spread: NDArray[np.float64]
    area: NDArray[np.int64]
    moving: NDArray[np.bool_]

    def chosen(self, gain: float = 0.3, spread: float = 0.5, area: int = 30) -> NDArray[np.int32]:
        """Labels of the segments that are sure, numbered anew from 1."""
        sure = (self.gain > gain) & (self.spread < spread) & (self.area >= area)
        numbers = np.concatenate([[0], np.where(sure, np.cumsum(sure), 0)])
        return numbers[self.labels].astype(np.int32)


def homography_flow(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """The flow (H, W, 2) of the homography that explains most of a flow (RANSAC), for cameras that only turn."""
    import cv2

    height, width = flow.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).astype(np.float32)
    some = slice(4, -4, 4)
    a = grid[some, some].reshape(-1, 2)
    found, _ = cv2.findHomography(a, a + flow[some, some].reshape(-1, 2), cv2.RANSAC, 0.6, maxIters=500)
    found = np.eye(3) if found is None else found
    return cv2.perspectiveTransform(grid.reshape(1, -1, 2), found).reshape(height, width, 2).astype(np.float32) - grid


def segment_motion(
    image: NDArray[np.float32],
    others: Sequence[NDArray[np.float32]],
    flows: Sequence[NDArray[np.float32]],
    camera_flows: Sequence[NDArray[np.float32]],
    rounds: int = 2,
) -> MotionSegments:
    """Segments of an image that move otherwise than the camera makes them.

    Args:
        image: (H, W, 3) RGB in [0, 1].
        others: One or two neighbouring frames, the next and the one before.
        flows: Flow (H, W, 2) from the image to each of them.
        camera_flows: The part of each that the camera explains.
        rounds: How often the outlines are found anew.
    """
    residuals = [flow - camera for flow, camera in zip(flows, camera_flows)]
    lengths = [np.linalg.norm(residual, axis=-1) for residual in residuals]
    ratio = np.min([length / max(float(np.median(length)) / 1.177, 0.02) for length in lengths], 0)
    moving = (ratio > LEAST_RATIO) & (np.min(lengths, 0) > LEAST_RESIDUAL)
    labels = _components(moving, np.concatenate(residuals, -1))
    for _ in range(rounds):
        labels = _largest_pieces(_outlines(labels, image, others, flows, camera_flows))
    return MotionSegments(labels, *_quality(labels, image, others, flows, camera_flows), moving)


def _components(moving: NDArray[np.bool_], motion: NDArray[np.float32]) -> NDArray[np.int32]:
    """Components of neighbours that move alike, largest first."""
    from scipy import sparse
    from scipy.ndimage import binary_opening

    moving = binary_opening(moving, np.ones((3, 3)))
    height, width = moving.shape
    numbers, length = np.arange(height * width).reshape(height, width), np.linalg.norm(motion, axis=-1)
    pairs = []
    for a, b in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        apart = np.linalg.norm(motion[a] - motion[b], axis=-1)
        joined = moving[a] & moving[b] & (apart < LIKE * (length[a] + length[b]) + SLACK)
        pairs.append(np.stack([numbers[a][joined], numbers[b][joined]]))
    rows, columns = np.concatenate(pairs, 1)
    graph = sparse.coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(numbers.size,) * 2)
    found = sparse.csgraph.connected_components(graph, directed=False)[1].reshape(height, width)
    ids, areas = np.unique(found[moving], return_counts=True)
    order = np.argsort(-areas, kind="stable")
    labels = np.zeros((height, width), np.int32)
    for number, k in enumerate((k for k in order if areas[k] >= LEAST_AREA), start=1):
        labels[(found == ids[k]) & moving] = number
    return labels


def _outlines(labels, image, others, flows, camera_flows) -> NDArray[np.int32]:
    """Each pixel near a segment to the motion that explains its colour best."""
    from scipy.ndimage import binary_dilation, binary_erosion

    best = _misfit(image, others, flows, camera_flows)
    found = np.zeros_like(labels)
    for k in range(1, int(labels.max(initial=0)) + 1):
        mask = labels == k
        if not mask.any():
            continue
        core = binary_erosion(mask)
        core = core if core.sum() >= 8 else mask
        misfit = _misfit(image, others, flows, [_affine_motion(flow, core) for flow in flows])
        misfit = misfit + np.where(mask, -KEEP, KEEP)
        wins = binary_dilation(mask, iterations=REACH) & (misfit < best)
        best[wins], found[wins] = misfit[wins], k
    return found


def _misfit(image, others, flows, motions) -> NDArray[np.float32]:
    """How badly motions (H, W, 2) explain the colours and the flow around each pixel, by the neighbour that fits."""
    import cv2

    colours = [
        cv2.GaussianBlur(_difference(image, other, motion), (5, 5), 1.2) for other, motion in zip(others, motions)
    ]
    apart = [np.linalg.norm(flow - motion, axis=-1) for flow, motion in zip(flows, motions)]
    return np.min(colours, 0) + FLOW_WEIGHT * np.minimum(np.min(apart, 0), 2)


def _difference(image, other, motion) -> NDArray[np.float32]:
    import cv2

    height, width = motion.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    ends = x + motion[..., 0], y + motion[..., 1]
    return np.abs(image - cv2.remap(other, *ends, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)).mean(-1)


def _affine_motion(flow: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The affine flow (H, W, 2) that fits a flow inside a mask, by reweighted least squares."""
    rows, columns = np.nonzero(mask)
    middle = np.array([columns.mean(), rows.mean()])
    design = np.c_[np.ones(len(rows)), (np.c_[columns, rows] - middle) / 20]
    values = flow[rows, columns].astype(np.float64)
    start = np.median(values, 0)
    weight = np.ones(len(rows))
    for _ in range(3):
        weighted = design * weight[:, None]
        solved = np.linalg.solve(weighted.T @ design + np.diag([1e-3, 4.0, 4.0]), weighted.T @ (values - start))
        weight = 1 / (1 + ((values - start - design @ solved) ** 2).sum(1) / 0.25)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    everywhere = np.stack([np.ones(mask.shape), (x - middle[0]) / 20, (y - middle[1]) / 20], -1)
    return (start + everywhere @ solved).astype(np.float32)


def _largest_pieces(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Of each segment its largest connected piece, without threads of one pixel."""
    from scipy.ndimage import binary_opening, label

    found = np.zeros_like(labels)
    for k in range(1, int(labels.max(initial=0)) + 1):
        pieces, count = label(binary_opening(labels == k, np.ones((2, 2))))
        if count:
            found[pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])] = k
    return found


def _quality(labels, image, others, flows, camera_flows) -> tuple[NDArray, NDArray, NDArray]:
    """Gain, spread and area of each segment, see `MotionSegments`."""
    count = int(labels.max(initial=0))
    still = np.min([_difference(image, other, motion) for other, motion in zip(others, camera_flows)], 0)
    noise = float(np.median(still[labels == 0])) if (labels == 0).any() else 0.02
    gain, spread, area = np.zeros(count), np.full(count, np.inf), np.bincount(labels.ravel(), minlength=count + 1)[1:]
    for k in np.nonzero(area >= 10)[0]:
        mask = labels == k + 1
        motions = [_affine_motion(flow, mask) for flow in flows]
        own = np.min([_difference(image, other, motion) for other, motion in zip(others, motions)], 0)
        gain[k] = (still[mask] - own[mask]).mean() / (noise + own[mask].mean() + 1e-6)
        apart = np.min([np.linalg.norm(flow - motion, axis=-1) for flow, motion in zip(flows, motions)], 0)
        spread[k] = np.median(apart[mask])
    return gain, spread, area

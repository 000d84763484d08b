"""Similarity of predicted and detected boxes, and the best one-to-one matching."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair.

    Args:
        a: (N, 4) xyxy.
        b: (M, 4) xyxy.

    Returns:
        (N, M) in [0, 1].
    """
    shared = box_overlap(a, b)
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    union = area_a[:, None] + area_b[None]
    union -= shared
    shared /= np.maximum(union, 1e-9, out=union)
    return shared


def box_overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) shared area of the boxes ``a`` (N, 4) and ``b`` (M, 4), xyxy; one axis at a time, which is quickest."""
    sides = []
    for axis in (0, 1):
        side = np.minimum(a[:, axis + 2, None], b[None, :, axis + 2])
        side -= np.maximum(a[:, axis, None], b[None, :, axis])
        sides.append(np.maximum(side, 0.0, out=side))
    sides[0] *= sides[1]
    return sides[0]


def paired_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) intersection over union of the boxes (N, 4) of each row."""
    shared = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0).prod(1)
    area = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1)
    return shared / np.maximum(area - shared, 1e-9)


def expand(boxes: np.ndarray, part: float) -> np.ndarray:
    """Boxes grown by ``part`` of their width and height on each side (C-BIoU: Yang et al., WACV 2023, section 3.1)."""
    margin = part * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)


def similarity(tracks: np.ndarray, detections: np.ndarray, expansion: float) -> np.ndarray:
    """IoU of the expanded boxes times the ratio of their heights (Hybrid-SORT's height cue: Yang et al., AAAI 2024).

    Args:
        tracks: (N, 4) predicted boxes, xyxy pixels.
        detections: (M, 4) boxes, xyxy pixels.
        expansion: See :func:`expand`.

    Returns:
        (N, M) in [0, 1].
    """
    return box_iou(expand(tracks, expansion), expand(detections, expansion)) * height_ratio(tracks, detections)


def height_ratio(tracks: np.ndarray, detections: np.ndarray) -> np.ndarray:
    """(N, M) the smaller height of each pair over the larger."""
    a = np.maximum(tracks[:, 3] - tracks[:, 1], 1e-6)[:, None]
    b = np.maximum(detections[:, 3] - detections[:, 1], 1e-6)[None]
    return np.minimum(a, b) / np.maximum(a, b)


def median(values: np.ndarray) -> np.ndarray:
    """The median along the first axis as `numpy.median` gives it, of at least one number that are all known.

    It costs a third of that one's time for few numbers.
    """
    ordered, count = np.sort(values, axis=0), len(values)
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def not_taken(rows: np.ndarray, taken: np.ndarray, count: int) -> np.ndarray:
    """The rows, of ``count`` that there are, that do not stand in ``taken``, where -1 is none."""
    free = np.ones(count + 1, dtype=bool)
    free[taken] = False
    return rows[free[rows]]


def match(similar: np.ndarray, gate: float) -> tuple[np.ndarray, np.ndarray]:
    """The one-to-one matching of largest total similarity among pairs above ``gate`` (Hungarian method).

    Args:
        similar: (N, M).
        gate: Pairs at or below are never matched.

    Returns:
        Rows and columns of the matched pairs.
    """
    if similar.size == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    rows, columns = linear_sum_assignment(np.where(similar > gate, -similar, 0.0))
    kept = similar[rows, columns] > gate
    return rows[kept], columns[kept]

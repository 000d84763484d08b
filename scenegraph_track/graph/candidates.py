"""Which track might be which detection: a few candidates each, by where it is expected and where it was seen."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

NEAREST = 4
"""Candidates of each track by distance, and by overlap."""

DENSE = 1 << 14
"""Up to so many pairs all are looked at; beyond, only those that a search tree finds near."""


def candidate_edges(
    expected: np.ndarray,
    last: np.ndarray,
    found: np.ndarray,
    reach: np.ndarray,
    late: np.ndarray,
    unsure: np.ndarray,
    nearest: int = NEAREST,
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of tracks and detections that are worth weighing; their number is linear in that of the objects.

    For each track the detections nearest to where it is expected and those nearest to where it was last (both in
    heights of the track), for each detection the nearest tracks, and for each track those that overlap it most.

    Args:
        expected: (N, 4) predicted boxes, xyxy pixels.
        last: (N, 4) last matched boxes.
        found: (M, 4) detections.
        reach: (N,) heights of the track beyond which nothing is a candidate.
        late: (N,) bool, tracks that only sure detections may continue.
        unsure: (M,) bool, detections that are not sure.
        nearest: How many of each kind.

    Returns:
        Rows of tracks and of detections, (E,) each, sorted, every pair once.
    """
    n, m = len(expected), len(found)
    if n == 0 or m == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    if n * m <= DENSE:
        track, detection = np.divmod(np.arange(n * m), m)
    else:
        track, detection = _near_pairs(expected, last, found, 3 * nearest)
    kept = ~(late[track] & unsure[detection])
    track, detection = track[kept], detection[kept]
    height = np.maximum(expected[:, 3] - expected[:, 1], 1.0)[track]
    middle = (found[:, :2] + found[:, 2:])[detection] / 2
    ahead = np.hypot(*((expected[:, :2] + expected[:, 2:])[track] / 2 - middle).T) / height
    behind = np.hypot(*((last[:, :2] + last[:, 2:])[track] / 2 - middle).T) / height
    apart = np.minimum(ahead, behind)
    near = apart < reach[track]
    track, detection, ahead, apart, height = (v[near] for v in (track, detection, ahead, apart, height))
    overlap = _overlap(expected[track], found[detection])
    chosen = _first_of_each(track, ahead, nearest) | _first_of_each(track, apart, nearest)
    chosen |= _first_of_each(detection, apart, nearest // 2) | (
        _first_of_each(track, -overlap, nearest) & (overlap > 0)
    )
    return track[chosen], detection[chosen]


def _near_pairs(expected: np.ndarray, last: np.ndarray, found: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    n, m = len(expected), len(found)
    middle = (found[:, :2] + found[:, 2:]) / 2
    tree, pairs = cKDTree(middle), []
    for boxes in (expected, last):
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        k = min(count, m)
        rows = tree.query(centre, k)[1].reshape(n, k)
        pairs.append(np.repeat(np.arange(n), k) * m + rows.reshape(-1))
        k = min(count // 2, n)
        rows = cKDTree(centre).query(middle, k)[1].reshape(m, k)
        pairs.append(rows.reshape(-1) * m + np.repeat(np.arange(m), k))
    return np.divmod(np.unique(np.concatenate(pairs)), m)


def _first_of_each(group: np.ndarray, value: np.ndarray, count: int) -> np.ndarray:
    """(E,) bool, the ``count`` smallest values of each group."""
    order = np.lexsort((value, group))
    sorted_group = group[order]
    begin = np.searchsorted(sorted_group, sorted_group)
    first = np.zeros(len(group), dtype=bool)
    first[order] = np.arange(len(group)) - begin < count
    return first


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0).prod(1)

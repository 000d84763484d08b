"""What tracks look like, and identities that have left and are known again by it.

Appearance vectors are whatever the detections bring; only cosines between them count.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from scenegraph_track.config import LifeSettings
from scenegraph_track.structures import LeftTable, TrackTable

_BLEND = 0.1
"""Share of a new detection in the appearance of its track."""

_SPEED = 3.0
"""Heights per second that an object may have come since it left."""


def seen_appearance(tracks: TrackTable, embeddings: np.ndarray | None, detection: np.ndarray) -> TrackTable:
    """The tracks with the mean appearance of their detections, moved towards what was matched now.

    Args:
        tracks: N tracks.
        embeddings: (M, D) of the detections, None where unknown.
        detection: (N,) row of the matched one or -1.
    """
    if embeddings is None:
        return tracks
    old = tracks.appearance
    if old.shape[1] != embeddings.shape[1]:
        old = np.zeros((len(tracks), embeddings.shape[1]))
    rows, appearance = np.flatnonzero(detection >= 0), old.copy()
    new = unit(embeddings[detection[rows]])
    known = old[rows].any(1)[:, None]
    appearance[rows] = unit(np.where(known, (1 - _BLEND) * old[rows] + _BLEND * new, new))
    return replace(tracks, appearance=appearance)


def likeness(tracks: TrackTable, embeddings: np.ndarray | None, track: np.ndarray, detection: np.ndarray) -> np.ndarray:
    """(E,) cosine of the appearance of tracks and detections at these rows, NaN where one is unknown."""
    stored = tracks.appearance
    if embeddings is None or stored.shape[1] != embeddings.shape[1]:
        return np.full(len(track), np.nan)
    cosine = (stored[track] * unit(embeddings)[detection]).sum(1)
    return np.where(stored[track].any(1), cosine, np.nan)


def recalled(left: LeftTable, tracks: TrackTable, rows: np.ndarray, timestamp: float, life: LifeSettings) -> np.ndarray:
    """Which identity that has left each of some tracks is: its row in ``left``, -1 for a new one; one to one.

    Two are the same that are more alike than `LifeSettings.likeness` and than different identities are to each other
    (mean and two standard deviations of the cosines of all that are known, live or not), of the same class, and no
    farther apart than can be moved in the time.

    Args:
        left: The identities that have left.
        tracks: All live tracks; their own identities are never asked.
        rows: (K,) the tracks in question.
        timestamp: Seconds.
        life: The settings.
    """
    found = np.full(len(rows), -1)
    if len(left) == 0 or len(rows) == 0 or left.appearance.shape[1] != tracks.appearance.shape[1]:
        return found
    looks, known = tracks.appearance[rows], tracks.appearance[tracks.ids > 0]
    known = np.concatenate([known[known.any(1)], left.appearance])  # all of different identities
    least = life.likeness
    if len(known) >= 2:
        others = (known @ known.T)[np.triu_indices(len(known), 1)]
        least = max(least, others.mean() + 2 * others.std())
    cosine = looks @ left.appearance.T
    boxes = tracks.last_box[rows]
    middle, last = (boxes[:, :2] + boxes[:, 2:]) / 2, (left.boxes[:, :2] + left.boxes[:, 2:]) / 2
    height = np.maximum(left.boxes[:, 3] - left.boxes[:, 1], 1.0)
    apart = np.hypot(*(middle[:, None] - last[None]).transpose(2, 0, 1)) / height
    fits = (cosine > least) & (apart < 1 + _SPEED * (timestamp - left.seen))
    fits &= tracks.classes[rows][:, None] == left.classes[None]
    if fits.any():
        i, j = linear_sum_assignment(-np.where(fits, cosine, 0.0))
        kept = fits[i, j]
        found[i[kept]] = j[kept]
    return found


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1, zeros as they are."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)

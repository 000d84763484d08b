"""Boxes inside the gaps of finished tracks, and what speaks for and against showing them."""

from __future__ import annotations

import numpy as np

from scenegraph_track.structures import Tracks
from scenegraph_track.tracking.emission import INTERPOLATED, covers, inside_part


def interpolate(
    tracks: Tracks, frame_rate: float, image_size: tuple[int, int] | None, gap_seconds: float
) -> tuple[Tracks, np.ndarray]:
    """Straight lines between the boxes on both sides of each gap.

    Returns:
        The boxes inside gaps of at most ``gap_seconds``, as tracks, and their features (P, F) in the order of
        ``emission.INTERPOLATED``: length of the gap, place along it (0 at its ends, 1 in the middle), distance
        travelled, how far extrapolation misses the other side, ratio of heights, the part behind a nearer object, the
        largest overlap, the part inside the image, rate of detections, lengths before and after, hidden part of all
        tracks, seconds between frames, score.
    """
    frames, ids, boxes = tracks.frames.numpy(), tracks.ids.numpy(), tracks.boxes.double().numpy()
    scores = tracks.scores.double().numpy()
    order = np.lexsort((frames, ids))
    f, i, b, s = frames[order], ids[order], boxes[order], scores[order]
    gap = np.where(i[1:] == i[:-1], f[1:] - f[:-1], 0)
    at = np.flatnonzero((gap > 1) & ((gap - 1) / frame_rate <= gap_seconds))
    if len(at) == 0:
        return tracks[:0], np.zeros((0, len(INTERPOLATED)))
    names, begin, count = np.unique(i, return_index=True, return_counts=True)
    own = np.searchsorted(names, i[at])
    span = f[begin + count - 1] - f[begin] + 1
    missing = gap[at] - 1
    k = np.repeat(at, missing)
    nth = np.arange(len(k)) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    along = nth / gap[k]
    middle = b[k] * (1 - along[:, None]) + b[k + 1] * along[:, None]
    when = f[k] + nth

    height = np.maximum((b[k, 3] - b[k, 1] + b[k + 1, 3] - b[k + 1, 1]) / 2, 1.0)
    centre = (b[:, :2] + b[:, 2:]) / 2
    back = np.maximum(at - 3, begin[own])
    ahead = np.minimum(at + 4, begin[own] + count[own] - 1)
    velocity = (centre[at] - centre[back]) / np.maximum(f[at] - f[back], 1)[:, None]
    velocity_after = (centre[ahead] - centre[at + 1]) / np.maximum(f[ahead] - f[at + 1], 1)[:, None]
    missed = centre[at] + velocity * gap[at][:, None] - centre[at + 1]
    missed_after = centre[at + 1] - velocity_after * gap[at][:, None] - centre[at]
    bend = np.minimum(np.hypot(*missed.T), np.hypot(*missed_after.T))
    front, overlap = _covered(middle, when, i[k], frames, ids, boxes)
    shown = np.bincount(frames, minlength=int(frames.max()) + 1)
    hidden = np.bincount(when, minlength=len(shown))
    own_k = np.repeat(own, missing)
    columns = {
        "gap": missing[np.searchsorted(at, k)] / frame_rate,
        "along": 1 - np.abs(2 * along - 1),
        "travel": np.hypot(*(centre[k + 1] - centre[k]).T) / height,
        "bend": bend[np.searchsorted(at, k)] / height,
        "height_ratio": np.abs(np.log(np.maximum(b[k + 1, 3] - b[k + 1, 1], 1) / np.maximum(b[k, 3] - b[k, 1], 1))),
        "in_front": front,
        "overlap": overlap,
        "inside": inside_part(middle, image_size),
        "hit_rate": count[own_k] / span[own_k],
        "age": np.log1p((f[k] - f[begin[own_k]]) / frame_rate),
        "rest": np.log1p((f[begin[own_k] + count[own_k] - 1] - f[k + 1]) / frame_rate),
        "crowd": hidden[when] / np.maximum(shown[when] + hidden[when], 1),
        "step": np.full(len(k), 1 / frame_rate),
        "score": (s[k] + s[k + 1]) / 2,
    }
    features = np.stack([columns[name] for name in INTERPOLATED], axis=1)
    rows = np.lexsort((i[k], when))
    filled = Tracks.from_arrays(
        when[rows],
        i[k][rows],
        middle[rows],
        columns["score"][rows],
        classes=tracks.classes.numpy()[order][k][rows],
        observed=np.zeros(len(k), dtype=bool),
    )
    return filled, features[rows]


def _covered(
    boxes: np.ndarray, when: np.ndarray, own: np.ndarray, frames: np.ndarray, ids: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`covers` of each box against the observed boxes of its frame."""
    front, overlap = np.zeros(len(boxes)), np.zeros(len(boxes))
    for frame in np.unique(when):
        rows = np.flatnonzero(when == frame)
        a, b = np.searchsorted(frames, [frame, frame + 1])
        front[rows], overlap[rows] = covers(boxes[rows], others[a:b], own[rows, None] == ids[None, a:b])
    return front, overlap

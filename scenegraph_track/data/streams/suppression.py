"""A flat list of detections, and non-maximum suppression of every frame at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_PAIRS_PER_CHUNK = 2_000_000


@dataclass(frozen=True)
class Found:
    """Detections in a flat list: ``frame`` (D,), ``boxes`` (D, 4), ``quality`` (D,) in logits, ``owner`` (D,).

    ``owner`` is the column of the object, -1 for a false positive.
    """

    frame: np.ndarray
    boxes: np.ndarray
    quality: np.ndarray
    owner: np.ndarray

    def rows(self, keep: np.ndarray) -> Found:
        """Return some of the rows."""
        return Found(self.frame[keep], self.boxes[keep], self.quality[keep], self.owner[keep])


def joined(parts: list[Found]) -> Found:
    """Return the rows of several lists, one after the other."""
    columns = ("frame", "boxes", "quality", "owner")
    return Found(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def survives_nms(found: Found, overlap: float, frames: int) -> np.ndarray:
    """Greedy non-maximum suppression of every frame at once: (D,) bool."""
    a, b = overlapping_pairs(found, overlap, frames)
    better = (found.quality[a] > found.quality[b]) | ((found.quality[a] == found.quality[b]) & (a < b))
    a, b = a[better], b[better]
    kept = np.ones(len(found.frame), bool)
    while True:  # each round settles one more link of every chain of suppressions
        suppressed = np.zeros_like(kept)
        suppressed[b[kept[a]]] = True
        if (suppressed == ~kept).all():
            return kept
        kept = ~suppressed


def overlapping_pairs(found: Found, overlap: float, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ordered pairs of rows (both orders) of one frame whose IoU exceeds a bound; rows sorted by frame."""
    counts = np.bincount(found.frame, minlength=frames)
    most = int(counts.max(initial=0))
    if most < 2:
        return np.zeros(0, int), np.zeros(0, int)
    begin = np.cumsum(counts) - counts
    slot = np.arange(len(found.frame)) - begin[found.frame]
    padded = np.full((frames, most, 4), np.nan)
    padded[found.frame, slot] = found.boxes
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    chunk = max(1, _PAIRS_PER_CHUNK // most**2)
    for start in range(0, frames, chunk):
        box = padded[start : start + chunk]
        one, two = box[:, :, None], box[:, None]
        meet = one[..., 0] < two[..., 2]
        meet &= one[..., 2] > two[..., 0]
        meet &= one[..., 1] < two[..., 3]
        meet &= one[..., 3] > two[..., 1]
        meet[:, np.arange(most), np.arange(most)] = False
        frame, i, j = np.nonzero(meet)
        rows.append((begin[start + frame] + i, begin[start + frame] + j))
    a, b = (np.concatenate(column) for column in zip(*rows, strict=True))
    low, high = np.maximum(found.boxes[a, :2], found.boxes[b, :2]), np.minimum(found.boxes[a, 2:], found.boxes[b, 2:])
    area = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(-1)
    shared = (high - low).prod(-1)
    strong = shared > overlap * (area[a] + area[b] - shared)
    return a[strong], b[strong]

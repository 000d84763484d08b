"""Detection scores as surenesses in [0, 1], whatever the detector calls a score.

Scores that lie in [0, 1] keep their meaning and are only stretched where a detector never uses the upper part of the
scale.  Other scores (raw margins, 0 .. 120, negative ones) mean nothing by themselves: there a score is worth what it
predicts, the chance that a detection is found again in the next frame, monotone in the score (isotonic regression by
pooling adjacent violators; Zadrozny and Elkan, KDD 2002).
"""

from __future__ import annotations

import numpy as np

from scenegraph_track.tracking.matching import box_iou

_REFERENCE = 0.95
_PRIOR_COUNT = 50.0
_FOUND_AGAIN = 0.4
_GROUPS = 16


def surenesses(scores: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """Turn raw scores into surenesses.

    Args:
        scores: (M,) raw scores of one frame.
        memory: (K, 2) raw scores of past detections and whether each was found again.

    Returns:
        (M,) in [0, 1], monotone in the raw scores.
    """
    if len(scores) == 0:
        return scores
    known = len(memory)
    trust = known / (known + _PRIOR_COUNT)
    low, high = scores.min(), scores.max()
    if known:
        low, high = min(low, memory[:, 0].min()), max(high, memory[:, 0].max())
    if low >= 0 and high <= 1:
        top = _quantile(memory[:, 0], _REFERENCE) if known else 1.0
        top = trust * top + (1 - trust) * _REFERENCE
        return np.minimum(scores * (_REFERENCE / max(top, 0.2)), 1.0)
    everything = np.sort(np.concatenate([memory[:, 0], scores]))
    rank = (np.searchsorted(everything, scores) + 0.5) / len(everything)
    prior = 0.7 + 0.3 * rank  # whoever publishes raw scores has mostly cut them already
    if known < 2 * _GROUPS:
        return prior
    return (1 - trust) * prior + trust * np.interp(scores, *isotonic(memory))


def _quantile(values: np.ndarray, part: float) -> float:
    """As `numpy.quantile` of numbers (K,), in a fifth of its time for few of them."""
    place = (len(values) - 1) * part
    before = int(place)
    after, share = min(before + 1, len(values) - 1), place - before
    ordered = np.partition(values, (before, after))
    a, b = ordered[before], ordered[after]
    return a + (b - a) * share if share < 0.5 else b - (b - a) * (1 - share)


def isotonic(memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots of the monotone curve from raw score to the chance of being found again, its median scaled to 1.

    Args:
        memory: (K, 2) scores and outcomes (0 or 1).

    Returns:
        Scores and values of the knots, both ascending.
    """
    count = len(memory)
    ordered = memory[np.argsort(memory[:, 0], kind="stable")]
    edges = np.linspace(0, count, min(_GROUPS, count // 2) + 1).astype(np.int64)
    weights = np.diff(edges).astype(np.float64)
    means = np.add.reduceat(ordered, edges[:-1], axis=0) / weights[:, None]
    blocks: list[list[float]] = []  # value, weight, number of groups
    for value, weight in zip(means[:, 1], weights):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (v2, w2, n2), (v1, w1, n1) = blocks.pop(), blocks.pop()
            blocks.append([(v1 * w1 + v2 * w2) / (w1 + w2), w1 + w2, n1 + n2])
    curve = np.repeat([b[0] for b in blocks], [int(b[2]) for b in blocks])
    return means[:, 0], np.minimum(curve / max(np.median(curve), 0.3), 1.0)


def remember(
    memory: np.ndarray, last_boxes: np.ndarray, last_scores: np.ndarray, boxes: np.ndarray, size: int
) -> np.ndarray:
    """Add the detections of the last frame, now that it is known which of them are found again.

    A detection is found again where a box of this frame overlaps it by more than 0.4 IoU and each is the other's best.

    Args:
        memory: (K, 2).
        last_boxes: (M, 4) of the last frame, xyxy pixels.
        last_scores: (M,) their raw scores.
        boxes: (N, 4) of this frame.
        size: The memory keeps the newest so many.

    Returns:
        The new memory (K', 2).
    """
    if len(last_boxes) == 0:
        return memory
    again = np.zeros(len(last_boxes))
    if len(boxes):
        overlap = box_iou(last_boxes, boxes)
        best = overlap.argmax(1)
        rows = np.arange(len(last_boxes))
        again = ((overlap[rows, best] > _FOUND_AGAIN) & (overlap[:, best].argmax(0) == rows)).astype(np.float64)
    return np.concatenate([memory, np.stack([last_scores, again], axis=1)])[-size:]

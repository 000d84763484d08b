"""Identity through occlusion: which objects carry the same identity after they were hidden as before.

An object is *hidden* in the frames where less than half of it is visible, or where the ground truth has no row for it
between two others.  An *episode* is what lies between two visible frames of an object with hidden frames between them.
Its duration is the number of hidden frames; its hidden fraction is that of its most hidden frame (1 where a row is
missing, which is also what ground truth does with an object that leaves the image and comes back).

The identity *before* is that of the last result box matched to the object (IoU >= 0.5, one to one) in the visible
frames before the episode, *after* that of the first one in the visible frames after it, both not further than
``reach`` from the episode and not beyond another one.  Then the episode is

- *untracked* if there is none before: there was no identity to keep, and it does not count;
- *kept* if the identity after is that before;
- *switched* if it is another;
- *lost* if there is none after.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import IntEnum
from itertools import pairwise

import numpy as np

from scenegraph_track.evaluation.preprocessing import Preprocessing, box_iou, counted, match_boxes, split_by_frame
from scenegraph_track.evaluation.sources import FRAME, ID, VISIBILITY, ResultSource, TruthSource

SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, np.inf)
"""Edges of the bins of duration."""

FRACTIONS = (0.5, 0.7, 0.9, 1.0, np.inf)
"""Edges of the bins of the hidden fraction; the last holds what is hidden entirely."""

CELLS = 16


class Outcome(IntEnum):
    """What became of an identity."""

    UNTRACKED = 0
    KEPT = 1
    SWITCHED = 2
    LOST = 3


@dataclass(frozen=True, eq=False)
class Episodes:
    """E episodes in which an object of the ground truth was hidden.

    Args:
        objects: (E,) identity in the ground truth.
        frames: (E,) first hidden frame, from 1.
        seconds: (E,) how long the object was hidden.
        fractions: (E,) hidden fraction in [0, 1].
        outcomes: (E,) ``Outcome``.
        recovery: (E,) seconds from the first visible frame to the first result box, NaN where lost or untracked.
    """

    objects: np.ndarray
    frames: np.ndarray
    seconds: np.ndarray
    fractions: np.ndarray
    outcomes: np.ndarray
    recovery: np.ndarray

    def __len__(self) -> int:
        return len(self.objects)

    @classmethod
    def join(cls, parts: Iterable[Episodes]) -> Episodes:
        """The episodes of several sequences."""
        parts = list(parts)
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


def occlusion_episodes(
    truth: TruthSource,
    result: np.ndarray | ResultSource,
    fps: float,
    preprocess: Preprocessing | None = None,
    visible: float = 0.5,
    reach: float = 1.0,
) -> Episodes:
    """Find the episodes of a sequence and judge whether the results kept the identity.

    Args:
        truth: Ground truth; its visible fractions are used where it has them, else those of ``visibility_from_boxes``.
        result: (N, >= 6) MOTChallenge rows of any tracker.
        fps: Frames a second.
        preprocess: Which objects count; chosen by the layout of the ground truth where None.
        visible: Least visible fraction of an object that is not hidden.
        reach: Seconds before and after an episode in which the identities are looked for.

    Raises:
        UserError: A row lies beyond the sequence, or an identity stands twice in one frame.
    """
    result = result if isinstance(result, ResultSource) else ResultSource(result)
    truth.check(truth.frames)
    result.check(truth.frames)
    given = truth.rows[:, VISIBILITY] if truth.has_classes else np.ones(1)
    known = bool((given >= 0).all() and (given < 1).any())  # -1 is unknown, all 1 is a column that was filled in
    share = given if known else visibility_from_boxes(truth.rows, truth.frames)
    keep = np.flatnonzero(counted(truth, preprocess or Preprocessing.choose(truth)))
    keep = keep[np.lexsort((truth.rows[keep, FRAME], truth.rows[keep, ID]))]
    rows, share = truth.rows[keep], share[keep]
    identity = _matched(rows, result.rows, truth.frames)

    seen = np.flatnonzero(share >= visible)
    frame, who, identity = rows[seen, FRAME], rows[seen, ID], identity[seen]
    same = who[1:] == who[:-1]
    last = np.flatnonzero(same & (np.diff(frame) > 1))  # the last visible row before each episode
    hidden_frames = frame[last + 1] - frame[last] - 1
    least = np.minimum.reduceat(np.r_[share, np.inf], np.c_[seen[last], seen[last + 1]].ravel())[::2]
    whole = seen[last + 1] - seen[last] - 1 == hidden_frames  # every hidden frame has a row
    fraction = 1.0 - np.where(whole, least, 0.0)

    breaks = np.r_[True, ~same | (np.diff(frame) > 1)]
    run = np.cumsum(breaks)
    tracked, index = identity >= 0, np.arange(len(seen))
    before = np.maximum.accumulate(np.where(tracked, index, -1))[last]
    after = np.minimum.accumulate(np.where(tracked, index, len(seen))[::-1])[::-1][last + 1]
    has_before = _near(before, last, run, frame, reach * fps)
    has_after = _near(after, last + 1, run, frame, reach * fps)
    before, after = np.where(has_before, before, 0), np.where(has_after, after, 0)
    outcome = np.where(identity[before] == identity[after], Outcome.KEPT, Outcome.SWITCHED)
    outcome = np.where(has_after, outcome, Outcome.LOST)
    outcome = np.where(has_before, outcome, Outcome.UNTRACKED)
    recovery = np.where(has_before & has_after, (frame[after] - frame[last + 1]) / fps, np.nan)
    return Episodes(
        who[last].astype(int), frame[last].astype(int) + 1, hidden_frames / fps, fraction, outcome, recovery
    )


def occlusion_figures(episodes: Episodes) -> dict[str, float | int]:
    """Figures of episodes as ``name: value``.

    Returns:
        ``episodes`` and ``untracked`` (counts), then ``kept``, ``switched`` and ``lost`` in percent of the episodes
        that were tracked before, ``recovery`` (mean seconds), and for every bin of duration and of hidden fraction
        ``<bin>/episodes`` (tracked before) and ``<bin>/kept``.  Figures without an episode are left out.
    """
    tracked = episodes.outcomes != Outcome.UNTRACKED
    figures: dict[str, float | int] = {"episodes": len(episodes), "untracked": int((~tracked).sum())}
    if tracked.any():
        for outcome in (Outcome.KEPT, Outcome.SWITCHED, Outcome.LOST):
            figures[outcome.name.lower()] = 100.0 * float((episodes.outcomes[tracked] == outcome).mean())
    if np.isfinite(episodes.recovery).any():
        figures["recovery"] = float(np.nanmean(episodes.recovery))
    for values, edges, unit in ((episodes.seconds, SECONDS, "s"), (episodes.fractions, FRACTIONS, " hidden")):
        for low, high in pairwise(edges):
            chosen = tracked & (values >= low) & (values < high)
            if chosen.any():
                name = f"from {low:g}{unit}" if np.isinf(high) else f"{low:g}-{high:g}{unit}"
                figures[f"{name}/episodes"] = int(chosen.sum())
                figures[f"{name}/kept"] = 100.0 * float((episodes.outcomes[chosen] == Outcome.KEPT).mean())
    return figures


def visibility_from_boxes(rows: np.ndarray, frames: int) -> np.ndarray:
    """Visible fraction of each box if the object whose lower edge is lower in the image stands in front.

    Args:
        rows: (M, >= 6) frame from 1, id, left, top, width, height; every row may cover others.
        frames: Length of the sequence.

    Returns:
        (M,) in [0, 1], counted on 16 x 16 cells of each box.
    """
    share = np.ones(len(rows))
    start, end = rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]
    centres = (np.arange(CELLS) + 0.5) / CELLS
    cells = start[:, None] + centres[:, None] * rows[:, None, 4:6]  # (M, 16, 2)
    for index in split_by_frame(rows, frames):
        a, b = start[index], end[index]
        overlap = ((a[:, None] < b) & (a < b[:, None])).all(-1)
        behind, front = np.nonzero(overlap & (b[:, None, 1] < b[:, 1]))
        if len(behind):
            inside = (cells[index[behind]] > a[front, None]) & (cells[index[behind]] < b[front, None])
            first = np.flatnonzero(np.r_[True, np.diff(behind) > 0])
            covered = np.logical_or.reduceat(inside[:, :, None, 1] & inside[:, None, :, 0], first)
            share[index[behind[first]]] = 1.0 - covered.mean((1, 2))
    return share


def _near(found: np.ndarray, edge: np.ndarray, run: np.ndarray, frame: np.ndarray, reach: float) -> np.ndarray:
    """Whether a matched row exists in the same visible run as the edge of its episode, and near enough to it."""
    inside = (found >= 0) & (found < len(run))
    found = np.where(inside, found, edge)
    return inside & (run[found] == run[edge]) & (np.abs(frame[found] - frame[edge]) <= reach)


def _matched(rows: np.ndarray, result: np.ndarray, frames: int) -> np.ndarray:
    """Number of the result identity that is matched to each row of the ground truth, -1 where none is."""
    identity = np.full(len(rows), -1)
    numbers = np.unique(result[:, ID], return_inverse=True)[1]
    for there, seen in zip(split_by_frame(rows, frames), split_by_frame(result, frames), strict=True):
        pairs = match_boxes(box_iou(rows[there, 2:6], result[seen, 2:6]))
        identity[there[pairs[0]]] = numbers[seen[pairs[1]]]
    return identity

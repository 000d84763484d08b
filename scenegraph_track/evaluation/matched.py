"""The ground truth of a sequence beside the results: how much of each object is visible, and who lies on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenegraph_track.evaluation.preprocessing import Preprocessing, box_iou, counted, match_boxes, split_by_frame
from scenegraph_track.evaluation.sources import FRAME, ID, VISIBILITY, ResultSource, TruthSource

CELLS = 16


@dataclass(frozen=True, eq=False)
class MatchedTruth:
    """The M rows of the ground truth of a sequence that count, sorted by object, then frame.

    Args:
        fps: Frames a second.
        frames: (M,) frame, from 1.
        objects: (M,) identity in the ground truth.
        visible: (M,) visible fraction in [0, 1].
        identities: (M,) number of the result identity whose box is matched to it, -1 where none is.
    """

    fps: float
    frames: np.ndarray
    objects: np.ndarray
    visible: np.ndarray
    identities: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)


def match_truth(
    truth: TruthSource,
    result: np.ndarray | ResultSource,
    fps: float,
    preprocess: Preprocessing | None = None,
) -> MatchedTruth:
    """Match the results of a sequence to its ground truth: IoU >= 0.5, one to one in every frame.

    Args:
        truth: Ground truth; its visible fractions are used where it has them, else those of ``visibility_from_boxes``.
        result: (N, >= 6) MOTChallenge rows of any tracker.
        fps: Frames a second.
        preprocess: Which objects count; chosen by the layout of the ground truth where None.

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
    rows, identities = truth.rows[keep], np.full(len(keep), -1)
    numbers = np.unique(result.rows[:, ID], return_inverse=True)[1]
    pairs = zip(split_by_frame(rows, truth.frames), split_by_frame(result.rows, truth.frames), strict=True)
    for there, seen in pairs:
        row, column = match_boxes(box_iou(rows[there, 2:6], result.rows[seen, 2:6]))
        identities[there[row]] = numbers[seen[column]]
    return MatchedTruth(fps, rows[:, FRAME].astype(int), rows[:, ID].astype(int), share[keep], identities)


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

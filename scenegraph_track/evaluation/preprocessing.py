"""Which boxes count in a MOTChallenge evaluation, and the arrays that TrackEval's metrics take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.sources import CLASS, CONSIDERED, FRAME, ID, VISIBILITY, ResultSource, TruthSource

PEDESTRIAN = 1
DISTRACTORS = {
    "MOT16": (2, 7, 8, 12),  # person on vehicle, static person, distractor, reflection
    "MOT17": (2, 7, 8, 12),
    "MOT20": (2, 6, 7, 8, 12),  # and non-motorised vehicle
}
BENCHMARKS = ("auto", "none", "MOT15", *DISTRACTORS)
"""Names of the preprocessings; MOT15 is another name for none, auto chooses by the layout of the ground truth."""

_EPS = np.finfo(float).eps


@dataclass(frozen=True)
class Preprocessing:
    """Which boxes of a sequence count.

    Args:
        classes: Classes of the ground truth that are evaluated; None: every class.
        distractors: Classes whose boxes take away the result boxes matched to them (IoU >= 0.5).
        refuse_others: Result rows labelled with a class that is not evaluated are an error; else they are left out.
    """

    classes: tuple[int, ...] | None = None
    distractors: tuple[int, ...] = ()
    refuse_others: bool = False

    @classmethod
    def choose(
        cls, truth: TruthSource, benchmark: str = "auto", classes: tuple[int, ...] | None = None
    ) -> Preprocessing:
        """Choose by the name of a benchmark, or by the layout of the ground truth.

        Args:
            truth: The ground truth.  Without classes (2015 layout) every box is a pedestrian.
            benchmark: One of ``BENCHMARKS``.  auto: as for MOT17 where the ground truth has classes, else none.
            classes: Evaluate these classes instead of the pedestrians.

        Raises:
            UserError: The benchmark is unknown, or classes are chosen and the ground truth has no column for them.
        """
        if benchmark not in BENCHMARKS:
            raise UserError(f"benchmark: expected one of {', '.join(BENCHMARKS)}, found {benchmark}")
        if classes is not None and truth.rows.shape[1] <= VISIBILITY:
            raise UserError(f"{truth.path or 'ground truth'}: expected nine columns, to choose classes from the eighth")
        if benchmark == "auto":
            benchmark = "MOT17" if truth.has_classes else "none"
        if benchmark not in DISTRACTORS or not truth.has_classes:
            return cls(classes=classes)
        if classes is None:
            return cls((PEDESTRIAN,), DISTRACTORS[benchmark], refuse_others=True)
        return cls(classes, tuple(c for c in DISTRACTORS[benchmark] if c not in classes))


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes.

    Args:
        a: (N, 4) left, top, width, height in pixels.
        b: (M, 4), likewise.

    Returns:
        (N, M) in [0, 1]; 0 for boxes without area.
    """
    a_end, b_end = a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]
    overlap = np.minimum(a_end[:, None], b_end) - np.maximum(a[:, None, :2], b[:, :2])
    intersection = overlap.clip(0).prod(-1)
    area_a, area_b = (a_end - a[:, :2]).prod(-1), (b_end - b[:, :2]).prod(-1)
    union = area_a[:, None] + area_b - intersection
    solid = (area_a > _EPS)[:, None] & (area_b > _EPS) & (union > _EPS)
    return np.where(solid, intersection, 0.0) / np.where(solid, union, 1.0)


def match_boxes(similarity: np.ndarray, threshold: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """One-to-one matching of the greatest total similarity among pairs that reach a threshold.

    Args:
        similarity: (N, M) in [0, 1].
        threshold: Least similarity of a pair.

    Returns:
        Rows and columns of the pairs.
    """
    score = np.where(similarity < threshold - _EPS, 0.0, similarity)
    rows, columns = linear_sum_assignment(-score)
    matched = score[rows, columns] > _EPS
    return rows[matched], columns[matched]


def split_by_frame(rows: np.ndarray, frames: int) -> list[np.ndarray]:
    """Indices of the rows of each frame, in the order of the rows."""
    order = np.argsort(rows[:, FRAME], kind="stable")
    return np.split(order, np.searchsorted(rows[order, FRAME], np.arange(2, frames + 1)))


def counted(truth: TruthSource, preprocess: Preprocessing) -> np.ndarray:
    """Which rows of the ground truth are to be found, (M,) bool: considered, and of a class that is evaluated."""
    keep = np.ones(len(truth.rows), bool)
    if truth.rows.shape[1] > CONSIDERED:
        flag = truth.rows[:, CONSIDERED]
        keep = flag.astype(np.int64) != 0 if truth.has_classes else flag > 0
    if preprocess.classes is not None:
        keep &= np.isin(truth.rows[:, CLASS], preprocess.classes)
    return keep


def judged(truth: TruthSource, result: ResultSource, preprocess: Preprocessing) -> np.ndarray:
    """Which rows of the results are judged, (N,) bool: of a class that is evaluated, and not on a distractor.

    Raises:
        UserError: A row is labelled with a class that is not evaluated, and such rows are to be refused.
    """
    boxes, found = truth.rows, result.rows
    keep = np.ones(len(found), bool)
    if preprocess.classes is None:
        return keep
    if found.shape[1] > CLASS:
        keep = (found[:, CLASS] < 1) | np.isin(found[:, CLASS], preprocess.classes)
    if preprocess.refuse_others and not keep.all():
        row = int((~keep).argmax())
        named = " or ".join(map(str, preprocess.classes))
        result.refuse(row, f"class {named}, or -1, in column 8 (or choose the classes)", f"{found[row, CLASS]:g}")
    distracting = np.isin(boxes[:, CLASS], preprocess.distractors)
    if distracting.any():
        for there, seen in zip(split_by_frame(boxes, truth.frames), split_by_frame(found, truth.frames), strict=True):
            if distracting[there].any():
                rows, columns = match_boxes(box_iou(boxes[there, 2:6], found[seen, 2:6]))
                keep[seen[columns[distracting[there[rows]]]]] = False
    return keep


def metric_data(truth: np.ndarray, result: np.ndarray, frames: int) -> dict[str, Any]:
    """The dictionary that TrackEval's ``eval_sequence`` takes.

    Args:
        truth: (M, >= 6) rows that count.
        result: (N, >= 6) rows that count.
        frames: Length of the sequence.
    """
    data: dict[str, Any] = {"num_timesteps": frames}
    split = {}
    for name, rows in (("gt", truth), ("tracker", result)):
        names, contiguous = np.unique(rows[:, ID].astype(np.int64), return_inverse=True)
        split[name] = split_by_frame(rows, frames)
        data[f"num_{name}_ids"], data[f"num_{name}_dets"] = len(names), len(rows)
        data[f"{name}_ids"] = [contiguous[index] for index in split[name]]
    data["similarity_scores"] = [
        box_iou(truth[there, 2:6], result[seen, 2:6]) for there, seen in zip(split["gt"], split["tracker"], strict=True)
    ]
    return data

"""Figures of multi-object tracking (HOTA, CLEAR, Identity) by TrackEval's metrics, fed with arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.preprocessing import Preprocessing, counted, judged, metric_data
from scenegraph_track.evaluation.sources import ResultSource, TruthSource

PERCENT = {
    **{name: ("HOTA", name) for name in ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA")},
    "HOTA(0)": ("HOTA", "HOTA(0)"),
    **{name: ("CLEAR", name) for name in ("MOTA", "MOTP", "MODA")},
    "Recall": ("CLEAR", "CLR_Re"),
    "Precision": ("CLEAR", "CLR_Pr"),
    **{name: ("Identity", name) for name in ("IDF1", "IDP", "IDR")},
}
"""Figures in percent, and where TrackEval keeps them; those over many thresholds are their mean."""

COUNTS = {
    **{name: ("CLEAR", name) for name in ("IDSW", "Frag", "MT", "PT", "ML")},
    **{name: ("CLEAR", f"CLR_{name}") for name in ("TP", "FP", "FN")},
    **{name: ("Count", name) for name in ("Dets", "GT_Dets", "IDs", "GT_IDs", "Frames")},
}
"""Figures that are counts: switches and fragments, tracks, boxes matched at IoU 0.5, and sizes after preprocessing."""


@dataclass(frozen=True, eq=False)
class SequenceResult:
    """Figures of one sequence, or of several taken together.

    Args:
        figures: Value of each figure by name: ``PERCENT``, ``COUNTS`` and FAF (false positives a frame).
        raw: TrackEval's own results by metric, from which sequences are combined.
    """

    figures: Mapping[str, float | int]
    raw: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def __getitem__(self, name: str) -> float | int:
        return self.figures[name]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of a set of sequences.

    Args:
        sequences: Figures by name of the sequence.
        combined: Figures over all boxes of all sequences (not the mean over sequences).
    """

    sequences: Mapping[str, SequenceResult]
    combined: SequenceResult


def evaluate_sequence(
    truth_rows: np.ndarray | TruthSource,
    result_rows: np.ndarray | ResultSource,
    frames: int | None = None,
    preprocess: Preprocessing | None = None,
) -> SequenceResult:
    """Judge the results of one sequence as TrackEval's MotChallenge2DBox does.

    Args:
        truth_rows: (M, >= 6) frame from 1, id, left, top, width, height, considered, class, visibility.
        result_rows: (N, >= 6) frame from 1, id, left, top, width, height; none at all are valid (HOTA 0).
        frames: Length of the sequence; needed where the ground truth is an array.
        preprocess: Which boxes count; chosen by the layout of the ground truth where None.

    Raises:
        UserError: A row lies beyond the sequence, or an identity stands twice in one frame.
    """
    truth = truth_rows if isinstance(truth_rows, TruthSource) else TruthSource(truth_rows, frames=frames or 0)
    result = result_rows if isinstance(result_rows, ResultSource) else ResultSource(result_rows)
    truth.check(truth.frames)
    result.check(truth.frames)
    preprocess = preprocess or Preprocessing.choose(truth)
    there, found = truth.rows[counted(truth, preprocess)], result.rows[judged(truth, result, preprocess)]
    data = metric_data(there, found, truth.frames)
    raw = {name: metric.eval_sequence(data) for name, metric in _metrics().items()}
    sizes = ("num_tracker_dets", "num_gt_dets", "num_tracker_ids", "num_gt_ids", "num_timesteps")
    raw["Count"] = dict(zip(("Dets", "GT_Dets", "IDs", "GT_IDs", "Frames"), (data[s] for s in sizes), strict=True))
    return _result(raw)


def evaluate(
    truths: Mapping[str, TruthSource],
    results: Mapping[str, np.ndarray | ResultSource],
    benchmark: str = "auto",
    classes: tuple[int, ...] | None = None,
) -> Evaluation:
    """Judge the results of a set of sequences, one by one and combined.

    Args:
        truths: Ground truth by name of the sequence.
        results: Results by name of the sequence, one for every ground truth; others are not looked at.
        benchmark: Preprocessing: auto (by the layout of each ground truth), none, MOT15, MOT16, MOT17 or MOT20.
        classes: Classes of the ground truth to evaluate; None: pedestrians where it has classes.

    Raises:
        UserError: Results are missing for a sequence, or something of ``evaluate_sequence``.
    """
    if not truths:
        raise UserError("expected ground truth of at least one sequence, found none")
    missing = [name for name in truths if name not in results]
    if missing:
        raise UserError(f"expected results for every sequence, found none for {', '.join(missing)}")
    sequences = {
        name: evaluate_sequence(truth, results[name], preprocess=Preprocessing.choose(truth, benchmark, classes))
        for name, truth in truths.items()
    }
    return Evaluation(sequences, combine(sequences))


def combine(sequences: Mapping[str, SequenceResult]) -> SequenceResult:
    """Figures over all boxes of several sequences."""
    raw = {
        name: metric.combine_sequences({key: result.raw[name] for key, result in sequences.items()})
        for name, metric in _metrics().items()
    }
    counts = [result.raw["Count"] for result in sequences.values()]
    raw["Count"] = {name: sum(count[name] for count in counts) for name in counts[0]}
    return _result(raw)


def _metrics() -> dict[str, Any]:
    from trackeval import metrics  # slow to import

    quiet = {"PRINT_CONFIG": False}
    return {"HOTA": metrics.HOTA(), "CLEAR": metrics.CLEAR(quiet), "Identity": metrics.Identity(quiet)}


def _result(raw: dict[str, dict[str, Any]]) -> SequenceResult:
    figures: dict[str, float | int] = {
        name: 100.0 * float(np.mean(raw[metric][key])) for name, (metric, key) in PERCENT.items()
    }
    figures |= {name: int(raw[metric][key]) for name, (metric, key) in COUNTS.items()}
    return SequenceResult(figures | {"FAF": figures["FP"] / figures["Frames"]}, raw)

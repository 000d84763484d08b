"""Accuracy, robustness and expected average overlap of VOT (2020 and later): a tracker started anew at anchors.

A sequence has anchors, frames in which the tracker is told the true box.  From each it runs to the end of the sequence
or, backwards, to its start, without being told again.  A run has *failed* at the first of ten frames in a row in which
the overlap is at most .1 although the target is there.  Kristan et al., "The eighth visual object tracking VOT2020
challenge results" (2020), in the details as version 0.8 of the challenge's toolkit computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.evaluation.single import Pixels, box_overlaps

GRACE, THRESHOLD = 10, 0.1
"""Frames in a row up to this overlap that are a failure."""

INTERVAL = (115, 755)
"""Lengths over which the curve is averaged, both ends among them; of VOT2020 to VOT2022."""

EVERY = 50
"""Frames between anchors, where a sequence brings none."""

FIGURES = ("accuracy", "robustness", "eao")

RULES = (
    "accuracy, robustness, eao (VOT2020 and later): runs from anchors, forwards (backwards) to the end (start) of the "
    f"sequence; failed at the first of {GRACE} frames in a row with an overlap of at most {THRESHOLD}. accuracy: mean "
    "overlap up to the failure; robustness: share of frames up to it, weighted by the length of sequences. Boxes are "
    "cut at the image; what a method calls absent has no overlap. As in the challenge's toolkit the overlap of the "
    "first frame of a run is 0.",
    f"anchors: of anchor.value, else every {EVERY} frames from the first and the last one, moved to the nearest frame "
    "in which the target can be seen, each run in the direction that is longer.",
)

PIXEL_RULES = {
    "continuous": "pixels: continuous, a box reaches from x to x + width.",
    "inclusive": "pixels: inclusive, a box is the whole pixels from round(x) to round(x + width - 1), as in the "
    "toolkit.",
}


@dataclass(frozen=True, eq=False)
class AnchorRun:
    """A tracker that was started at an anchor.

    Args:
        overlaps: (N,) with the truth in the frames of the run, in their order; that of the first does not count.
        present: (N,) bool, frames with a true box.
    """

    overlaps: NDArray[np.float64]
    present: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.overlaps)

    @property
    def progress(self) -> int:
        """Frames before the failure; N where there is none."""
        bad = (self._counted <= THRESHOLD) & self.present
        rows = np.convolve(bad, np.ones(GRACE, int))[GRACE - 1 : len(bad)] == GRACE
        return int(rows.argmax()) if rows.any() else len(bad)

    @property
    def kept(self) -> NDArray[np.float64]:
        """(N,) overlaps, 0 in the first frame and from the failure on."""
        return np.where(np.arange(len(self)) < self.progress, self._counted, 0.0)

    @property
    def _counted(self) -> NDArray[np.float64]:
        return np.r_[0.0, self.overlaps[1:]]


@dataclass(frozen=True, eq=False)
class AnchorRuns:
    """The runs on a sequence.

    Args:
        length: Frames of the sequence.
        runs: At least one.
    """

    length: int
    runs: tuple[AnchorRun, ...]


def place_anchors(visible: NDArray[np.bool_], every: int = EVERY) -> list[tuple[int, int]]:
    """Anchors of a sequence that brings none.

    Args:
        visible: (T,) frames in which the target can be seen well enough to be told.
        every: Frames between them.

    Returns:
        Frames and directions, 1 forwards, -1 backwards: of every ``every``-th frame and of the last one the nearest
        visible one, the direction in which more frames lie; none where nothing is visible.
    """
    frames = np.flatnonzero(visible)
    if not len(frames):
        return []
    last = len(visible) - 1
    wanted = [*range(0, last, every), last]
    anchors = sorted({int(frames[np.abs(frames - one).argmin()]) for one in wanted})
    return [(one, 1 if last - one >= one else -1) for one in anchors]


def frames_of(anchor: tuple[int, int], length: int) -> range:
    """The frames of the run from an anchor in a sequence of ``length``, in their order."""
    frame, direction = anchor
    return range(frame, length) if direction > 0 else range(frame, -1, -1)


def region_overlaps(
    truth: NDArray, predicted: NDArray, size: tuple[int, int], pixels: Pixels = "inclusive"
) -> NDArray[np.float64]:
    """Intersection over union of boxes in an image; 0 where one of them is NaN.

    Args:
        truth: (T, 4) xyxy, NaN where there is none.
        predicted: (T, 4) xyxy, NaN where there is none.
        size: (W, H) of the image.
        pixels: "inclusive": a box is the whole pixels from round(x) to round(x + width - 1), as in the toolkit.
            "continuous": it is what it is.
    """
    known = np.isfinite(truth).all(1) & np.isfinite(predicted).all(1)
    regions = []
    for boxes in (truth[known], predicted[known]):
        covered = np.c_[np.round(boxes[:, :2]), np.round(boxes[:, 2:] - 1) + 1] if pixels == "inclusive" else boxes
        regions.append(np.clip(covered, 0, [*size, *size]))
    overlaps = np.zeros(len(truth))
    overlaps[known] = box_overlaps(*regions)
    return overlaps


def overlap_curve(runs: Sequence[AnchorRun], longest: int) -> NDArray[np.float64]:
    """Expected overlap by length.

    Args:
        runs: Of all sequences.
        longest: Length up to which it is computed.

    Returns:
        (longest + 1,): at j the mean over runs of the mean overlap of their frames 1 to j.  A run that ends before j is
        continued by zeros if it has failed, and left out if not; 0 where no run counts.  As in the toolkit the mean of
        a run that was continued is its sum divided by j - 1.
    """
    total, count = np.zeros(longest + 1), np.zeros(longest + 1)
    lengths = np.arange(longest + 1)
    for run in runs:
        sums = np.cumsum(run.kept)
        inside = (lengths > 0) & (lengths < len(run))
        after = (lengths > 1) & (lengths >= len(run)) & (run.progress < len(run))
        total[inside] += sums[lengths[inside]] / lengths[inside]
        total[after] += sums[-1] / (lengths[after] - 1)
        count += inside | after
    return total / np.maximum(count, 1)


def choose_interval(sequences: Sequence[AnchorRuns]) -> tuple[int, int]:
    """`INTERVAL` if some run is longer than its lower end, else all lengths that there are."""
    longest = max(len(run) for one in sequences for run in one.runs)
    return INTERVAL if longest > INTERVAL[0] else (1, max(longest - 1, 1))


def vot_figures(sequences: Sequence[AnchorRuns], interval: tuple[int, int] | None = None) -> dict[str, float]:
    """Accuracy, robustness and expected average overlap.

    Args:
        sequences: At least one.
        interval: Lengths over which `overlap_curve` is averaged, both ends among them; None for `choose_interval`.

    Returns:
        ``accuracy``: overlaps up to failures over frames up to failures, of all runs.  ``robustness``: of each sequence
        the frames up to failures over the frames of its runs, mean weighted by the lengths of sequences.  ``eao``.
    """
    low, high = interval or choose_interval(sequences)
    runs = [run for one in sequences for run in one.runs]
    progress = sum(run.progress for run in runs)
    shares = [sum(run.progress for run in one.runs) / sum(map(len, one.runs)) for one in sequences]
    return {
        "accuracy": float(sum(run.kept.sum() for run in runs)) / progress if progress else 0.0,
        "robustness": float(np.average(shares, weights=[one.length for one in sequences])),
        "eao": float(overlap_curve(runs, high)[low:].mean()),
    }

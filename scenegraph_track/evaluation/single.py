"""How well one target is followed: OTB, LaSOT, GOT-10k and TNL2K figures of a box a frame, run once from the first.

Boxes are xyxy in pixels, continuous (x2 = x1 + width).  A tracker gives a box in every frame; while it says that the
target is absent, its last box counts (`held_boxes`), for these benchmarks know no absence.  Figures are fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.errors import UserError

Pixels = Literal["continuous", "inclusive"]
"""How a box covers pixels, see `box_overlaps`."""

PIXELS: tuple[str, ...] = get_args(Pixels)

OVERLAPS, ERRORS, NORMALISED = np.linspace(0, 1, 21), np.arange(51.0), np.arange(51) / 100
"""Thresholds of the success, precision and normalised precision curves (the last is not in pixels)."""

SHOWN = {
    "otb": ("auc", "precision20", "op50", "op75"),
    "lasot": ("auc", "precision20", "pnorm", "pnorm_area", "op50", "op75"),
    "got10k": ("ao", "sr50", "sr75"),
    "tnl2k": ("auc", "precision20", "pnorm"),
}
"""Figures of each protocol."""

FIGURES = ("ao", "sr50", "sr75", "auc", "precision20", "pnorm", "pnorm_area", "op50", "op75")
"""All figures of a run from the first frame."""

RULES = {
    "ao": "ao, sr50, sr75 (GOT-10k): mean overlap, and share of frames with an overlap above .5, .75, over the frames "
    "of all sequences together, without first frames and frames in which the target is absent; boxes are brought into "
    "the image as the got10k toolkit does.",
    "auc": "auc (OTB, LaSOT, TNL2K): share of frames with an overlap above a threshold, mean over the 21 thresholds 0, "
    ".05, ... 1; op50, op75: that share at .5, .75. Per sequence, then mean over sequences; the first box is the true "
    "one; frames in which the target is absent, or without truth, count as failures.",
    "precision20": "precision20: share of frames whose centre is within 20 pixels of the true one, by the same rules.",
    "pnorm": "pnorm: the same for the error over the true width and height, within .2; pnorm_area: mean over the 51 "
    "thresholds 0, .01, ... .5 (the two definitions in use).",
    "absence": "a method that says that the target is absent counts with its last box.",
}
"""What is measured, in sentences, by the first figure that is meant."""

PIXEL_RULES = {
    "continuous": "pixels: continuous, a box reaches from x to x + width.",
    "inclusive": "pixels: inclusive, the last pixel of a box is x + width - 1, extents are last - first + 1, the "
    "centre is x + (width - 1) / 2; for boxes given as x, y, width, height this gives the same overlaps and errors.",
}


def held_boxes(boxes: NDArray) -> NDArray[np.float64]:
    """Boxes (T, 4) of which each that is not finite is replaced by the last finite one before it.

    Raises:
        UserError: The first box is not finite.
    """
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    known = np.isfinite(boxes).all(1)
    if not known[:1].all():
        raise UserError("the first box of a sequence is missing")
    return boxes[np.maximum.accumulate(np.where(known, np.arange(len(boxes)), 0))]


def box_overlaps(truth: NDArray, predicted: NDArray, pixels: Pixels = "continuous") -> NDArray[np.float64]:
    """Intersection over union, row by row.

    Args:
        truth: (T, 4) xyxy.
        predicted: (T, 4) xyxy.
        pixels: "continuous": extents are x2 - x1.  "inclusive": x2 - 1 is the last pixel and extents are last - first
            + 1, the formula of OTB and pytracking; it differs by rounding only.

    Returns:
        (T,) in [0, 1]; 0 where there is no area, NaN where a box is NaN.
    """
    one = 1.0 if pixels == "inclusive" else 0.0
    low = np.maximum(truth[:, :2], predicted[:, :2])
    high = np.minimum(truth[:, 2:] - one, predicted[:, 2:] - one)
    shared = np.maximum(high - low + one, 0).prod(1)
    area = np.maximum(truth[:, 2:] - truth[:, :2], 0).prod(1) + np.maximum(predicted[:, 2:] - predicted[:, :2], 0).prod(
        1
    )
    union = area - shared
    return np.where(union == 0, 0.0, shared / np.where(union == 0, 1.0, union))


def centre_offsets(truth: NDArray, predicted: NDArray, pixels: Pixels = "continuous") -> NDArray[np.float64]:
    """Centres of predicted boxes (T, 4) less the true ones, (T, 2) pixels; for ``pixels`` see `box_overlaps`."""
    one = 1.0 if pixels == "inclusive" else 0.0
    centres = [boxes[:, :2] + (boxes[:, 2:] - boxes[:, :2] - one) / 2 for boxes in (truth, predicted)]
    return centres[1] - centres[0]


def into_image(boxes: NDArray, size: tuple[int, int]) -> NDArray[np.float64]:
    """Boxes (T, 4) xyxy brought into an image (W, H) as the got10k toolkit does.

    What is left of the image, or above, is moved to its border *with its width or height kept*; then what reaches over
    the right or lower border is cut.
    """
    bound = np.array(size, np.float64)
    low = np.clip(boxes[:, :2], 0, bound)
    return np.concatenate([low, low + np.clip(boxes[:, 2:] - boxes[:, :2], 0, bound - low)], 1)


@dataclass(frozen=True, eq=False)
class Judged:
    """A box a frame held against the truth, before anything is averaged.

    Args:
        overlap: (T,) intersection over union, 1 in the first frame; -1 where the target is absent or has no truth.
        error: (T,) distance of the centres in pixels; infinite there.
        normalised: (T,) the same over the true width and height.
        inside: (N,) intersection over union in the image, of the N frames that GOT-10k counts.
    """

    overlap: NDArray[np.float64]
    error: NDArray[np.float64]
    normalised: NDArray[np.float64]
    inside: NDArray[np.float64]

    @property
    def success(self) -> NDArray[np.float64]:
        """(21,) share of frames with an overlap above each of `OVERLAPS`."""
        return (self.overlap[:, None] > OVERLAPS).mean(0)

    @property
    def precision(self) -> NDArray[np.float64]:
        """(51,) share of frames with an error of at most each of `ERRORS`."""
        return (self.error[:, None] <= ERRORS).mean(0)

    @property
    def normalised_precision(self) -> NDArray[np.float64]:
        """(51,) share of frames with a normalised error of at most each of `NORMALISED`."""
        return (self.normalised[:, None] <= NORMALISED).mean(0)


def judge_boxes(
    truth: NDArray,
    predicted: NDArray,
    absent: NDArray[np.bool_],
    size: tuple[int, int] | None,
    pixels: Pixels = "continuous",
    without_absent: bool = False,
) -> Judged:
    """Hold a box a frame against the truth.

    Args:
        truth: (T, 4) xyxy, NaN where there is none; a box without area counts as none.
        predicted: (T, 4) xyxy; for rows that are not finite see `held_boxes`.  The first one is replaced by the truth.
        absent: (T,) where the target cannot be seen.
        size: (W, H) of the image, or None where it is not known and boxes are not cut.
        pixels: See `box_overlaps`.
        without_absent: Leave out frames without truth, instead of counting them as failures.

    Raises:
        UserError: The numbers of boxes differ, or the first frame has no truth.
    """
    if len(predicted) != len(truth):
        raise UserError(f"expected {len(truth)} boxes, one a frame, found {len(predicted)}")
    judged = np.isfinite(truth).all(1) & ~absent
    judged[judged] = (truth[judged, 2:] > truth[judged, :2]).all(1)
    if not judged[:1].all():
        raise UserError("the first frame has no true box to begin with")
    true = np.where(judged[:, None], truth, truth[0])
    boxes = held_boxes(np.concatenate([truth[:1], predicted[1:]]))
    offsets = centre_offsets(true, boxes, pixels)
    overlap = np.where(judged, box_overlaps(true, boxes, pixels), -1.0)
    error = np.where(judged, np.linalg.norm(offsets, axis=1), np.inf)
    normalised = np.where(judged, np.linalg.norm(offsets / (true[:, 2:] - true[:, :2]), axis=1), np.inf)
    counted = judged & (np.arange(len(truth)) > 0)
    inner = [one[counted] if size is None else into_image(one[counted], size) for one in (true, boxes)]
    kept = judged if without_absent else np.ones(len(truth), bool)
    return Judged(overlap[kept], error[kept], normalised[kept], box_overlaps(*inner, pixels))


def single_figures(sequences: Sequence[Judged]) -> dict[str, float]:
    """The `FIGURES` of sequences; NaN where no frame counts.

    Sources: OTB (Wu et al., 2015), LaSOT (Fan et al., 2019), TrackingNet (Mueller et al., 2018) and GOT-10k (Huang et
    al., 2019); ``ao`` and ``sr`` pool the frames of all sequences, as the got10k toolkit does, the others are means
    over sequences.
    """
    pooled = np.concatenate([one.inside for one in sequences])
    frames = {"ao": pooled, "sr50": pooled > 0.5, "sr75": pooled > 0.75}
    success, precision, normalised = mean_curves(sequences)
    return {
        **{name: float(values.mean()) if len(values) else float("nan") for name, values in frames.items()},
        "auc": float(success.mean()),
        "precision20": float(precision[20]),
        "pnorm": float(normalised[20]),
        "pnorm_area": float(normalised.mean()),
        "op50": float(success[10]),
        "op75": float(success[15]),
    }


def mean_curves(sequences: Sequence[Judged]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Success (21,), precision (51,) and normalised precision (51,) curves, mean over sequences."""
    return (
        np.mean([one.success for one in sequences], axis=0),
        np.mean([one.precision for one in sequences], axis=0),
        np.mean([one.normalised_precision for one in sequences], axis=0),
    )


def protocol_of(figures: Sequence[str], pixels: Pixels) -> list[str]:
    """How figures were measured, in sentences."""
    said = [rule for name, rule in RULES.items() if name in figures or name == "absence"]
    return [*said, PIXEL_RULES[pixels]]

"""How well points are followed: occlusion accuracy, share of positions within thresholds, average Jaccard (TAP-Vid)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.evaluation.point_clips import PointClip

THRESHOLDS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pixels of an image of 256 x 256."""

REFERENCE = 256.0
"""Side of the image that the thresholds belong to."""

PROTOCOL = (
    "TAP-Vid (Doersch et al., 2022), points asked for in the first frame that shows them, followed forward; the frames"
    " after it count. Distances are scaled, width and height each, to an image of 256 x 256.",
    "occlusion_accuracy: share of points and frames told rightly as seen or hidden. delta_avg: share of seen points"
    " within a threshold, mean over 1, 2, 4, 8, 16 pixels. average_jaccard: found and near enough, of all that are seen"
    " or said to be, mean over the thresholds. All are means over clips.",
)


def clip_figures(clip: PointClip, positions: NDArray, visible: NDArray) -> dict[str, float]:
    """Figures of one clip.

    Args:
        clip: The truth.
        positions: (N, T, 2) found, pixels.
        visible: (N, T) bool.

    Returns:
        ``occlusion_accuracy``, ``delta_avg``, ``average_jaccard``, and apart those of points on objects, in percent;
        ``hidden_error``, the median distance (pixels of 256 x 256) of points while they are hidden.
    """
    figures = _figures(clip, positions, visible, np.ones(len(clip.queries), bool))
    if clip.on_object.any():
        on = _figures(clip, positions, visible, clip.on_object)
        figures |= {f"{name}_objects": value for name, value in on.items()}
    return figures


def _figures(clip: PointClip, positions: NDArray, visible: NDArray, rows: NDArray[np.bool_]) -> dict[str, float]:
    counted, seen = clip.counted[rows], clip.seen[rows]
    told = np.asarray(visible, bool)[rows]
    height, width = clip.images[0].shape[1:]
    with np.errstate(invalid="ignore"):
        scale = REFERENCE / np.array([width, height])
        distance = np.linalg.norm((positions[rows] - clip.tracks[rows]) * scale, axis=-1)
        near = distance[None] < np.array(THRESHOLDS)[:, None, None]  # NaN is not near
    figures = {"occlusion_accuracy": _share((told == seen)[counted])}
    shown = counted & seen
    figures["delta_avg"] = float(np.mean([_share(one[shown]) for one in near]))
    jaccard = []
    for one in near:
        hits = (one & shown & told).sum()
        false = (told & counted & ~(one & seen)).sum()
        jaccard.append(hits / max(shown.sum() + false, 1))
    figures["average_jaccard"] = float(np.mean(jaccard)) * 100 if shown.any() else float("nan")
    hidden = distance[counted & ~seen]
    hidden = hidden[np.isfinite(hidden)]
    figures["hidden_error"] = float(np.median(hidden)) if len(hidden) else float("nan")
    return figures


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) * 100 if flags.size else float("nan")


def point_figures(results: Iterable[tuple[PointClip, NDArray, NDArray]]) -> dict[str, float]:
    """Means over clips of `clip_figures`.

    Args:
        results: Clips with found positions (N, T, 2) and visibility (N, T).
    """
    rows = [clip_figures(*result) for result in results]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: known_mean([row.get(name, float("nan")) for row in rows]) for name in names}


def known_mean(values: list[float]) -> float:
    """Mean of the finite values, NaN where there is none."""
    there = [value for value in values if np.isfinite(value)]
    return float(np.mean(there)) if there else float("nan")

"""How well objects are found without labels: segmentations of videos and boxes against the truth.

A segmentation of a video is a label map (T, H, W) of integers: 0 nothing, each other number a segment, the same in all
frames.  Everything is read off tables of shared pixels (`overlap_table`), summed over frames for figures of the video.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from detectors.proposals import LEAST_AREA, proposals_from_labels
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.object_clips import LEAST_VISIBLE, STILL, FrameTruth, ObjectClip
from scenegraph_track.evaluation.preprocessing import box_iou
from scenegraph_track.evaluation.tally import Tally

Method = Callable[[ObjectClip], NDArray]
"""Finds the objects of a clip: label maps (T, h, w) of integers of any size, see above."""

LEARNED = "learned"
FIGURES = ("fg_ari_video", "fg_ari_frame", "mbo_video", "mbo_frame", "recall50", "precision50", "corloc")
APART = ("mbo_video_moving", "mbo_video_still", "recall50_moving", "recall50_still")
DRAWN = 2
"""Frames of a clip that are drawn."""

MATCHED = 0.5
"""Intersection over union from which a box is found."""

PROTOCOL = (
    "fg_ari: adjusted Rand index over the pixels of true objects, what is predicted as nothing being one more segment; "
    "of whole videos and of frames in which at least two objects are seen, each counting alike. mbo: intersection over "
    "union of each true object with its best segment, mean over the objects of a video (frame), then over videos "
    "(frames). fg_ari flatters: look at mbo and recall beside it.",
    f"recall50: share of true boxes that a predicted one meets with IoU >= {MATCHED}, one to one, the best first; of "
    f"the visible part of objects that are visible by at least {LEAST_VISIBLE:.0%}, where that is known. A predicted "
    f"box is round the largest connected part of a segment in a frame, of at least {LEAST_AREA} pixels; boxes: their "
    "number a frame; precision50: share of them that meet a true one, segments of the background among them. corloc: "
    "share of frames with such objects in which at least one is met, by whichever box.",
    f"still: objects whose own motion, flow without that of the camera, is below {STILL} pixels a frame (median over "
    "the video); moving: the others. All figures in percent. ms: CPU time of a method a frame, without "
    "flow, depth and camera motion, which all methods share (ms_cues). best_baseline: best of the methods that are not "
    "learned, each figure for itself.",
)


def overlap_table(truth: NDArray, predicted: NDArray, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Pixels that each true label shares with each predicted one.

    Args:
        truth: (H, W) integers from 0, negative where a pixel is not judged.
        predicted: (H, W) integers from 0.
        shape: More than the largest true and predicted label.

    Returns:
        ``shape`` int64.
    """
    judged = truth >= 0
    codes = truth[judged].astype(np.int64) * shape[1] + predicted[judged]
    return np.bincount(codes, minlength=shape[0] * shape[1]).reshape(shape)


def adjusted_rand_index(table: NDArray) -> float:
    """Agreement of two partitions of the same things (Hubert and Arabie, 1985): 1 the same, about 0 by chance.

    Args:
        table: (K, L) number of things in class k of the one and class l of the other.

    Returns:
        The index; NaN where there is nothing.
    """
    table = table.astype(np.float64)
    if not table.sum():
        return float("nan")

    def pairs(counts: NDArray) -> float:
        return float((counts * (counts - 1)).sum() / 2)

    together, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    expected = rows * columns / max(pairs(table.sum()), 1.0)
    most = (rows + columns) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def foreground_ari(table: NDArray) -> float:
    """`adjusted_rand_index` over the pixels of true objects; NaN where there are less than two of them.

    Args:
        table: Of `overlap_table`; row 0 is the background, column 0 what is predicted as nothing.
    """
    objects = table[1:]
    return adjusted_rand_index(objects) if (objects.sum(1) > 0).sum() > 1 else float("nan")


def best_overlaps(table: NDArray) -> NDArray[np.float64]:
    """Intersection over union of each true object with the segment that fits it best.

    Args:
        table: (N + 1, K + 1) of `overlap_table`.

    Returns:
        (N,): 0 where there is no segment, NaN for objects without a pixel.
    """
    union = table.sum(1)[1:, None] + table.sum(0)[None, 1:] - table[1:, 1:]
    best = (table[1:, 1:] / np.maximum(union, 1)).max(1, initial=0.0)
    return np.where(table[1:].sum(1) > 0, best, np.nan)


def label_boxes(labels: NDArray) -> NDArray[np.float64]:
    """Boxes (K, 4) xyxy of the segments of a frame (H, W), round the largest connected part of each.

    Segments of less than `LEAST_AREA` pixels have none.
    """
    numbers = torch.from_numpy(np.ascontiguousarray(labels, np.int32))
    found = proposals_from_labels(numbers, torch.ones(int(numbers.max()) if numbers.numel() else 0))
    return found.boxes.double().numpy()


def boxes_found(truth: NDArray, predicted: NDArray) -> NDArray[np.bool_]:
    """Which true boxes are met by a predicted one, one to one, pairs of the highest overlap first.

    Args:
        truth: (N, 4) xyxy.
        predicted: (K, 4) xyxy.

    Returns:
        (N,) bool.
    """
    overlap = box_iou(*(np.c_[boxes[:, :2], boxes[:, 2:] - boxes[:, :2]] for boxes in (truth, predicted)))
    found = np.zeros(len(truth), bool)
    while overlap.size and overlap.max() >= MATCHED:
        row, column = np.unravel_index(int(overlap.argmax()), overlap.shape)
        found[row] = True
        overlap[row], overlap[:, column] = 0, 0
    return found


def measure_objects(clip: ObjectClip, methods: Mapping[str, Method]) -> tuple[Tally, dict[str, NDArray]]:
    """Measure methods on a clip.

    Args:
        clip: With truth.
        methods: By name, without blanks.

    Returns:
        Measurements as ``method figure``, and to be drawn of two frames: ``image`` (2, H, W, 3); ``truth`` (2, H, W)
        where there are masks, else ``boxes`` (M, 6) frame (0 or 1), identity and xyxy in pixels of the image; and the
        labels (2, h, w) by method.

    Raises:
        UserError: A method gives no label maps, or not one a frame.
    """
    tally = Tally()
    tally.add("ms_cues", clip.ms_cues)
    chosen = np.linspace(len(clip) // 6, len(clip) - 1 - len(clip) // 6, DRAWN).astype(int).tolist()
    shown = {"image": clip.images[chosen].permute(0, 2, 3, 1).numpy(), **_drawn_truth(clip, chosen)}
    for name, method in methods.items():
        start = time.process_time()
        labels = np.asarray(method(clip))
        tally.add(f"{name} ms", (time.process_time() - start) * 1000 / len(clip))
        if labels.ndim != 3 or labels.dtype.kind not in "iu" or len(labels) != len(clip) or labels.min(initial=0) < 0:
            raise UserError(f"{name}: expected {len(clip)} maps of labels from 0, found {labels.dtype} {labels.shape}")
        shown[name] = labels[chosen]
        _judge(tally, name, clip, np.unique(np.append(0, labels), return_inverse=True)[1][1:].reshape(labels.shape))
    return tally, shown


def _judge(tally: Tally, name: str, clip: ObjectClip, labels: NDArray) -> None:
    """Measure the segmentation (T, h, w) of a clip; labels without gaps."""
    highest = max(
        (int(one.labels.max()) for one in clip.truth if one is not None and one.labels is not None), default=0
    )
    shape = highest + 1, int(labels.max(initial=0)) + 1
    whole = np.zeros(shape, np.int64)
    for truth, small in zip(clip.truth, labels):
        if truth is None:
            continue
        predicted = _resized(small, truth.size)
        _judge_boxes(tally, name, clip, truth, label_boxes(predicted))
        if truth.labels is not None:
            table = overlap_table(truth.labels, predicted, shape)
            whole += table
            _add(tally, f"{name} fg_ari_frame", foreground_ari(table))
            _add(tally, f"{name} mbo_frame", best_overlaps(table))
    best = best_overlaps(whole)
    _add(tally, f"{name} fg_ari_video", foreground_ari(whole))
    _add(tally, f"{name} mbo_video", best)
    for one, still in clip.still.items():
        if one < shape[0] and np.isfinite(best[one - 1]):
            tally.add(f"{name} mbo_video_{'still' if still else 'moving'}", 100 * best[one - 1])


def _judge_boxes(tally: Tally, name: str, clip: ObjectClip, truth: FrameTruth, boxes: NDArray) -> None:
    tally.add(f"{name} boxes", len(boxes))
    found = 100.0 * boxes_found(truth.boxes, boxes)
    tally.add(f"{name} precision50", 100.0 * (np.arange(len(boxes)) < (found > 0).sum()))
    if len(found):
        tally.add(f"{name} recall50", found)
        tally.add(f"{name} corloc", found.max())
    for one, hit in zip(truth.ids.tolist(), found):
        if one in clip.still:
            tally.add(f"{name} recall50_{'still' if clip.still[one] else 'moving'}", hit)


def _add(tally: Tally, name: str, values: float | NDArray) -> None:
    """Add the mean in percent of what is known, if anything is."""
    known = np.atleast_1d(values)[np.isfinite(np.atleast_1d(values))]
    if len(known):
        tally.add(name, 100 * float(known.mean()))


def _resized(labels: NDArray, size: tuple[int, int]) -> NDArray[np.int32]:
    """Labels (H, W) at another size."""
    return cv2.resize(labels.astype(np.int32), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _drawn_truth(clip: ObjectClip, chosen: list[int]) -> dict[str, NDArray]:
    frames, size = [clip.truth[index] for index in chosen], tuple(clip.images.shape[2:])
    if any(one is not None and one.labels is not None for one in frames):
        empty = np.zeros(size, np.int32)
        maps = [empty if one is None or one.labels is None else _resized(one.labels, size) for one in frames]
        return {"truth": np.maximum(maps, 0)}
    rows = [
        np.c_[np.full(len(one.ids), k), one.ids, one.boxes * ((size[1] / one.size[1], size[0] / one.size[0]) * 2)]
        for k, one in enumerate(frames)
        if one is not None
    ]
    return {"boxes": np.concatenate(rows) if rows else np.zeros((0, 6))}


def object_figures(tally: Tally) -> dict[str, Any]:
    """Figures of what `measure_objects` measured, in percent, but for ``ms`` and ``boxes``.

    Returns:
        `FIGURES` and `APART` of the learned method, if there is one; the same with ``_best_baseline``; ``ms_cues``; and
        ``methods`` with those of each method by name.
    """
    names = list(dict.fromkeys(name.split()[0] for name in tally.lists if " " in name))
    methods = {
        name: {
            **{figure: tally.figure(f"{name} {figure}") for figure in (*FIGURES, *APART, "boxes")},
            "ms": tally.figure(f"{name} ms", np.median),
        }
        for name in names
    }
    baselines = [row for name, row in methods.items() if name != LEARNED]
    best = {
        f"{figure}_best_baseline": max(
            (row[figure] for row in baselines if np.isfinite(row[figure])), default=float("nan")
        )
        for figure in (*FIGURES, *APART)
    }
    return {**methods.get(LEARNED, {}), **best, "ms_cues": tally.figure("ms_cues", np.median), "methods": methods}

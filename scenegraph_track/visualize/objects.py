"""Pictures of objects that were found: coloured masks beside the image and the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from scenegraph_track.errors import UserError
from scenegraph_track.visualize.canvas import Pen
from scenegraph_track.visualize.colors import track_colors
from scenegraph_track.visualize.geometry import sheet

OPACITY = 0.6
"""Of the colour of a mask over the grey image."""

DARK = 0.45
"""Brightness of what belongs to no object."""


def draw_masks(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Masks in the colours of their identities over the image in grey; the rest is dark.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (h, w) integers of any size, 0 where there is nothing.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    size = image.shape[1], image.shape[0]
    labels = cv2.resize(labels.astype(np.int32), size, interpolation=cv2.INTER_NEAREST_EXACT)
    ids, at = np.unique(labels, return_inverse=True)
    colors = track_colors(ids).astype(np.float64)[at.reshape(labels.shape)]
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float64)
    drawn = np.where((labels > 0)[..., None], OPACITY * colors + (1 - OPACITY) * grey, DARK * grey)
    return np.round(drawn).astype(np.uint8)


def draw_boxes(image: np.ndarray, ids: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) xyxy in the colours of their identities (N,) over an image, (H, W, 3) uint8 RGB."""
    pen = Pen(image.copy())
    for box, color in zip(boxes, track_colors(ids).tolist()):
        pen.box(box, tuple(color))
    return pen.image


def named_like(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The same segments, each that fits a true object best under its identity, the others under new ones.

    Args:
        labels: (F, h, w) integers, 0 where there is nothing.
        truth: (F, H, W), likewise.

    Returns:
        (F, h, w) int64.
    """
    height, width = labels.shape[1:]
    truth = np.stack(
        [cv2.resize(t.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for t in truth]
    )
    found, at = np.unique(labels, return_inverse=True)
    objects, of = np.unique(truth, return_inverse=True)
    shared = np.zeros((len(found), len(objects)))
    np.add.at(shared, (at.ravel(), of.ravel()), 1)
    union = shared.sum(1)[:, None] + shared.sum(0)[None] - shared
    overlap = np.where((found > 0)[:, None] & (objects > 0)[None], shared / np.maximum(union, 1), 0)
    names = int(truth.max(initial=0)) + found.astype(np.int64)
    for row, column in zip(*linear_sum_assignment(-overlap)):
        if overlap[row, column] > 0:
            names[row] = objects[column]
    names[found == 0] = 0
    return names[at].reshape(labels.shape)


def object_rows(maps: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Pictures of the frames of a clip.

    Args:
        maps: ``image`` (F, H, W, 3) uint8 RGB; ``truth`` (F, H, W) labels, or ``boxes`` (M, 6) frame, identity and xyxy
            pixels; and by any other name labels (F, h, w) that were found.

    Returns:
        A row a frame: pictures (H, W, 3) uint8 RGB by name, ``truth`` for the boxes too.
    """
    found = {name: values for name, values in maps.items() if name not in ("image", "truth", "boxes")}
    if "truth" in maps:
        found = {"truth": maps["truth"], **{name: named_like(values, maps["truth"]) for name, values in found.items()}}
    rows = []
    for frame, image in enumerate(maps["image"]):
        row = {"image": image}
        if "boxes" in maps:
            boxes = maps["boxes"][maps["boxes"][:, 0] == frame]
            row["truth"] = draw_boxes(image, boxes[:, 1].astype(np.int64), boxes[:, 2:])
        rows.append({**row, **{name: draw_masks(image, labels[frame]) for name, labels in found.items()}})
    return rows


def object_sheet(shown: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """What was found in some clips, a row a frame with titles over the columns, (H, W, 3) uint8 RGB.

    Args:
        shown: As for `object_rows`.

    Raises:
        UserError: There are none.
    """
    if not shown:
        raise UserError("--picture: there is no clip to draw")
    rows = [row for maps in shown for row in object_rows(maps)]
    return sheet(rows, {name: name.replace("_", " ") for row in rows for name in row})

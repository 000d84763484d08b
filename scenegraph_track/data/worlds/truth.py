"""What can be read off one drawn frame: ids, silhouettes, boxes, visible fractions, who hides whom, relations."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.raster import Raster, Studio
from scenegraph_track.data.worlds.scene import STATIC_LABEL

RELATIONS = ("occludes", "in_front_of", "left_of", "above", "contains", "near")
"""Columns of `ObjectTruth.relations`: row object *relation* column object."""

OCCLUDES_FROM = 0.02
IN_FRONT_METRES = 0.25
APART_SHARE = 0.05
CONTAINS_SHARE = 0.9
NEAR_EXTENTS = 1.2
"""The thresholds of `relations`."""


@dataclass(frozen=True)
class ObjectTruth:
    """The N objects in one frame; see `WorldFrame` for the fields."""

    instance: NDArray[np.uint16]
    amodal_masks: NDArray[np.bool_]
    visible_boxes: NDArray[np.float32]
    amodal_boxes: NDArray[np.float32]
    visible_fraction: NDArray[np.float32]
    occluded_by: NDArray[np.float32]
    occluded_by_static: NDArray[np.float32]
    relations: NDArray[np.bool_]
    positions: NDArray[np.float32]


def object_truth(studio: Studio, raster: Raster, frame: int) -> ObjectTruth:
    """Measure the objects in a drawn frame."""
    scene = studio.scene
    count, statics = len(scene.objects), len(scene.occluders)
    instance = np.take(studio.label_of_surface, raster.surface)
    masks = np.zeros((count, *instance.shape), bool)
    visible_boxes, amodal_boxes = np.zeros((count, 4), np.float32), np.zeros((count, 4), np.float32)
    fraction = np.zeros(count, np.float32)
    hidden_by = np.zeros((count, STATIC_LABEL + statics), np.float32)
    for index in range(count):
        footprint = raster.footprints[index]
        amodal_boxes[index] = footprint.box
        if not footprint.mask.size:
            continue
        masks[index][footprint.window] = footprint.mask
        ids = instance[footprint.window]
        seen = ids == index + 1
        left, top, width, height = cv2.boundingRect(seen.view(np.uint8))
        if width:
            x, y = left + footprint.window[1].start, top + footprint.window[0].start
            visible_boxes[index] = x, y, x + width, y + height
            fraction[index] = cv2.countNonZero(seen.view(np.uint8)) / footprint.area
        covered = ids[footprint.mask & ~seen]
        if len(covered):
            hidden_by[index] = np.bincount(covered, minlength=hidden_by.shape[1])[: hidden_by.shape[1]] / footprint.area
    depth = np.array([p.depth[frame] for p in studio.projections[:count]])
    centres = np.array([p.points[frame].mean(0) for p in studio.projections[:count]]).reshape(count, 3)
    extent = np.array([np.ptp(p.points[frame], axis=0).max() for p in studio.projections[:count]])
    occluded_by, by_static = hidden_by[:, 1 : count + 1].copy(), hidden_by[:, STATIC_LABEL:].copy()
    in_view = masks.any((1, 2)) if count else np.zeros(0, bool)
    table = relations(amodal_boxes, in_view, depth, centres, extent, occluded_by, scene.size)
    return ObjectTruth(
        instance,
        masks,
        visible_boxes,
        amodal_boxes,
        fraction,
        occluded_by,
        by_static,
        table,
        centres.astype(np.float32),
    )


def relations(
    boxes: NDArray,
    in_view: NDArray[np.bool_],
    depth: NDArray,
    centres: NDArray,
    extent: NDArray,
    occluded_by: NDArray,
    size: tuple[int, int],
) -> NDArray[np.bool_]:
    """Relations between objects.

    Args:
        boxes: (N, 4) amodal boxes.
        in_view: (N,) whether any of the silhouette is in the image; other objects have no relations.
        depth: (N,) metres to the middle of the body.
        centres: (N, 3) middle of the body in the camera, metres.
        extent: (N,) largest extent of the body, metres.
        occluded_by: (N, N) share of the row object's silhouette where the column object is seen instead.
        size: (width, height) of the image.

    Returns:
        (N, N, 6) bool in the order of `RELATIONS`; row i, column j reads "i relation j":

        * occludes: i is seen on more than 2 % of j's silhouette;
        * in_front_of: i's middle is more than 0.25 m nearer to the camera's plane;
        * left_of, above: the middle of i's amodal box is more than 5 % of the image's width (height) to the left
          (higher);
        * contains: i's amodal box holds at least 90 % of j's and is the larger one;
        * near: their middles are closer than 1.2 times the mean of their largest extents (a scale-free "beside").
    """
    count = len(boxes)
    width, height = size
    middle_x, middle_y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    overlap = np.clip(
        np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2]), 0, None
    )
    shared = overlap[..., 0] * overlap[..., 1]
    gap = centres[:, None] - centres[None]
    distance = np.sqrt((gap * gap).sum(-1))
    table = np.empty((count, count, len(RELATIONS)), bool)
    table[..., 0] = occluded_by.T > OCCLUDES_FROM
    table[..., 1] = depth[:, None] < depth[None] - IN_FRONT_METRES
    table[..., 2] = middle_x[:, None] < middle_x[None] - APART_SHARE * width
    table[..., 3] = middle_y[:, None] < middle_y[None] - APART_SHARE * height
    table[..., 4] = (shared >= CONTAINS_SHARE * area[None]) & (area[:, None] > area[None])
    table[..., 5] = distance < NEAR_EXTENTS * (extent[:, None] + extent[None]) / 2
    table &= (in_view[:, None] & in_view[None] & ~np.eye(count, dtype=bool))[..., None]
    return table

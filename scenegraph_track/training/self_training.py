"""Labels of a second round: what a trained detector is sure of is added to what motion has cut out (self-training)."""

from __future__ import annotations

import numpy as np
import torch

from detectors.slot_detector import SlotDetector, full_resolution
from scenegraph_track.training.object_labels import UNKNOWN

SURE, PRESENCE = 0.5, 0.6
"""Probability of a pixel, and presence of a slot, from which the detector is believed."""

LEAST_AREA = 24
"""Pixels of a new object."""

_SAME, _FREE = 0.5, 0.7


@torch.no_grad()
def added_objects(net: SlotDetector, image: np.ndarray, residual: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels with the objects that a detector is sure of.

    An object that is new becomes a label.  Where a slot and a label are the same object, the pixels that only one of
    them has become unknown.

    Args:
        net: In evaluation mode.
        image: (3, H, W) uint8.
        residual: (2, H, W) pixels.
        labels: (H, W) uint8, see `object_labels.make_object_label`.

    Returns:
        (H, W) uint8.
    """
    slots = net.detect(torch.from_numpy(image).float() / 255, torch.from_numpy(residual.astype(np.float32)))
    found = labels.copy()
    if not len(slots):
        return found
    best, place = (part.numpy() for part in full_resolution(slots.masks, labels.shape).max(0))
    used = int(labels[labels != UNKNOWN].max(initial=0))
    for k in np.flatnonzero((slots.presence > PRESENCE).numpy()):
        region = (place == k) & (best > SURE)
        area = int(region.sum())
        if area < LEAST_AREA:
            continue
        shares = np.bincount(labels[region], minlength=UNKNOWN + 1)
        most = 1 + int(shares[1:UNKNOWN].argmax())
        if shares[most] > _SAME * max(area, int((labels == most).sum())):
            found[region ^ (labels == most)] = UNKNOWN
        elif shares[0] + shares[UNKNOWN] > _FREE * area and used < UNKNOWN - 1:
            used += 1
            found[region & ((labels == 0) | (labels == UNKNOWN))] = used
    return found

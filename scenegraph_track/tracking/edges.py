"""Edges of the scene graph of one frame, as `SceneGraph.build` takes them."""

from __future__ import annotations

import numpy as np

from scenegraph_track.graph.relations import relations_from_boxes
from scenegraph_track.structures import CUES
from scenegraph_track.tracking.matching import paired_iou
from scenegraph_track.tracking.reference import Association
from scenegraph_track.tracking.targets import SeenTargets


def temporal_edges(
    decided: Association, detected: np.ndarray, timestamp: float, gate: float, own: SeenTargets | None
) -> dict[str, np.ndarray]:
    """What was weighed, its share among its track's candidates, and the evidence of each cue.

    Args:
        decided: The association of the frame.
        detected: (M, 4) xyxy pixels, all detections of the frame.
        timestamp: Of the frame, seconds.
        gate: Similarity at which a track and no detection at all are as likely.
        own: Targets that a user gave, if any; they take their detections out of the association.
    """
    detected = detected if own is None else detected[own.free]
    track, detection = decided.candidates[:2].astype(np.int64)
    similar, told = decided.candidates[2], decided.candidates[3:].T
    owner = np.full(len(detected) + 1, -1)
    owner[decided.detection] = np.arange(len(decided.detection))
    owner[-1] = -1
    kept = owner[detection] >= 0
    track, detection, similar, told = track[kept], detection[kept], similar[kept], told[kept]
    total = np.bincount(track, similar, minlength=len(decided.tracks)) + gate
    expected, found = decided.predicted[track], detected[detection]
    height = np.maximum(found[:, 3] - found[:, 1], 1e-6)
    apart = np.hypot(*((expected[:, :2] + expected[:, 2:] - found[:, :2] - found[:, 2:]) / 2).T) / height
    heights = expected[:, 3] - expected[:, 1], found[:, 3] - found[:, 1]
    evidence = {
        "motion": np.exp(-apart),
        "overlap": paired_iou(expected, found),
        "size": np.minimum(*heights) / np.maximum(np.maximum(*heights), 1e-6),
    }
    cue = np.stack([evidence.get(name, np.zeros(len(track))) for name in CUES], axis=1)
    cue /= np.maximum(cue.sum(1, keepdims=True), 1e-9)
    probability = similar / total[track]
    if told.shape[1]:
        known = np.isfinite(told[:, 0])
        probability = np.where(known, told[:, 0], probability)
        cue = np.where(known[:, None], told[:, 1:], cue)
    edges = {
        "edge_index": np.stack([track, owner[detection]]),
        "probability": probability,
        "cue": cue,
        "gap": timestamp - decided.last_seen[track],
    }
    return edges if own is None else own.joined_edges(edges, len(decided.tracks))


def spatial_edges(boxes: np.ndarray, stay: np.ndarray, depths: np.ndarray | None) -> dict[str, np.ndarray]:
    """Relations by stated rules.

    Args:
        boxes: (N, 4) xyxy pixels of all nodes.
        stay: (N,) bool, those that may have edges.
        depths: (N,) metres, or None.
    """
    edges = relations_from_boxes(boxes[stay], None if depths is None else depths[stay])
    return edges | {"edge_index": np.flatnonzero(stay)[edges["edge_index"]]}

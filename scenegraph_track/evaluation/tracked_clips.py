"""Objects that were discovered and tracked, as boxes and as masks, against the truth of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from detectors.carrying import NumberedMasks, number_masks
from detectors.slot_detector import SlotDetector
from scenegraph_track.discovery import discovered_detections, objects_of
from scenegraph_track.evaluation.mot import evaluate_sequence
from scenegraph_track.evaluation.object_clips import ObjectClip
from scenegraph_track.evaluation.objects import best_overlaps, foreground_ari, overlap_table
from scenegraph_track.structures import Detections, ObjectState

BOXES = ("HOTA", "DetA", "AssA", "IDF1", "IDSW")
MASKS = ("fg_ari", "mbo")


@dataclass(frozen=True, eq=False)
class Told:
    """What a method says of a frame.

    Args:
        ids: (N,) identities, each once.
        boxes: (N, 4) xyxy pixels of the clip's images.
        masks: (M, H, W) bool of some objects.
        mask_ids: (M,) their identities.
    """

    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    masks: NDArray[np.bool_]
    mask_ids: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Proposed:
    """What the detector finds in the frames of a clip, each frame on its own, and numbers along the flow.

    Args:
        detections: Of each frame, with masks and embeddings.
        numbers: (N,) of the detections of each frame, the same for an object as long as its masks overlap.
    """

    detections: tuple[Detections, ...]
    numbers: tuple[NDArray[np.int64], ...]


def propose(net: SlotDetector, clip: ObjectClip, least: float) -> Proposed:
    """Find the objects of every frame.

    Args:
        net: In evaluation mode.
        clip: With cues.
        least: Score from which a detection counts.
    """
    state, detections, numbers = NumberedMasks.start(), [], []
    for image, cue in zip(clip.images, clip.cues):
        found = objects_of(net, image.float() / 255, cue.residual)
        state, given = number_masks(state, found.cells, cue.flow)
        proposed = discovered_detections(found)
        assert proposed.masks is not None
        labels = found.labels(given)
        own = [labels[mask.bool()][0] for mask in proposed.masks]  # a mask lies within the pixels of one object
        kept = proposed.scores >= least
        detections.append(proposed[kept])
        numbers.append(torch.tensor(own, dtype=torch.int64)[kept].numpy())
    return Proposed(tuple(detections), tuple(numbers))


def numbered(proposed: Proposed) -> list[Told]:
    """Video slots alone: the detections under their numbers."""
    return [
        Told(ids, found.boxes.double().numpy(), _masks(found), ids)
        for found, ids in zip(proposed.detections, proposed.numbers)
    ]


def tracked(scenes: Sequence, proposed: Proposed) -> list[Told]:
    """What a tracker makes of the same detections: all boxes that it shows, and the masks of those that are seen."""
    told = []
    for scene, found in zip(scenes, proposed.detections):
        nodes, shown = scene.nodes, scene.shown
        seen = shown & (nodes["state"] == int(ObjectState.VISIBLE)) & (nodes["detection"] >= 0)
        masks = _masks(found)[nodes["detection"][seen].numpy()]
        boxes = nodes["box"][shown].double().numpy()
        told.append(Told(nodes["track_id"][shown].numpy(), boxes, masks, nodes["track_id"][seen].numpy()))
    return told


def without_looks(found: Detections) -> Detections:
    """The same without embeddings."""
    return replace(found, embeddings=None)


def judge(clip: ObjectClip, told: Sequence[Told]) -> dict[str, float]:
    """Figures of boxes (`BOXES`) and, where the truth has masks, of whole videos (`MASKS`), in percent but for IDSW."""
    truth_rows, rows = [], []
    for number, (truth, one) in enumerate(zip(clip.truth, told), start=1):
        if truth is None:
            continue
        scale = np.tile(np.array(truth.size[::-1]) / clip.images.shape[:1:-1], 2)
        truth_rows.append(_rows(number, truth.ids, truth.boxes, 3))
        rows.append(_rows(number, one.ids, one.boxes * scale, 1))
    found = evaluate_sequence(np.concatenate(truth_rows), np.concatenate(rows), len(clip))
    return {name: float(found[name]) for name in BOXES} | _judge_masks(clip, told)


def _judge_masks(clip: ObjectClip, told: Sequence[Told]) -> dict[str, float]:
    known = [truth for truth in clip.truth if truth is not None and truth.labels is not None]
    identities = np.unique(np.concatenate([np.zeros(0, np.int64), *(one.mask_ids for one in told)]))
    whole = np.zeros((max((int(one.labels.max()) for one in known), default=0) + 1, len(identities) + 1), np.int64)
    for truth, one in zip(clip.truth, told):
        if truth is None or truth.labels is None:
            continue
        labels = np.zeros(tuple(clip.images.shape[2:]), np.int32)
        for mask, identity in zip(one.masks, one.mask_ids):
            labels[mask] = np.searchsorted(identities, identity) + 1
        labels = cv2.resize(labels, truth.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        whole += overlap_table(truth.labels, labels, whole.shape)
    if not known:
        return dict.fromkeys(MASKS, float("nan"))
    return {"fg_ari": 100 * foreground_ari(whole), "mbo": 100 * float(np.nanmean(best_overlaps(whole)))}


def _masks(found: Detections) -> NDArray[np.bool_]:
    assert found.masks is not None
    return found.masks.bool().numpy()


def _rows(number: int, ids: NDArray, boxes: NDArray, ones: int) -> NDArray[np.float64]:
    sides = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    return np.c_[np.full(len(ids), number), ids, *sides, np.ones((len(ids), ones))]

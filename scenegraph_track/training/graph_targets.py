"""What the graph tracker should have said of a frame: whose each track is, and where its object is now."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.graph.features import FrameFeatures
from scenegraph_track.tracking.reference import Situation
from scenegraph_track.training.graph_data import FALSE, Clip, Moment, counts, owners

UNKNOWN, ALONE = -2, -1


@dataclass(frozen=True)
class Targets:
    """Targets of a frame of N tracks, M detections and E edges.

    Args:
        edge_of_track: (N,) the right edge, `ALONE` where the object is not detected, `UNKNOWN` where nothing is right:
            tracks of false detections, and objects detected out of reach.
        edge_of_detection: (M,) the right edge, `ALONE` where no track has this object yet, else `UNKNOWN`.
        track: (N,) bool, tracks of an object.
        visibility: (N,) visible part of it, 0 where it is not there.
        is_object: (M,) bool.
        refinement: (M, 4) the true box as in `GraphOutput.refinement`, NaN where unknown.
    """

    edge_of_track: np.ndarray
    edge_of_detection: np.ndarray
    track: np.ndarray
    visibility: np.ndarray
    is_object: np.ndarray
    refinement: np.ndarray


def frame_targets(clip: Clip, situation: Situation, moment: Moment, features: FrameFeatures) -> Targets:
    """The targets of a frame, by what the tracks have matched before it."""
    owner = owners(counts(clip, situation))
    m = len(moment.owner)
    detection_of = np.full(clip.identities + 1, -1)
    detection_of[moment.owner[moment.first]] = np.flatnonzero(moment.first)
    track_of = np.full(clip.identities + 1, -1)
    track_of[owner[owner > FALSE]] = np.flatnonzero(owner > FALSE)
    wanted = np.where(owner > FALSE, detection_of[np.maximum(owner, 0)], -1)
    of_track = np.where(wanted >= 0, _edges(features, m, np.arange(len(owner)), wanted), ALONE)
    of_track[owner == FALSE] = UNKNOWN
    holder = track_of[moment.owner]
    of_detection = np.where(holder >= 0, _edges(features, m, holder, np.arange(m)), ALONE)
    of_detection[~moment.first] = UNKNOWN
    size = np.maximum(moment.boxes[:, 2:] - moment.boxes[:, :2], 1.0)
    true = moment.truth[moment.owner]
    middle = (true[:, :2] + true[:, 2:] - moment.boxes[:, :2] - moment.boxes[:, 2:]) / 2
    return Targets(
        edge_of_track=of_track,
        edge_of_detection=of_detection,
        track=owner > FALSE,
        visibility=moment.visibility[np.maximum(owner, 0)],
        is_object=moment.owner != FALSE,
        refinement=np.concatenate([middle / size, np.log((true[:, 2:] - true[:, :2]) / size)], axis=1),
    )


def _edges(features: FrameFeatures, detections: int, track: np.ndarray, detection: np.ndarray) -> np.ndarray:
    """Numbers of the edges of these pairs, `UNKNOWN` where there is none."""
    key = features.edge_index[0] * detections + features.edge_index[1]  # sorted, see `candidate_edges`
    wanted = track * detections + detection
    place = np.searchsorted(key, wanted)
    found = np.append(key, -1)[place] == wanted
    return np.where(found, place, UNKNOWN)


@dataclass(frozen=True)
class JoinedTargets:
    """`Targets` of frames side by side, as tensors."""

    edge_of_track: Tensor
    edge_of_detection: Tensor
    track: Tensor
    visibility: Tensor
    is_object: Tensor
    refinement: Tensor


def joined_targets(targets: list[Targets], edges: list[int], device: torch.device) -> JoinedTargets:
    """Targets of frames whose graphs are put side by side, ``edges`` of each before."""
    columns = {}
    for field in fields(Targets):
        parts = [getattr(t, field.name) for t in targets]
        if field.name.startswith("edge_of"):
            parts = [np.where(part >= 0, part + begin, part) for part, begin in zip(parts, edges, strict=True)]
        values = np.concatenate(parts)
        columns[field.name] = torch.from_numpy(values.astype(np.float32) if values.dtype.kind == "f" else values).to(
            device
        )
    return JoinedTargets(**columns)


def joined_features(features: list[FrameFeatures], device: torch.device) -> dict[str, Tensor]:
    """The arguments of `GraphTracker.forward` besides the memory, for graphs side by side."""
    arrays = {
        field.name: np.concatenate([getattr(f, field.name) for f in features])
        for field in fields(FrameFeatures)
        if field.name != "edge_index"
    }
    rows = np.cumsum([0, *(len(f.tracks) for f in features[:-1])])
    columns = np.cumsum([0, *(len(f.detections) for f in features[:-1])])
    ends = [f.edge_index + np.array([[r], [c]]) for f, r, c in zip(features, rows, columns, strict=True)]
    arrays["edge_index"] = np.concatenate(ends, axis=1)
    return {name: torch.from_numpy(values).to(device) for name, values in arrays.items()}

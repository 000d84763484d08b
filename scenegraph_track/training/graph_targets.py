"""What the graph tracker should have said of a frame: whose each track is, and where its object is now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenegraph_track.graph.features import FrameFeatures
from scenegraph_track.training.graph_data import FALSE, Moment

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


def frame_targets(moment: Moment, features: FrameFeatures, owner: np.ndarray) -> Targets:
    """The targets of a frame whose tracks are those of ``owner`` (N,), see `owners`."""
    m, identities = len(moment.owner), len(moment.visibility)
    detection_of = np.full(identities, -1)
    detection_of[moment.owner[moment.first]] = np.flatnonzero(moment.first)
    track_of = np.full(identities, -1)
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


def owners(had: np.ndarray) -> np.ndarray:
    """(N,) whose track each is by its counts (N, I + 1): `FALSE`, an identity, or -1 where another has more of it."""
    if len(had) == 0:
        return np.zeros(0, dtype=np.int64)
    owner = had.argmax(1)
    strength = had[np.arange(len(had)), owner]
    order = np.lexsort((-strength, owner))
    later = np.zeros(len(owner), dtype=bool)
    later[order[1:]] = owner[order[1:]] == owner[order[:-1]]
    return np.where(later & (owner != FALSE), -1, owner)


def _edges(features: FrameFeatures, detections: int, track: np.ndarray, detection: np.ndarray) -> np.ndarray:
    """Numbers of the edges of these pairs, `UNKNOWN` where there is none."""
    key = features.edge_index[0] * detections + features.edge_index[1]  # sorted, see `candidate_edges`
    wanted = track * detections + detection
    place = np.searchsorted(key, wanted)
    found = np.append(key, -1)[place] == wanted
    return np.where(found, place, UNKNOWN)

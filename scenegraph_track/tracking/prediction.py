"""How likely a predicted box lies on its object: what the rule of ``emission`` is told."""

from __future__ import annotations

import numpy as np

from scenegraph_track.structures import TrackerState
from scenegraph_track.tracking import motion
from scenegraph_track.tracking.emission import covers, inside_part, load_rules
from scenegraph_track.tracking.reference import Association


def shown_chance(state: TrackerState, decided: Association, image_size: tuple[int, int] | None) -> np.ndarray:
    """(N,) chance that a predicted box lies on its object (IoU > 0.5) and that is no other's; NaN if seen."""
    chance = np.full(len(decided.tracks), np.nan)
    hidden = np.flatnonzero(decided.detection < 0)
    if len(hidden):
        chance[hidden] = load_rules()["predicted"](predicted_features(state, decided, image_size, hidden))
    return chance


def predicted_features(
    state: TrackerState, decided: Association, image_size: tuple[int, int] | None, rows: np.ndarray
) -> np.ndarray:
    """Features (len(rows), F) of predicted boxes, in the order of ``emission.PREDICTED``.

    Seconds away and steps missed, age, number and rate of detections, speed and spread of the prediction in heights,
    the part behind a nearer detection, the largest overlap with one, the part inside the image, the last score, the
    part of all tracks that is hidden, seconds between frames, width over height.
    """
    tracks, boxes = decided.tracks, decided.boxes[rows]
    chosen = motion.chosen_filter(state.filter_errors)
    found = decided.boxes[decided.detection >= 0]
    size, hits, seen = tracks.size[rows], tracks.hits[rows], tracks.seen[rows]
    height = np.maximum(size[:, 1], 1.0)
    step = state.step if np.isfinite(state.step) else 0.0
    away, age = state.timestamp - seen, seen - tracks.born[rows]
    front, overlap = covers(boxes, found, np.zeros((len(rows), len(found)), dtype=bool))
    columns = {
        "away": away,
        "missed": np.log1p(tracks.missed[rows]),
        "age": np.log1p(age),
        "hits": np.log1p(hits),
        "hit_rate": hits / np.maximum(1 + age / max(step, 1e-3), 1.0),
        "speed": np.hypot(*tracks.centre_velocity[rows, chosen].T) / height,
        "spread": np.sqrt(tracks.centre_covariance[rows, chosen, 0]) / height,
        "in_front": front,
        "overlap": overlap,
        "inside": inside_part(boxes, image_size),
        "score": tracks.scores[rows],
        "crowd": np.full(len(rows), 1 - len(found) / max(len(decided.tracks), 1)),
        "step": np.full(len(rows), step),
        "shape": size[:, 0] / height,
    }
    return np.stack(list(columns.values()), axis=1)

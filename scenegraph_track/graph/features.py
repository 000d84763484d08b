"""What the graph tracker looks at: numbers of candidate edges, tracks and detections, free of resolution and rate.

Lengths are in heights of the track, times in seconds, and everything is squashed to the order of 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EDGE_CUES: dict[str, tuple[str, ...]] = {
    "motion": (
        *("right", "down", "apart", "surprise", "right_of_last", "down_of_last", "apart_of_last", "speed"),
        *("heading", "foot"),
    ),
    "overlap": ("similar", "similar_to_last", "iou", "iou_of_last", "covers_track", "covers_detection"),
    "appearance": ("likeness",),
    "depth": ("farther", "depth_apart"),
    "size": ("wider", "taller", "width_change", "height_change", "wider_than_last", "taller_than_last"),
}
"""Features of a candidate edge by the cue that they belong to, in this order."""

EDGE_CONTEXT = ("base", "unsure", "tentative")
"""Features of an edge that belong to no cue: what the reference tracker makes of it above its gate, and its stage."""

TRACK = (
    *("hits", "missed", "away", "age", "score", "right_speed", "down_speed", "speed", "spread", "in_front"),
    *("overlap", "behind", "inside", "shape", "confirmed", "candidates"),
)
"""Features of a track."""

DETECTION = ("sureness", "in_front", "overlap", "inside", "shape", "scale", "candidates", "unsure")
"""Features of a detection."""

CONTEXT = ("step", "objects", "hidden", "noise")
"""Features of the frame, told to every track and detection."""

EDGE_WIDTH = sum(len(names) for names in EDGE_CUES.values()) + len(EDGE_CONTEXT)


@dataclass(frozen=True)
class FrameArrays:
    """Tracks and detections of one frame as plain arrays.

    Args:
        expected: (N, 4) predicted boxes, xyxy pixels.
        last: (N, 4) last matched boxes, moved with the camera since.
        velocity: (N, 2) pixels per second.
        spread: (N,) standard deviation of the predicted centre, pixels.
        away: (N,) seconds since last seen.
        age: (N,) seconds from the first to the last detection.
        hits: (N,) number of detections.
        missed: (N,) steps since the last one.
        score: (N,) sureness of the last one.
        confirmed: (N,) bool.
        depth: (N,), NaN where unknown.
        found: (M, 4) detections, xyxy pixels.
        sureness: (M,).
        unsure: (M,) bool, below the first stage.
        found_depth: (M,), NaN where unknown.
        likeness: (E,) similarity of appearance in [-1, 1] of the candidate edges, NaN where unknown.
        track: (E,) rows of tracks.
        detection: (E,) rows of detections.
        similar: (E,) similarity of the reference tracker to where a track is expected.
        similar_to_last: (E,) and to where it was.
        base: (E,) similarity above the gate of the stage that weighs the pair.
        step: Seconds since the last frame.
        noise: Which filter of the bank is chosen, 0 (smooth motion) to 1.
        image_size: (W, H) or None.
    """

    expected: np.ndarray
    last: np.ndarray
    velocity: np.ndarray
    spread: np.ndarray
    away: np.ndarray
    age: np.ndarray
    hits: np.ndarray
    missed: np.ndarray
    score: np.ndarray
    confirmed: np.ndarray
    depth: np.ndarray
    found: np.ndarray
    sureness: np.ndarray
    unsure: np.ndarray
    found_depth: np.ndarray
    likeness: np.ndarray
    track: np.ndarray
    detection: np.ndarray
    similar: np.ndarray
    similar_to_last: np.ndarray
    base: np.ndarray
    step: float
    noise: float
    image_size: tuple[int, int] | None


@dataclass(frozen=True)
class FrameFeatures:
    """What `GraphTracker` takes, as float32 arrays.

    Args:
        tracks: (N, len(TRACK) + len(CONTEXT)).
        detections: (M, len(DETECTION) + len(CONTEXT)).
        edges: (E, EDGE_WIDTH).
        offset: (E, 4) detection minus expectation: centre in heights, logarithms of width and height.
        base: (E,).
        available: (E, 5) bool, which cues are known.
        edge_index: (2, E) int64, tracks over detections.
    """

    tracks: np.ndarray
    detections: np.ndarray
    edges: np.ndarray
    offset: np.ndarray
    base: np.ndarray
    available: np.ndarray
    edge_index: np.ndarray


def frame_features(frame: FrameArrays) -> FrameFeatures:
    """The features of one frame."""
    offset, edges, available = _edges(frame)
    context = _context(frame)
    return FrameFeatures(
        tracks=_with(context, _tracks(frame)),
        detections=_with(context, _detections(frame)),
        edges=edges,
        offset=offset,
        base=frame.base.astype(np.float32),
        available=available,
        edge_index=np.stack([frame.track, frame.detection]),
    )


def _edges(frame: FrameArrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    i, j = frame.track, frame.detection
    centre, size = _centre_size(frame.expected)
    old_centre, old_size = _centre_size(frame.last)
    new_centre, new_size = _centre_size(frame.found)
    height = size[i, 1]
    apart = (new_centre[j] - centre[i]) / height[:, None]
    apart_last = (new_centre[j] - old_centre[i]) / height[:, None]
    resized = np.log(new_size[j] / size[i])
    resized_last = np.log(new_size[j] / old_size[i])
    distance, distance_last = np.hypot(*apart.T), np.hypot(*apart_last.T)
    area, new_area = size.prod(1)[i], new_size.prod(1)[j]
    shared = _shared(frame.expected[i], frame.found[j])
    shared_last = _shared(frame.last[i], frame.found[j])
    velocity = frame.velocity[i] / height[:, None]
    speed = np.hypot(*velocity.T)
    heading = (velocity * apart_last).sum(1) / (speed * distance_last + 0.05)
    foot = (frame.found[j, 3] - frame.expected[i, 3]) / height
    farther = np.log(np.maximum(frame.found_depth[j], 1e-3) / np.maximum(frame.depth[i], 1e-3))
    deep = np.isfinite(farther)
    farther = np.where(deep, np.clip(farther, -2, 2), 0.0)
    alike = np.isfinite(frame.likeness)
    columns = (
        *_squash(apart.T),
        np.log1p(distance),
        np.log1p(distance * height / (frame.spread[i] + 0.03 * height)),
        *_squash(apart_last.T),
        np.log1p(distance_last),
        np.log1p(distance_last / (frame.away[i] + 0.02)) / 3,
        heading,
        _squash(foot),
        frame.similar,
        frame.similar_to_last,
        shared / (area + new_area - shared),
        shared_last / (old_size.prod(1)[i] + new_area - shared_last),
        shared / area,
        shared / new_area,
        np.where(alike, frame.likeness, 0.0),
        2 * farther,
        2 * np.abs(farther),
        *_squash(2 * resized.T),
        *_squash(2 * np.abs(resized).T),
        *_squash(2 * resized_last.T),
        2 * frame.base,
        frame.unsure[j],
        ~frame.confirmed[i],
    )
    always = np.ones_like(deep)
    available = np.stack([always, always, alike, deep, always], axis=1)
    offset = np.concatenate([np.clip(apart, -4, 4), np.clip(resized, -2, 2)], axis=1)
    return offset.astype(np.float32), _with((), columns), available


def _tracks(frame: FrameArrays) -> tuple[np.ndarray, ...]:
    centre, size = _centre_size(frame.expected)
    height = size[:, 1]
    velocity = frame.velocity / height[:, None]
    front, overlap, behind = _crowding(frame.expected)
    return (
        np.log1p(frame.hits) / 3,
        np.log1p(frame.missed) / 3,
        np.sqrt(np.maximum(frame.away, 0)),
        np.log1p(np.maximum(frame.age, 0)) / 2,
        frame.score,
        *_squash(velocity.T),
        np.log1p(np.hypot(*velocity.T)),
        np.log(frame.spread / height + 0.01) / 3 + 1,
        front,
        overlap,
        behind,
        _inside(frame.expected, frame.image_size),
        np.log(size[:, 0] / height) + 1,
        frame.confirmed,
        np.bincount(frame.track, minlength=len(centre)) / 4,
    )


def _detections(frame: FrameArrays) -> tuple[np.ndarray, ...]:
    size = _centre_size(frame.found)[1]
    front, overlap, _ = _crowding(frame.found)
    typical = np.log(np.median(size[:, 1])) if len(size) else 0.0
    return (
        frame.sureness,
        front,
        overlap,
        _inside(frame.found, frame.image_size),
        np.log(size[:, 0] / size[:, 1]) + 1,
        np.log(size[:, 1]) - typical,
        np.bincount(frame.detection, minlength=len(size)) / 4,
        frame.unsure,
    )


def _context(frame: FrameArrays) -> tuple[float, ...]:
    hidden = float((frame.missed > 1).mean()) if len(frame.missed) else 0.0
    return (np.log(frame.step + 0.01) / 2 + 1.5, np.log1p(len(frame.found)) / 4, hidden, frame.noise)


def _with(context: tuple[float, ...], columns: tuple[np.ndarray, ...]) -> np.ndarray:
    table = np.empty((len(columns[0]), len(columns) + len(context)), dtype=np.float32)
    for k, column in enumerate(columns):
        table[:, k] = column
    table[:, len(columns) :] = context
    return table


def _centre_size(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)


def _squash(values: np.ndarray) -> np.ndarray:
    return values / (0.5 + np.abs(values))


def _shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0).prod(1)


def _inside(boxes: np.ndarray, image_size: tuple[int, int] | None) -> np.ndarray:
    if image_size is None:
        return np.ones(len(boxes))
    inside = np.clip(boxes, 0, np.array([*image_size, *image_size], dtype=np.float64))
    return (inside[:, 2:] - inside[:, :2]).prod(1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-6)


def _crowding(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The part of each box that the worst other one in front covers, the largest IoU, the part covered by one behind.

    In front is what has its lower edge further down.  Neighbours are found by a sweep over x, in linear memory.
    """
    n = len(boxes)
    if n < 2:
        return np.zeros(n), np.zeros(n), np.zeros(n)
    a, b = _overlapping(boxes)
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-6)
    shared = _shared(boxes[a], boxes[b])
    part = shared / area[a]
    ahead = boxes[b, 3] > boxes[a, 3]
    front, overlap, behind = np.zeros(n), np.zeros(n), np.zeros(n)
    np.maximum.at(front, a, np.where(ahead, part, 0.0))
    np.maximum.at(behind, a, np.where(ahead, 0.0, part))
    np.maximum.at(overlap, a, shared / (area[a] + area[b] - shared))
    return front, overlap, behind


def _overlapping(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of different boxes whose spans of x overlap, in both orders."""
    order = np.argsort(boxes[:, 0], kind="stable")
    count = np.searchsorted(boxes[order, 0], boxes[order, 2]) - np.arange(len(boxes)) - 1
    count = np.maximum(count, 0)
    first = np.repeat(np.arange(len(boxes)), count)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    a, b = order[first], order[second]
    return np.concatenate([a, b]), np.concatenate([b, a])

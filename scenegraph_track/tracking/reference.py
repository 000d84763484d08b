"""The reference tracker: association by motion alone, which every learned part has to beat.

One step is a pure function of the state and the detections of a frame:

1. predict every track to the time of the frame and move it with the camera;
2. match sure detections to confirmed tracks by expanded overlap and height; what is left to where tracks were in the
   last frame (an object that reversed); then unsure detections to tracks that were seen in the last frame (ByteTrack:
   Zhang et al., ECCV 2022); then what is left to tentative tracks; different classes never match;
3. correct matched tracks; hidden tracks share the part of the correction that all visible ones have in common;
4. confirm, hide, forget, and start tracks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scenegraph_track.config import TrackerSettings
from scenegraph_track.structures import LeftTable, TrackerState, TrackTable
from scenegraph_track.tracking import motion
from scenegraph_track.tracking.appearance import recalled, seen_appearance, unit
from scenegraph_track.tracking.learned import Correction, LearnedCost
from scenegraph_track.tracking.life import born_tracks, has_left
from scenegraph_track.tracking.matching import match, median, not_taken, similarity
from scenegraph_track.tracking.situation import Situation, boxes_of


@dataclass(frozen=True)
class Association:
    """What one step decided, for the graph and for learned parts on top.

    Args:
        tracks: All tracks after the step, those that left in this frame included.
        boxes: (N, 4) boxes of these tracks, xyxy pixels: the detection where matched, else the prediction.
        predicted: (N, 4) where each track was expected before the detections were looked at.
        last_seen: (N,) seconds of the detection before this frame's.
        detection: (N,) row of the matched detection or -1.
        left: (N,) bool, forgotten in this frame.
        candidates: (3, P) track row, detection row and similarity of every pair that was weighed, as float64; (9, P)
            where a learned tracker told, with the probability of the match and the weights of the five cues.
    """

    tracks: TrackTable
    boxes: np.ndarray
    predicted: np.ndarray
    last_seen: np.ndarray
    detection: np.ndarray
    left: np.ndarray
    candidates: np.ndarray


def start_state() -> TrackerState:
    """The state before the first frame."""
    nothing = np.zeros(0)
    return TrackerState(
        next_frame=0,
        timestamp=float("nan"),
        step=float("nan"),
        next_id=1,
        tracks=TrackTable.empty(len(motion.BANK)),
        left=LeftTable.empty(),
        filter_errors=motion.start_errors(),
        spread=np.array([10.0, 10.0]),
        score_memory=np.zeros((0, 2)),
        last_boxes=np.zeros((0, 4)),
        last_scores=nothing,
        background=np.zeros((0, 0), dtype=np.uint8),
        intrinsics=np.zeros((0, 0)),
        world_from_camera=np.zeros((0, 0)),
        scene_ids=np.zeros(0, dtype=np.int64),
        scene_memory=np.zeros((0, 0)),
    )


def associate(situation: Situation, learned: LearnedCost | None = None) -> tuple[TrackerState, Association]:
    """One step of the reference tracker.

    Args:
        situation: The frame, see `situation.prepare`.
        learned: Corrects the similarities; None: nothing learned.

    Returns:
        The next state and what was decided.
    """
    if learned is None:
        return conclude(situation, *matched(situation))
    correction = learned.correct(situation)
    detection, candidates = matched(situation, correction)
    return conclude(situation, detection, candidates, *learned.remember(situation, correction, detection))


def conclude(
    situation: Situation,
    detection: np.ndarray,
    candidates: np.ndarray,
    memory: np.ndarray | None = None,
    newborn_memory: np.ndarray | None = None,
) -> tuple[TrackerState, Association]:
    """Correct the matched tracks, start new ones and forget others.

    Args:
        situation: See `situation.prepare`.
        detection: (N,) row of the matched detection of each track or -1.
        candidates: See `Association`, here by rows of the situation.
        memory: (N, D) of the tracks, None where nothing is learned.
        newborn_memory: (M, D) with which a track that starts at a detection begins.

    Returns:
        The next state and what was decided.
    """
    state, settings, timestamp = situation.before, situation.settings, situation.timestamp
    boxes, sure, classes, depths = situation.boxes, situation.sure, situation.classes, situation.depths
    chosen, predicted, last_seen = situation.chosen, situation.predicted, situation.tracks.seen
    first = np.isnan(state.timestamp)
    tracks, errors, spread = _corrected(
        situation.tracks, state, settings, detection, boxes, sure, classes, timestamp, chosen
    )
    if memory is not None:
        tracks = replace(tracks, memory=memory)
    if depths is not None:
        found = np.where(detection >= 0, depths[detection], np.nan) if len(depths) else np.full(len(tracks), np.nan)
        tracks = replace(tracks, depth=np.where(np.isfinite(found), found, tracks.depth))

    tracks = seen_appearance(tracks, situation.embeddings, detection)
    births = _births(situation, detection)
    if len(births):
        born = _born(situation, births, tracks, newborn_memory)
        tracks = tracks.joined(born)
        detection = np.concatenate([detection, births])
        predicted = np.concatenate([predicted, boxes[births]])
        last_seen = np.concatenate([last_seen, born.seen])
    sure_enough = first | (tracks.hits >= settings.life.confirm_hits)
    new = np.flatnonzero((tracks.ids == 0) & (detection >= 0) & sure_enough)
    known = recalled(state.left, tracks, new, timestamp, settings.life)
    tracks.ids[new[known >= 0]] = state.left.ids[known[known >= 0]]
    new = new[known < 0]
    tracks.ids[new] = state.next_id + np.arange(len(new))

    out = boxes_of(tracks, chosen)
    out[detection >= 0] = boxes[detection[detection >= 0]]
    left = has_left(tracks, out, timestamp, settings, situation.image_size)
    after = replace(
        state,
        next_frame=state.next_frame + 1,
        timestamp=timestamp,
        step=state.step if first else timestamp - state.timestamp,
        next_id=state.next_id + len(new),
        tracks=tracks[~left] if left.any() else tracks,
        left=_gone(state.left, known, tracks, left, timestamp, settings),
        filter_errors=errors,
        spread=spread,
        score_memory=situation.score_memory,
        last_boxes=boxes.copy(),  # the caller may go on writing into his arrays
        last_scores=situation.scores.copy(),
    )
    shown = tracks.ids > 0
    rows = np.cumsum(shown) - 1
    kept = shown[candidates[0].astype(np.int64)]
    candidates = candidates[:, kept]
    candidates[0] = rows[candidates[0].astype(np.int64)]
    decided = Association(
        tracks[shown], out[shown], predicted[shown], last_seen[shown], detection[shown], left[shown], candidates
    )
    return after, decided


def _births(situation: Situation, detection: np.ndarray) -> np.ndarray:
    """Rows of the detections that start a track: sure ones that no track has."""
    free = not_taken(situation.high, detection, len(situation.sure))
    return free[situation.sure[free] >= situation.settings.scores.birth]


def _born(situation: Situation, births: np.ndarray, tracks: TrackTable, memory: np.ndarray | None) -> TrackTable:
    """The tracks that start at these detections, with tables as wide as those of ``tracks``."""
    boxes, sure, classes = situation.boxes[births], situation.sure[births], situation.classes
    settings, count = situation.settings, len(births)
    born = born_tracks(boxes, sure, None if classes is None else classes[births], settings, situation.timestamp)
    looks = np.zeros((count, tracks.appearance.shape[1]))
    if situation.embeddings is not None:
        looks = unit(situation.embeddings[births])
    return replace(
        born,
        depth=born.depth if situation.depths is None else situation.depths[births],
        appearance=looks,
        memory=np.zeros((count, tracks.memory.shape[1])) if memory is None else memory[births],
    )


def _gone(
    before: LeftTable,
    recalled_: np.ndarray,
    tracks: TrackTable,
    left: np.ndarray,
    timestamp: float,
    settings: TrackerSettings,
) -> LeftTable:
    """Identities that have left, without those that came back or are long gone, with those that leave now."""
    kept = timestamp - before.seen <= settings.life.memory_seconds
    kept[recalled_[recalled_ >= 0]] = False
    leaving = left & (tracks.ids > 0) & tracks.appearance.any(1)
    known = before if kept.all() else before[kept]
    return known.joined(tracks[leaving]) if leaving.any() else known


def matched(situation: Situation, correction: Correction | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The detection of each track (-1: none), and every pair that was weighed (see `Association`)."""
    tracks, predicted, boxes, classes = situation.tracks, situation.predicted, situation.boxes, situation.classes
    association, high = situation.settings.association, situation.high
    detection = np.full(len(tracks), -1)
    weighed = []
    confirmed = tracks.ids > 0
    change = None
    if correction is not None:
        change = np.zeros((len(tracks), len(boxes)))
        change[correction.track, correction.detection] = correction.change

    def stage(expected: np.ndarray, rows: np.ndarray, columns: np.ndarray, gate: float) -> None:
        if len(rows) == 0 or len(columns) == 0:
            return
        similar = similarity(expected[rows], boxes[columns], association.expansion)
        if change is not None:
            similar = similar + change[rows[:, None], columns]
        if classes is not None:
            similar = np.where(tracks.classes[rows, None] == classes[None, columns], similar, 0.0)
        i, j = match(similar, gate)
        detection[rows[i]] = columns[j]
        pairs = np.nonzero(similar > gate)
        weighed.append(np.stack([rows[pairs[0]], columns[pairs[1]], similar[pairs]]))

    def free() -> np.ndarray:
        return not_taken(high, detection, len(boxes))

    recent = confirmed & (tracks.missed <= 1)
    stage(predicted, np.flatnonzero(confirmed), high, association.gate)
    stage(tracks.last_box, np.flatnonzero(recent & (detection < 0)), free(), association.still_gate)
    stage(predicted, np.flatnonzero(recent & (detection < 0)), situation.low, association.low_gate)
    stage(predicted, np.flatnonzero(~confirmed), free(), association.tentative_gate)
    candidates = np.concatenate(weighed, axis=1) if weighed else np.zeros((3, 0))
    return detection, candidates if correction is None else _explained(candidates, correction, change.shape)


def _explained(candidates: np.ndarray, correction: Correction, shape: tuple[int, int]) -> np.ndarray:
    """Weighed pairs with the learned probability and cue weights below them, NaN where the network saw none."""
    row = np.full(shape, -1)
    row[correction.track, correction.detection] = np.arange(len(correction.track))
    edge = row[candidates[0].astype(np.int64), candidates[1].astype(np.int64)]
    known = np.concatenate([correction.probability[:, None], correction.cues], axis=1)
    told = np.full((len(edge), known.shape[1]), np.nan)
    told[edge >= 0] = known[edge[edge >= 0]]
    return np.concatenate([candidates, told.T])


def _corrected(
    tracks: TrackTable,
    state: TrackerState,
    settings: TrackerSettings,
    detection: np.ndarray,
    boxes: np.ndarray,
    sure: np.ndarray,
    classes: np.ndarray | None,
    timestamp: float,
    chosen: int,
) -> tuple[TrackTable, np.ndarray, np.ndarray]:
    """Correct matched tracks in place of their prediction; also the filters' errors and the spread of innovations."""
    rows = np.flatnonzero(detection >= 0)
    if len(rows) == 0:
        return tracks, state.filter_errors, state.spread
    columns = detection[rows]
    found = boxes[columns]
    centre, size = (found[:, :2] + found[:, 2:]) / 2, found[:, 2:] - found[:, :2]
    height = np.maximum(tracks.size[rows, 1], 1.0)
    known = tracks.hits[rows] >= 3

    errors, spread = state.filter_errors, state.spread
    elapsed = timestamp - tracks.mark_time[rows]
    due = ~(elapsed < motion.HORIZON - 1e-6)  # also where there is no mark yet
    judged = due & (elapsed < 2 * motion.HORIZON + 1e-6)
    if judged.any() and settings.motion.adapt:
        k = rows[judged]
        marks = tracks.mark[k], tracks.mark_velocity[k], elapsed[judged], centre[judged], height[judged]
        errors = errors + motion.prediction_errors(*marks)
    noise = settings.motion.centre_noise * height
    if known.any():
        variance = tracks.centre_covariance[rows, chosen, 0] + noise**2
        squares = ((centre - tracks.centre[rows, chosen]) ** 2).mean(1) / variance
        spread = spread + np.array([np.minimum(squares[known], 9.0).sum(), known.sum()])

    new = {name: getattr(tracks, name).copy() for name in _CORRECTED}
    by, by_velocity, covariance = motion.update(
        tracks.centre[rows],
        tracks.centre_velocity[rows],
        tracks.centre_covariance[rows],
        centre[:, None],
        noise[:, None],
    )
    new["centre"][rows] += by
    new["centre_velocity"][rows] += by_velocity
    new["centre_covariance"][rows] = covariance
    hidden = np.flatnonzero(detection < 0)
    if known.sum() >= 3 and len(hidden):
        new["centre"][hidden] += median(by[known])
        new["centre_velocity"][hidden] += median(by_velocity[known])
    noise = settings.motion.size_noise * height
    by, by_velocity, covariance = motion.update(
        tracks.size[rows], tracks.size_velocity[rows], tracks.size_covariance[rows], size, noise
    )
    new["size"][rows] = np.maximum(tracks.size[rows] + by, 1.0)
    new["size_velocity"][rows] += by_velocity
    new["size_covariance"][rows] = covariance

    marked = rows[due & (tracks.hits[rows] >= 3)]
    new["mark"][marked], new["mark_velocity"][marked] = new["centre"][marked], new["centre_velocity"][marked]
    new["mark_time"][marked] = timestamp
    new["hits"][rows] += 1
    new["missed"][rows] = 0
    new["seen"][rows] = timestamp
    new["scores"][rows] = sure[columns]
    new["last_box"][rows] = found
    if classes is not None:
        new["classes"][rows] = classes[columns]
    return replace(tracks, ids=tracks.ids.copy(), **new), errors, spread


_CORRECTED = (
    *("centre", "centre_velocity", "centre_covariance", "size", "size_velocity", "size_covariance"),
    *("mark", "mark_velocity", "mark_time", "hits", "missed", "seen", "scores", "last_box", "classes"),
)

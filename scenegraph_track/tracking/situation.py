"""A frame before anything is matched: tracks moved to its time and with the camera, detections with surenesses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from scenegraph_track.config import TrackerSettings
from scenegraph_track.structures import TrackerState, TrackTable
from scenegraph_track.tracking import camera, motion
from scenegraph_track.tracking.scores import remember, surenesses


@dataclass(frozen=True)
class Situation:
    """A frame before anything is matched: the tracks where they are expected, and what was detected.

    Args:
        before: The state after the last frame.
        settings: Of the tracker.
        timestamp: Seconds of this frame.
        tracks: The tracks moved to this frame.
        chosen: Filter of the bank that their boxes are taken from.
        predicted: (N, 4) where each track is expected, xyxy pixels.
        boxes: (M, 4) detections, xyxy pixels.
        scores: (M,) raw.
        sure: (M,) surenesses.
        score_memory: (K, 2) see `TrackerState`.
        classes: (M,) or None.
        depths: (M,), NaN where unknown, or None.
        embeddings: (M, D) appearance of the detections, or None.
        image_size: (W, H) or None.
    """

    before: TrackerState
    settings: TrackerSettings
    timestamp: float
    tracks: TrackTable
    chosen: int
    predicted: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    sure: np.ndarray
    score_memory: np.ndarray
    classes: np.ndarray | None
    depths: np.ndarray | None
    embeddings: np.ndarray | None
    image_size: tuple[int, int] | None

    @cached_property
    def high(self) -> np.ndarray:
        """Rows of the detections of the first stage."""
        return np.flatnonzero(self.sure >= self.settings.scores.high)

    @cached_property
    def low(self) -> np.ndarray:
        """Rows of the unsure detections."""
        scores = self.settings.scores
        return np.flatnonzero((self.sure < scores.high) & (self.sure >= scores.low))


def prepare(
    state: TrackerState,
    settings: TrackerSettings,
    timestamp: float,
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray | None = None,
    current_from_previous: np.ndarray | None = None,
    image_size: tuple[int, int] | None = None,
    depths: np.ndarray | None = None,
    embeddings: np.ndarray | None = None,
) -> Situation:
    """Move the tracks to the time of a frame and calibrate its scores.

    Args:
        state: The state after the last frame.
        settings: Settings of the tracker.
        timestamp: Seconds of this frame, later than the last.
        boxes: (M, 4) detections, xyxy pixels.
        scores: (M,) raw scores.
        classes: (M,) integers.
        current_from_previous: (2, 3) motion of the camera in pixels, or (N, 2, 3) one for each track of the state;
            None: found by vote of the boxes.
        image_size: (W, H); objects that leave it are forgotten at once.
        depths: (M,) of the detections, NaN where unknown; None: all unknown.
        embeddings: (M, D) appearance of the detections, which only a learned tracker looks at.
    """
    dt = 0.0 if np.isnan(state.timestamp) else timestamp - state.timestamp
    chosen = motion.chosen_filter(state.filter_errors) if settings.motion.adapt else len(motion.BANK) // 2
    memory = remember(state.score_memory, state.last_boxes, state.last_scores, boxes, settings.scores.memory)
    sure = surenesses(scores, memory)
    tracks = _predicted(state.tracks, settings, dt)
    if current_from_previous is None and settings.motion.vote and len(tracks):
        recent = (tracks.ids > 0) & (timestamp - tracks.seen < 0.5)
        high = np.flatnonzero(sure >= settings.scores.high)
        current_from_previous = camera.voted_motion(boxes_of(tracks, chosen)[recent], boxes[high])
    if current_from_previous is not None and len(tracks):
        tracks = _moved(tracks, current_from_previous)
    return Situation(
        before=state,
        settings=settings,
        timestamp=timestamp,
        tracks=tracks,
        chosen=chosen,
        predicted=boxes_of(tracks, chosen),
        boxes=boxes,
        scores=scores,
        sure=sure,
        score_memory=memory,
        classes=classes,
        depths=depths,
        embeddings=embeddings,
        image_size=image_size,
    )


def boxes_of(tracks: TrackTable, chosen: int) -> np.ndarray:
    """(N, 4) boxes by the chosen filter, xyxy pixels."""
    centre, half = tracks.centre[:, chosen], tracks.size / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _predicted(tracks: TrackTable, settings: TrackerSettings, dt: float) -> TrackTable:
    height = np.maximum(tracks.size[:, 1], 1.0)
    noise = settings.motion.acceleration * height[:, None] * np.array(motion.BANK)
    centre, centre_covariance = motion.predict(
        tracks.centre, tracks.centre_velocity, tracks.centre_covariance, noise, dt
    )
    noise = settings.motion.size_change * height
    size, size_covariance = motion.predict(tracks.size, tracks.size_velocity, tracks.size_covariance, noise, dt)
    return replace(
        tracks,
        centre=centre,
        centre_covariance=centre_covariance,
        size=np.maximum(size, 1.0),
        size_covariance=size_covariance,
        missed=tracks.missed + 1,
    )


def _moved(tracks: TrackTable, current_from_previous: np.ndarray) -> TrackTable:
    """Tracks seen by the camera after a motion in pixels, (2, 3) or (N, 2, 3)."""
    turn = np.swapaxes(current_from_previous[..., :2], -1, -2)
    shift = current_from_previous[..., None, :, 2]
    scale = np.sqrt(np.abs(np.linalg.det(current_from_previous[..., :2])))[..., None]
    corners = tracks.last_box.reshape(-1, 2, 2) @ turn + shift
    return replace(
        tracks,
        centre=tracks.centre @ turn + shift,
        centre_velocity=tracks.centre_velocity @ turn,
        centre_covariance=tracks.centre_covariance * scale[..., None] ** 2,
        size=tracks.size * scale,
        size_velocity=tracks.size_velocity * scale,
        size_covariance=tracks.size_covariance * scale**2,
        mark=tracks.mark @ turn + shift,
        mark_velocity=tracks.mark_velocity @ turn,
        last_box=np.concatenate([corners.min(1), corners.max(1)], axis=1),
    )

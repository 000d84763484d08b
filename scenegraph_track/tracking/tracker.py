"""The public tracker: one explicit state in, one frame in; the next state and its scene graph out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from scenegraph_track.config import Config, load_config
from scenegraph_track.errors import UserError
from scenegraph_track.graph.relations import relations_from_boxes
from scenegraph_track.structures import CUES, Detections, Frame, ObjectState, SceneGraph, TrackerState, Tracks
from scenegraph_track.tracking import camera, motion
from scenegraph_track.tracking.emission import covers, inside_part, load_rules
from scenegraph_track.tracking.matching import paired_iou
from scenegraph_track.tracking.reference import Association, associate, start_state


@dataclass(frozen=True)
class Tracker:
    """Keeps the identities of a video's objects; holds settings only, so that one tracker serves any number of videos.

    Example::

        tracker = Tracker.from_config("reference")
        state = tracker.start()
        for frame, detections in stream:
            state, scene = tracker.step(state, frame, detections)

    Args:
        config: Settings.
    """

    config: Config

    @classmethod
    def from_config(cls, name: str | Path = "reference", overrides: Iterable[str] = ()) -> Tracker:
        """A tracker of a named configuration or a YAML file; ``overrides`` as ``tracker.life.hidden_seconds=2``."""
        return cls(load_config(name, overrides))

    def start(self) -> TrackerState:
        """The state before the first frame."""
        return start_state()

    def step(
        self, state: TrackerState, frame: Frame, detections: Detections | None = None
    ) -> tuple[TrackerState, SceneGraph]:
        """Take in one frame; a pure function of its arguments.

        Args:
            state: What the last step returned, or :meth:`start`.
            frame: The frame; its timestamp has to be later than the last one's.
            detections: Objects found in it.

        Returns:
            The next state, and the graph of all live tracks: seen, hidden, and those that left in this frame.

        Raises:
            UserError: Time does not advance, or there are no detections to track.
        """
        if detections is None:
            raise UserError("the reference tracker needs detections with every frame: step(state, frame, detections)")
        if not np.isnan(state.timestamp) and frame.timestamp <= state.timestamp:
            raise UserError(f"frame {frame.index}: its time {frame.timestamp} s is not after {state.timestamp} s")
        settings = self.config.tracker
        warp, background = None, state.background
        if settings.motion.camera:
            background = camera.small_grey(frame)
            if background.size and state.background.size:
                warp = camera.measured_motion(state.background, background, state.last_boxes, frame.image.shape[2])
        after, decided = associate(
            state,
            settings,
            frame.timestamp,
            _numpy(detections.boxes),
            _numpy(detections.scores),
            None if detections.classes is None else detections.classes.cpu().numpy(),
            warp,
            frame.size,
        )
        after = replace(after, background=background)
        return after, self._scene(after, decided, frame, detections)

    def _scene(self, state: TrackerState, decided: Association, frame: Frame, detections: Detections) -> SceneGraph:
        tracks, boxes = decided.tracks, decided.boxes
        chosen = motion.chosen_filter(state.filter_errors)
        seen = decided.detection >= 0
        chance = self.shown_chance(state, decided, frame.size)
        covered, _ = covers(boxes, boxes[seen], np.arange(len(boxes))[:, None] == np.flatnonzero(seen)[None])
        depths = None if detections.depths is None else _of_detection(_numpy(detections.depths), decided.detection)
        scale = np.sqrt(state.spread[0] / state.spread[1])
        std = np.sqrt(np.stack([tracks.centre_covariance[:, chosen, 0], tracks.size_covariance[:, 0]], axis=1)) * scale
        states = np.where(seen, ObjectState.VISIBLE, np.where(decided.left, ObjectState.LEFT, ObjectState.HIDDEN))
        nodes = {
            "track_id": tracks.ids,
            "box": boxes,
            "box_std": np.repeat(std, 2, axis=1),
            "visibility": np.where(seen, 1 - covered, 0.0),
            "state": states,
            "hidden_for": np.where(seen, 0.0, frame.timestamp - tracks.seen),
            "shown": seen | (~decided.left & (chance >= self.config.tracker.show.predicted)),
            "score": np.where(seen, tracks.scores, chance),
            "class_id": tracks.classes,
            "detection": decided.detection,
        }
        if detections.embeddings is not None:
            nodes["embedding"] = _of_detection(_numpy(detections.embeddings), decided.detection, 0.0)
        stay = ~decided.left
        relates = relations_from_boxes(boxes[stay], None if depths is None else depths[stay])
        relates["edge_index"] = np.flatnonzero(stay)[relates["edge_index"]]
        becomes = self._becomes(decided, _numpy(detections.boxes), frame)
        return SceneGraph.build(frame.index, frame.timestamp, nodes, relates, becomes)

    def _becomes(self, decided: Association, detected: np.ndarray, frame: Frame) -> dict[str, np.ndarray]:
        """Temporal edges: what was weighed, its share among its track's candidates, and the evidence of each cue."""
        track, detection = decided.candidates[:2].astype(np.int64)
        similar = decided.candidates[2]
        owner = np.full(len(detected) + 1, -1)
        owner[decided.detection] = np.arange(len(decided.detection))
        owner[-1] = -1
        kept = owner[detection] >= 0
        track, detection, similar = track[kept], detection[kept], similar[kept]
        total = np.bincount(track, similar, minlength=len(decided.tracks)) + self.config.tracker.association.gate
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
        return {
            "edge_index": np.stack([track, owner[detection]]),
            "probability": similar / total[track],
            "cue": cue / np.maximum(cue.sum(1, keepdims=True), 1e-9),
            "gap": frame.timestamp - decided.last_seen[track],
        }

    def shown_chance(self, state: TrackerState, decided: Association, image_size: tuple[int, int] | None) -> np.ndarray:
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
    tracks, boxes = decided.tracks[rows], decided.boxes[rows]
    chosen = motion.chosen_filter(state.filter_errors)
    found = decided.boxes[decided.detection >= 0]
    height = np.maximum(tracks.size[:, 1], 1.0)
    step = state.step if np.isfinite(state.step) else 0.0
    away, age = state.timestamp - tracks.seen, tracks.seen - tracks.born
    front, overlap = covers(boxes, found, np.zeros((len(rows), len(found)), dtype=bool))
    columns = {
        "away": away,
        "missed": np.log1p(tracks.missed),
        "age": np.log1p(age),
        "hits": np.log1p(tracks.hits),
        "hit_rate": tracks.hits / np.maximum(1 + age / max(step, 1e-3), 1.0),
        "speed": np.hypot(*tracks.centre_velocity[:, chosen].T) / height,
        "spread": np.sqrt(tracks.centre_covariance[:, chosen, 0]) / height,
        "in_front": front,
        "overlap": overlap,
        "inside": inside_part(boxes, image_size),
        "score": tracks.scores,
        "crowd": np.full(len(rows), 1 - len(found) / max(len(decided.tracks), 1)),
        "step": np.full(len(rows), step),
        "shape": tracks.size[:, 0] / height,
    }
    return np.stack(list(columns.values()), axis=1)


def tracks_of(scenes: Iterable[SceneGraph]) -> Tracks:
    """The shown boxes of consecutive frames as tracks."""
    frames: list[np.ndarray] = []
    parts: dict[str, list[np.ndarray]] = {"track_id": [], "box": [], "score": [], "class_id": [], "visibility": []}
    observed = []
    for scene in scenes:
        shown = scene.shown
        nodes = scene.data["object"]
        frames.append(np.full(int(shown.sum()), scene.frame_index))
        for name, values in parts.items():
            values.append(nodes[name][shown].numpy())
        observed.append((nodes.state[shown] == int(ObjectState.VISIBLE)).numpy())
    if not frames:
        return Tracks.empty()
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    return Tracks.from_arrays(
        np.concatenate(frames),
        joined["track_id"],
        joined["box"],
        joined["score"],
        classes=joined["class_id"],
        visibility=joined["visibility"].astype(np.float64),
        observed=np.concatenate(observed),
    )


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()


def _of_detection(values: np.ndarray, detection: np.ndarray, blank: float = np.nan) -> np.ndarray:
    """Values of the matched detections, ``blank`` where there is none."""
    if len(values) == 0:
        return np.full((len(detection), *values.shape[1:]), blank)
    rows = values[np.maximum(detection, 0)]
    rows[detection < 0] = blank
    return rows

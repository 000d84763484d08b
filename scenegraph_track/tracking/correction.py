"""The graph tracker behind the reference tracker: a situation becomes features, and its output a correction.

This is all that stands between `tracking.reference`, which works in NumPy on whole tables, and `graph.GraphTracker`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from scenegraph_track.config import GraphSettings
from scenegraph_track.errors import UserError
from scenegraph_track.graph.array_network import Inferred
from scenegraph_track.graph.candidates import candidate_edges
from scenegraph_track.graph.features import FrameArrays, FrameFeatures, frame_features
from scenegraph_track.graph.graph_tracker import GraphTracker
from scenegraph_track.tracking import motion
from scenegraph_track.tracking.appearance import likeness
from scenegraph_track.tracking.learned import Correction
from scenegraph_track.tracking.matching import expand, paired_iou
from scenegraph_track.tracking.situation import Situation

EMBEDDED = Path(str(resources.files("scenegraph_track"))) / "weights" / "graph.safetensors"
"""The weights that ship."""

_FARTHEST = 6.0


@dataclass(frozen=True)
class Notes:
    """What a correction hands on to the memory: the network's input and output."""

    features: FrameFeatures
    output: Inferred


@dataclass(frozen=True)
class GraphCost:
    """The learned cost of `reference.associate`; holds no state of a sequence.

    Args:
        network: Trained or not; in evaluation mode.
        strength: Factor of its corrections.
    """

    network: GraphTracker
    strength: float = 1.0

    def correct(self, situation: Situation) -> Correction:
        """See `reference.LearnedCost`."""
        features = situation_features(situation)
        output = self.network.infer(features, self._memory(situation))
        track, detection = features.edge_index
        return Correction(
            track=track,
            detection=detection,
            change=self.strength * output.change.astype(np.float64),
            probability=output.probability,
            cues=output.cues.astype(np.float64),
            notes=Notes(features, output),
        )

    def remember(
        self, situation: Situation, correction: Correction, detection: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `reference.LearnedCost`."""
        notes = correction.notes
        offsets = matched_offsets(notes.features, detection)
        hidden, born = notes.output.remember(self._memory(situation), detection, offsets)
        return hidden.astype(np.float64), born.astype(np.float64)

    def _memory(self, situation: Situation) -> np.ndarray:
        """(N, width) float32, what is remembered of the tracks, zeros where nothing is yet."""
        memory, width = situation.tracks.memory, self.network.width
        if memory.shape[1] != width:
            return np.zeros((len(memory), width), dtype=np.float32)
        return memory.astype(np.float32)


@lru_cache(maxsize=4)
def graph_network(path: Path) -> GraphTracker:
    """The network of a weights file, built as its recipe says, for inference.

    Raises:
        UserError: The file is missing or holds no such network.
    """
    from geometry.errors import GeometryError
    from geometry.weights import load_weights, recipe_section

    try:
        network = GraphTracker(**recipe_section(path, "graph"))
        load_weights(network, path, "graph")
    except TypeError as wrong:
        raise UserError(f"{path}: the recipe in it does not describe a GraphTracker ({wrong})") from None
    except GeometryError as wrong:
        raise UserError(str(wrong)) from None
    return network.eval().requires_grad_(False)


def learned_cost(settings: GraphSettings) -> GraphCost | None:
    """The graph tracker that the settings name, or None."""
    if settings.weights == "none":
        return None
    path = EMBEDDED if settings.weights == "embedded" else Path(settings.weights)
    return GraphCost(graph_network(path), settings.strength)


def situation_features(situation: Situation, alike: np.ndarray | None = None) -> FrameFeatures:
    """The features of a frame's candidate edges, tracks and detections.

    Args:
        situation: The frame.
        alike: (N, M) similarity of appearance, NaN where unknown, in place of that of the embeddings.
    """
    tracks, chosen = situation.tracks, situation.chosen
    association = situation.settings.association
    found, timestamp = situation.boxes, situation.timestamp
    confirmed, recent = tracks.ids > 0, (tracks.ids > 0) & (tracks.missed <= 1)
    unsure = situation.sure < situation.settings.scores.high
    away = timestamp - tracks.seen
    reach = np.minimum(1.5 + 2.0 * away, _FARTHEST)
    track, detection = candidate_edges(situation.predicted, tracks.last_box, found, reach, ~recent, unsure)
    kept = situation.sure[detection] >= situation.settings.scores.low
    if situation.classes is not None:
        kept &= tracks.classes[track] == situation.classes[detection]
    track, detection = track[kept], detection[kept]
    similar = _similar(situation.predicted[track], found[detection], association.expansion)
    to_last = _similar(tracks.last_box[track], found[detection], association.expansion)
    weak = unsure[detection]
    gate = np.where(
        confirmed[track], np.where(weak, association.low_gate, association.gate), association.tentative_gate
    )
    still = np.where(recent[track] & ~weak, to_last - association.still_gate, -1.0)
    return frame_features(
        FrameArrays(
            expected=situation.predicted,
            last=tracks.last_box,
            velocity=tracks.centre_velocity[:, chosen],
            spread=np.sqrt(tracks.centre_covariance[:, chosen, 0]),
            away=away,
            age=tracks.seen - tracks.born,
            hits=tracks.hits,
            missed=tracks.missed,
            score=tracks.scores,
            confirmed=confirmed,
            depth=tracks.depth,
            found=found,
            sureness=situation.sure,
            unsure=unsure,
            found_depth=np.full(len(found), np.nan) if situation.depths is None else situation.depths,
            likeness=likeness(tracks, situation.embeddings, track, detection)
            if alike is None
            else alike[track, detection],
            track=track,
            detection=detection,
            similar=similar,
            similar_to_last=to_last,
            base=np.maximum(similar - gate, still),
            step=0.0 if np.isnan(situation.before.timestamp) else timestamp - situation.before.timestamp,
            noise=chosen / (len(motion.BANK) - 1),
            image_size=situation.image_size,
        )
    )


def matched_offsets(features: FrameFeatures, detection: np.ndarray) -> np.ndarray:
    """(N, 4) offsets of the matched edges, 0 for a track without match or with one that is no candidate edge."""
    track, column = features.edge_index
    offsets = np.zeros((len(detection), 4), dtype=np.float32)
    taken = detection[track] == column
    offsets[track[taken]] = features.offset[taken]
    return offsets


def _similar(a: np.ndarray, b: np.ndarray, expansion: float) -> np.ndarray:
    """As `matching.similarity`, of the boxes of each row."""
    heights = np.maximum(a[:, 3] - a[:, 1], 1e-6), np.maximum(b[:, 3] - b[:, 1], 1e-6)
    return paired_iou(expand(a, expansion), expand(b, expansion)) * np.minimum(*heights) / np.maximum(*heights)

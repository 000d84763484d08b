"""The learned scene graph behind the tracker: relations, and boxes of hidden objects with their deviation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.graph import EvolvingSceneGraph, Motion, SceneGraphConstructor
from scenegraph_track.graph.motion import hiding, inside_part, motion_features
from scenegraph_track.structures import TrackerState
from scenegraph_track.tracking import motion
from scenegraph_track.tracking.emission import covers
from scenegraph_track.tracking.placement import positions
from scenegraph_track.tracking.reference import Association

EMBEDDED = Path(str(resources.files("scenegraph_track"))) / "weights" / "scene.safetensors"
"""The weights that ship."""

_FIRST_STEP = 0.1


@dataclass(frozen=True)
class SceneTold:
    """What the learned scene graph says of N tracks in a frame.

    Args:
        memory: (N, D) of the tracks after this frame, for the next one.
        boxes: (N, 4) xyxy pixels: of seen tracks their detections, of hidden ones a better prediction.
        box_std: (N, 4) standard deviation of centre x, y, width and height in pixels; NaN of seen tracks.
        left: (N,) probability that an object is outside the image and not hidden; 0 of seen tracks.
        hidden_by: (N,) row of the track that hides it, -1 where none does.
        relates: Spatial edges for `SceneGraph.build`: ``edge_index`` (2, E), ``relation`` (E, 6), ``adjacency`` (E,).
    """

    memory: np.ndarray
    boxes: np.ndarray
    box_std: np.ndarray
    left: np.ndarray
    hidden_by: np.ndarray
    relates: dict[str, np.ndarray]


@dataclass(frozen=True)
class SceneModel:
    """The networks of the stage ``scene``; holds no state of a sequence.

    Args:
        constructor: Nodes, edges and relations of a frame.
        evolving: States of the tracks.
    """

    constructor: SceneGraphConstructor
    evolving: EvolvingSceneGraph

    @torch.inference_mode()
    def tell(
        self,
        memory: np.ndarray,
        decided: Association,
        state: TrackerState,
        size: tuple[int, int],
        intrinsics: np.ndarray | None = None,
    ) -> SceneTold:
        """Relations of all tracks, and where the hidden ones are.

        Args:
            memory: (N, D) of the tracks before, zeros of newborn ones; of another width: nothing is remembered.
            decided: Of `reference.associate`.
            state: The tracker's state after this frame.
            size: (W, H) of the image.
            intrinsics: (3, 3), None where they are not known.
        """
        tracks, boxes, seen = decided.tracks, decided.boxes, decided.detection >= 0
        covered, _ = covers(boxes, boxes[seen], np.arange(len(boxes))[:, None] == np.flatnonzero(seen)[None])
        places = None if intrinsics is None else _floats(positions(boxes, tracks.depth, intrinsics))
        depth = np.full((len(tracks), 3), np.nan)
        depth[:, 0] = tracks.depth
        there, extent = _floats(boxes), torch.tensor(size, dtype=torch.float32)
        scores, visibility = np.where(seen, tracks.scores, 0.0), np.where(seen, 1 - covered, 0.0)
        graph = self.constructor(
            there, _floats(scores), _floats(visibility), extent, positions=places, depth=_floats(depth)
        )

        moved = Motion(
            _floats(np.where(seen[:, None], decided.predicted, boxes)),
            _floats(sides_velocity(decided, motion.chosen_filter(state.filter_errors))),
            _floats(box_std(decided, state)),
        )
        height = _floats(tracks.last_box[:, 3] - tracks.last_box[:, 1])
        away = _floats(np.where(seen, 0.0, state.timestamp - tracks.seen))
        step = torch.full_like(away, state.step if np.isfinite(state.step) else _FIRST_STEP)
        inside, (behind, hidden_by) = inside_part(there, extent), hiding(there, torch.from_numpy(seen))
        features = motion_features(moved, there, height, away, step, inside, behind)
        if memory.shape[1] != self.evolving.node_dim:
            memory = np.zeros((len(tracks), self.evolving.node_dim))
        nodes = torch.cat([graph.nodes, self.evolving.messages(graph)], 1)
        hidden = self.evolving.remember(_floats(memory), nodes, features)
        guessed, std, left = self.evolving.guess(hidden, features, moved, height, inside)

        return SceneTold(
            memory=hidden.double().numpy(),
            boxes=np.where(seen[:, None], boxes, guessed.double().numpy()),
            box_std=np.where(seen[:, None], np.nan, std.double().numpy()),
            left=np.where(seen, 0.0, left.sigmoid().double().numpy()),
            hidden_by=hidden_by.numpy(),
            relates={
                "edge_index": graph.edge_index.numpy(),
                "relation": graph.relations.sigmoid().double().numpy(),
                "adjacency": graph.adjacency.double().numpy(),
            },
        )


def sides_velocity(decided: Association, chosen: int) -> np.ndarray:
    """(N, 4) velocity of the sides of the tracks' boxes by the chosen filter, pixels per second."""
    centre, half = decided.tracks.centre_velocity[:, chosen], decided.tracks.size_velocity / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def box_std(decided: Association, state: TrackerState) -> np.ndarray:
    """(N, 4) standard deviation of centre x, y, width and height by the tracker's filters, pixels."""
    tracks, chosen = decided.tracks, motion.chosen_filter(state.filter_errors)
    std = np.sqrt(np.stack([tracks.centre_covariance[:, chosen, 0], tracks.size_covariance[:, 0]], axis=1))
    return np.repeat(std * np.sqrt(state.spread[0] / state.spread[1]), 2, axis=1)


@lru_cache(maxsize=4)
def scene_model(path: Path = EMBEDDED) -> SceneModel:
    """The networks of a weights file, built as its recipe says, for inference.

    Raises:
        UserError: The file is missing or holds no such networks.
    """
    from geometry.errors import GeometryError
    from geometry.weights import load_weights, read_metadata

    try:
        recipe = read_metadata(path).get("recipe", {})
        net = recipe.get("scene", {}) if isinstance(recipe, dict) else {}
        constructor, evolving = SceneGraphConstructor(**net), EvolvingSceneGraph(net.get("node_dim", 64))
        load_weights(constructor, path, "constructor")
        load_weights(evolving, path, "evolving")
    except TypeError as wrong:
        raise UserError(f"{path}: the recipe in it does not describe a scene graph ({wrong})") from None
    except GeometryError as wrong:
        raise UserError(str(wrong)) from None
    return SceneModel(constructor.eval().requires_grad_(False), evolving.eval().requires_grad_(False))


def _floats(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))

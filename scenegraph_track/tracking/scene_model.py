"""The learned scene graph behind the tracker: relations, and boxes of hidden objects with their deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.config import SceneSettings
from scenegraph_track.errors import UserError
from scenegraph_track.graph import EvolvingSceneGraph, Motion, SceneGraphConstructor
from scenegraph_track.graph.motion import hiding, inside_part, motion_features
from scenegraph_track.structures import ObjectState, TrackerState
from scenegraph_track.tracking import motion
from scenegraph_track.tracking.placement import positions
from scenegraph_track.tracking.reference import Association

EMBEDDED = Path(str(resources.files("scenegraph_track"))) / "weights" / "scene.safetensors"
"""The weights that ship."""

_FIRST_STEP = 0.1


@dataclass(frozen=True)
class SceneTold:
    """What the learned scene graph says of the N tracks of a frame, and of the K - N other nodes behind them.

    Args:
        memory: (N, D) of the tracks after this frame, for the next one.
        boxes: (N, 4) xyxy pixels: of seen tracks their detections, of hidden ones a better prediction.
        box_std: (N, 4) standard deviation of centre x, y, width and height in pixels; NaN of seen tracks.
        left: (N,) probability that an object is outside the image and not hidden; 0 of seen tracks.
        hidden_by: (K,) row of the node that hides it, -1 where none does.
        relates: Spatial edges of all nodes for `SceneGraph.build`: ``edge_index`` (2, E), ``relation`` (E, 6),
            ``adjacency`` (E,).
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
        nodes: Mapping[str, np.ndarray],
        decided: Association,
        state: TrackerState,
        size: tuple[int, int],
        depths: np.ndarray | None = None,
        intrinsics: np.ndarray | None = None,
    ) -> SceneTold:
        """Relations of all nodes, and where the hidden tracks are.

        Args:
            nodes: ``box``, ``state``, ``visibility`` and ``score`` as in `SceneGraph`, K rows, those of the tracks
                first, with their boxes as the tracker's filters see them.
            decided: Of `reference.associate`.
            state: The tracker's state after this frame, with the memory (``scene_memory``) from before it; one of
                another width counts as none.
            size: (W, H) of the image.
            depths: (K,) along z, NaN where unknown; None: nowhere known.
            intrinsics: (3, 3), None where they are not known.
        """
        boxes, seen = nodes["box"], nodes["state"] == ObjectState.VISIBLE
        tracks, count = decided.tracks, len(decided.tracks)
        spread = np.full((len(boxes), 3), np.nan)
        spread[:, 0] = np.nan if depths is None else depths
        places = None if depths is None or intrinsics is None else _floats(positions(boxes, depths, intrinsics))
        there, extent = _floats(boxes), torch.tensor(size, dtype=torch.float32)
        scores, visibility = (_floats(np.where(seen, nodes[name], 0.0)) for name in ("score", "visibility"))
        graph = self.constructor(there, scores, visibility, extent, positions=places, depth=_floats(spread))
        behind, hidden_by = hiding(there, torch.from_numpy(seen))

        there, seen = there[:count], seen[:count]
        moved = Motion(
            _floats(np.where(seen[:, None], decided.predicted, decided.boxes)),
            _floats(sides_velocity(decided, motion.chosen_filter(state.filter_errors))),
            _floats(box_std(decided, state)),
        )
        height = _floats(tracks.last_box[:, 3] - tracks.last_box[:, 1])
        away = _floats(np.where(seen, 0.0, state.timestamp - tracks.seen))
        step = torch.full_like(away, state.step if np.isfinite(state.step) else _FIRST_STEP)
        inside = inside_part(there, extent)
        features = motion_features(moved, there, height, away, step, inside, behind[:count])
        found = torch.cat([graph.nodes, self.evolving.messages(graph)], 1)[:count]
        hidden = self.evolving.remember(_floats(self._remembered(state, tracks.ids)), found, features)
        guessed, std, left = self.evolving.guess(hidden, features, moved, height, inside)
        return SceneTold(
            memory=hidden.double().numpy(),
            boxes=np.where(seen[:, None], boxes[:count], guessed.double().numpy()),
            box_std=np.where(seen[:, None], np.nan, std.double().numpy()),
            left=np.where(seen, 0.0, left.sigmoid().double().numpy()),
            hidden_by=hidden_by.numpy(),
            relates={
                "edge_index": graph.edge_index.numpy(),
                "relation": graph.relations.sigmoid().double().numpy(),
                "adjacency": graph.adjacency.double().numpy(),
            },
        )

    def _remembered(self, state: TrackerState, ids: np.ndarray) -> np.ndarray:
        """(N, D) what is remembered of identities, zeros of new ones."""
        memory = np.zeros((len(ids), self.evolving.node_dim))
        if state.scene_memory.shape[1] == memory.shape[1]:
            _, new, old = np.intersect1d(ids, state.scene_ids, assume_unique=True, return_indices=True)
            memory[new] = state.scene_memory[old]
        return memory


def with_scene(
    model: SceneModel,
    nodes: dict[str, np.ndarray],
    decided: Association,
    state: TrackerState,
    size: tuple[int, int],
    depths: np.ndarray | None = None,
    intrinsics: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], TrackerState]:
    """The nodes and spatial edges of a frame as the learned scene graph sees them, and the state that remembers it.

    Deviations of hidden objects are the learned ones.  Their boxes are too, and one that is told to be outside of the
    image counts as left, except where the tracker's own prediction is sure enough to be reported: it stays as it is.

    Args:
        model: What tells.
        nodes: As in `SceneModel.tell`, with ``box_std``, ``shown`` and ``track_id`` besides.
        decided: As there.
        state: As there.
        size: As there.
        depths: As there.
        intrinsics: As there.
    """
    told, count = model.tell(nodes, decided, state, size, depths, intrinsics), len(decided.tracks)
    hidden = nodes["state"][:count] == ObjectState.HIDDEN
    moved = hidden & ~nodes["shown"][:count]
    learned = {name: nodes[name].copy() for name in ("box", "box_std", "state")}
    learned["box"][:count][moved] = told.boxes[moved]
    learned["box_std"][:count][hidden] = told.box_std[hidden]
    learned["state"][:count][moved & (told.left > 0.5)] = ObjectState.LEFT
    nodes = nodes | learned
    nodes["hidden_by"] = named_hiders(nodes, told.hidden_by)
    kept = ~decided.left
    state = replace(state, scene_ids=decided.tracks.ids[kept], scene_memory=told.memory[kept])
    stay = (nodes["state"] != ObjectState.LEFT)[told.relates["edge_index"]].all(0)
    relates = {name: values.compress(stay, int(name == "edge_index")) for name, values in told.relates.items()}
    return nodes, relates, state


def named_hiders(nodes: Mapping[str, np.ndarray], rows: np.ndarray | None = None) -> np.ndarray:
    """(K,) identities of what hides the nodes, 0 where nothing does; of rows (`SceneTold`), or else by their boxes."""
    hidden = nodes["state"] == ObjectState.HIDDEN
    if not hidden.any():
        return np.zeros(len(hidden), dtype=np.int64)
    if rows is None:
        seen = torch.from_numpy(nodes["state"] == ObjectState.VISIBLE)
        rows = hiding(torch.from_numpy(nodes["box"]), seen)[1].numpy()
    return np.where(hidden, np.append(nodes["track_id"], 0)[rows], 0)


def sides_velocity(decided: Association, chosen: int) -> np.ndarray:
    """(N, 4) velocity of the sides of the tracks' boxes by the chosen filter, pixels per second."""
    centre, half = decided.tracks.centre_velocity[:, chosen], decided.tracks.size_velocity / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def box_std(decided: Association, state: TrackerState) -> np.ndarray:
    """(N, 4) standard deviation of centre x, y, width and height by the tracker's filters, pixels."""
    tracks, chosen = decided.tracks, motion.chosen_filter(state.filter_errors)
    std = np.sqrt(np.stack([tracks.centre_covariance[:, chosen, 0], tracks.size_covariance[:, 0]], axis=1))
    return np.repeat(std * np.sqrt(state.spread[0] / state.spread[1]), 2, axis=1)


def learned_scene(settings: SceneSettings) -> SceneModel | None:
    """The learned scene graph that the settings name, or None."""
    if settings.weights == "none":
        return None
    return scene_model(EMBEDDED if settings.weights == "embedded" else Path(settings.weights))


@lru_cache(maxsize=4)
def scene_model(path: Path = EMBEDDED) -> SceneModel:
    """The networks of a weights file, built as its recipe says, for inference.

    Raises:
        UserError: The file is missing or holds no such networks.
    """
    from geometry.errors import GeometryError
    from geometry.weights import load_weights, recipe_section

    try:
        net = recipe_section(path, "scene")
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

"""The scene graph of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.structures.checks import Equal, fail, same_value

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from scenegraph_track.language.finding import FoundTrack, SceneWords


RELATIONS = ("occludes", "in_front_of", "left_of", "above", "contains", "near")
"""Names of the columns of ``SceneGraph.relations``: source *relation* target."""

CUES = ("motion", "overlap", "appearance", "depth", "size")
"""Names of the columns of ``SceneGraph.cues``: what an identity decision rests on."""

OBJECT = "object"
RELATES = (OBJECT, "relates", OBJECT)
BECOMES = (OBJECT, "becomes", OBJECT)


class ObjectState(IntEnum):
    """What is known of an object at one moment."""

    VISIBLE = 0
    HIDDEN = 1
    LEFT = 2


_NODE_FIELDS: dict[str, tuple[tuple[int | None, ...], torch.dtype, float]] = {
    # name: trailing shape, kind, value where it is not given
    "track_id": ((), torch.int64, 0),
    "box": ((4,), torch.float32, float("nan")),
    "box_std": ((4,), torch.float32, float("nan")),
    "position": ((3,), torch.float32, float("nan")),
    "visibility": ((), torch.float32, float("nan")),
    "state": ((), torch.int64, 0),
    "hidden_for": ((), torch.float32, 0.0),
    "hidden_by": ((), torch.int64, 0),
    "shown": ((), torch.bool, True),
    "score": ((), torch.float32, float("nan")),
    "class_id": ((), torch.int64, 1),
    "detection": ((), torch.int64, -1),
    "embedding": ((None,), torch.float32, 0.0),
}
_EDGE_FIELDS: dict[tuple[str, str, str], dict[str, tuple[int, ...]]] = {
    RELATES: {"adjacency": (), "relation": (len(RELATIONS),)},
    BECOMES: {"probability": (), "cue": (len(CUES),), "gap": ()},
}


@dataclass(frozen=True, eq=False)
class SceneGraph(Equal):
    """The objects of one moment, how they relate, and what each of them was before; a PyG ``HeteroData`` underneath.

    Every live track is one ``object`` node, also while it is hidden.  An edge of ``('object', 'relates', 'object')``
    says that its source occludes, is in front of, ... its target in this frame.  An edge ``i -> j`` of
    ``('object', 'becomes', 'object')`` says that track ``i``, as it stood before this frame, was a candidate for the
    detection that is now object ``j``: ``i -> i`` is the identity that was kept, the others are the alternatives.

    Args:
        frame_index: 0-based frame.
        timestamp: Seconds since the start of the sequence.
        data: Nodes (all with N rows): ``track_id`` int64; ``box`` (N, 4) xyxy pixels, predicted where hidden;
            ``box_std`` (N, 4) standard deviation of cx, cy, w, h in pixels; ``position`` (N, 3) metres in the world
            frame, NaN where unknown; ``visibility`` (N,) in [0, 1]; ``state`` (N,) of :class:`ObjectState`;
            ``hidden_for`` (N,) seconds since last seen; ``hidden_by`` (N,) identity of what hides it, 0 where nothing
            is known to; ``shown`` (N,) bool, whether the box is reported;
            ``score`` (N,); ``class_id`` (N,) int64; ``detection`` (N,) row of the matched detection or -1;
            ``embedding`` (N, D).  Spatial edges: ``edge_index`` (2, E), ``adjacency`` (E,) in [0, 1], ``relation``
            (E, 6) probabilities in the order of :data:`RELATIONS`.  Temporal edges: ``edge_index`` (2, M),
            ``probability`` (M,) of the match, ``cue`` (M, 5) weight of each of :data:`CUES`, ``gap`` (M,) seconds.

    Raises:
        UserError: A field is missing, has another shape, or an edge points at no node.
    """

    NODE_FIELDS: ClassVar[tuple[str, ...]] = tuple(_NODE_FIELDS)

    frame_index: int
    timestamp: float
    data: HeteroData

    def __post_init__(self) -> None:
        nodes = self.data[OBJECT]
        for name in _NODE_FIELDS:
            if name not in nodes:
                raise UserError(f"SceneGraph: expected the node field {name}")
        n = len(nodes.track_id)
        for name, (tail, kind, _) in _NODE_FIELDS.items():
            value, want = nodes[name], (n, *tail)
            fits = value.dim() == len(want) and all(w is None or w == g for w, g in zip(want, value.shape, strict=True))
            if not fits or value.dtype != kind:
                found = f"{tuple(value.shape)} {value.dtype}"
                raise UserError(f"SceneGraph.{name}: expected {(n, *tail)} {kind}, found {found}")
        if n and len(nodes.track_id.unique()) != n:
            raise UserError(f"SceneGraph.track_id: expected each identity once, found {nodes.track_id.tolist()}")
        for kind_, columns in _EDGE_FIELDS.items():
            edges = self.data[kind_]
            for name in ("edge_index", *columns):
                if name not in edges:
                    raise UserError(f"SceneGraph.{kind_[1]}: expected the field {name}")
            index = edges.edge_index
            e = index.shape[-1]
            if index.shape != (2, e) or (e and (int(index.min()) < 0 or int(index.max()) >= n)):
                raise UserError(
                    f"SceneGraph.{kind_[1]}: expected (2, E) indices of {n} objects, found {tuple(index.shape)}"
                )
            for name, tail in columns.items():
                if edges[name].shape != (e, *tail):
                    fail(self, f"{kind_[1]}.{name}", f"{(e, *tail)}", edges[name])

    @classmethod
    def build(
        cls,
        frame_index: int,
        timestamp: float,
        nodes: Mapping[str, Any],
        relates: Mapping[str, Any] | None = None,
        becomes: Mapping[str, Any] | None = None,
    ) -> SceneGraph:
        """Make a graph from array-likes named as in the class description; what is not given is filled as unknown.

        Edges are sorted by source and target.  The embeddings of no nodes are (0, 0).

        Args:
            frame_index: 0-based frame.
            timestamp: Seconds.
            nodes: At least ``track_id``.
            relates: ``edge_index`` and the other fields of spatial edges.
            becomes: ``edge_index`` and the other fields of temporal edges.
        """
        from torch_geometric.data import HeteroData

        unknown = set(nodes) - set(_NODE_FIELDS)
        if unknown:
            raise UserError(
                f"SceneGraph: unknown node field {sorted(unknown)[0]}, expected one of {', '.join(_NODE_FIELDS)}"
            )
        data = HeteroData()
        objects, n = data[OBJECT], len(nodes["track_id"])
        for name, (tail, kind, blank) in _NODE_FIELDS.items():
            shape = (n, *(0 if t is None else t for t in tail))
            given = nodes.get(name)
            value = torch.full(shape, blank, dtype=kind) if given is None else torch.as_tensor(given)
            if n and value.is_floating_point() and not kind.is_floating_point:
                raise UserError(f"SceneGraph.{name}: expected {kind}, found {value.dtype}")
            objects[name] = value.to(kind).reshape(shape) if n == 0 else value.to(kind)
        objects.num_nodes = n
        for kind_, given in ((RELATES, relates or {}), (BECOMES, becomes or {})):
            unknown = set(given) - set(_EDGE_FIELDS[kind_]) - {"edge_index"}
            if unknown:
                raise UserError(f"SceneGraph: unknown field {sorted(unknown)[0]} of edges '{kind_[1]}'")
            index = torch.as_tensor(given.get("edge_index", np.zeros((2, 0))), dtype=torch.int64).reshape(2, -1)
            key = index[0] * n + index[1]
            order = None if bool((key[1:] >= key[:-1]).all()) else key.argsort(stable=True)
            edges = data[kind_]
            edges.edge_index = index if order is None else index[:, order]
            for name, tail in _EDGE_FIELDS[kind_].items():
                shape = (index.shape[1], *tail)
                value = given.get(name)
                value = (
                    torch.full(shape, float("nan")) if value is None else torch.as_tensor(value).float().reshape(shape)
                )
                edges[name] = value if order is None else value[order]
        return cls(frame_index, timestamp, data)

    def __len__(self) -> int:
        return len(self.track_ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SceneGraph):
            return NotImplemented
        same = (self.frame_index, self.timestamp) == (other.frame_index, other.timestamp)
        same = same and all(same_value(self.data[OBJECT][k], other.data[OBJECT][k]) for k in _NODE_FIELDS)
        return same and all(
            same_value(self.data[kind][k], other.data[kind][k])
            for kind, names in _EDGE_FIELDS.items()
            for k in ("edge_index", *names)
        )

    @property
    def track_ids(self) -> Tensor:
        """(N,) identities from 1."""
        return self.data[OBJECT].track_id

    @property
    def boxes(self) -> Tensor:
        """(N, 4) xyxy pixels, predicted where the object is hidden."""
        return self.data[OBJECT].box

    @property
    def positions(self) -> Tensor:
        """(N, 3) metres in the world frame, NaN where unknown."""
        return self.data[OBJECT].position

    @property
    def visibility(self) -> Tensor:
        """(N,) visible fraction in [0, 1]."""
        return self.data[OBJECT].visibility

    @property
    def states(self) -> Tensor:
        """(N,) values of :class:`ObjectState`."""
        return self.data[OBJECT].state

    @property
    def hidden_by(self) -> Tensor:
        """(N,) identities of what hides the objects, 0 where nothing is known to."""
        return self.data[OBJECT].hidden_by

    @property
    def shown(self) -> Tensor:
        """(N,) bool, whether the box belongs into the result."""
        return self.data[OBJECT].shown

    @property
    def embeddings(self) -> Tensor:
        """(N, D) appearance vectors; D is 0 where there are none."""
        return self.data[OBJECT].embedding

    @property
    def relates_index(self) -> Tensor:
        """(2, E) source and target rows of the spatial edges."""
        return self.data[RELATES].edge_index

    @property
    def adjacency(self) -> Tensor:
        """(E,) soft adjacency in [0, 1]."""
        return self.data[RELATES].adjacency

    @property
    def relations(self) -> Tensor:
        """(E, 6) probabilities in the order of :data:`RELATIONS`."""
        return self.data[RELATES].relation

    @property
    def becomes_index(self) -> Tensor:
        """(2, M) source and target rows of the temporal edges."""
        return self.data[BECOMES].edge_index

    @property
    def match_probability(self) -> Tensor:
        """(M,) probability that source became target."""
        return self.data[BECOMES].probability

    @property
    def cues(self) -> Tensor:
        """(M, 5) weight of each of :data:`CUES` in the match."""
        return self.data[BECOMES].cue

    def find(self, text: str, known: SceneWords | None = None) -> list[FoundTrack]:
        """The tracks that a sentence means, best first: ``scene.find("the disk hidden by the wall")``.

        Words of relations are looked up in the edges of the graph, those of motion and looks in what was watched
        before (`language.watching.watched`); where nothing was, they count as half true.

        Args:
            text: English; words that nothing is known of are left out.
            known: Looks and motion of the tracks.

        Returns:
            All tracks with scores in [0, 1].

        Raises:
            UserError: The sentence says nothing that could be looked for.
        """
        from scenegraph_track.language.finding import find

        return find(self, text, known)

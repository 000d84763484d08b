"""The scene graph of one moment."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.structures.checks import Equal, same_value

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


Edges = Mapping[str, Any]
"""``edge_index`` and the other fields of edges by name, array-likes."""


@dataclass(frozen=True, eq=False)
class SceneGraph(Equal):
    """The objects of one moment, how they relate, and what each of them was before; a PyG ``HeteroData`` underneath.

    Every live track is one ``object`` node, also while it is hidden.  An edge of ``('object', 'relates', 'object')``
    says that its source occludes, is in front of, ... its target in this frame.  An edge ``i -> j`` of
    ``('object', 'becomes', 'object')`` says that track ``i``, as it stood before this frame, was a candidate for the
    detection that is now object ``j``: ``i -> i`` is the identity that was kept, the others are the alternatives.

    Edges that :meth:`build` was given as functions are made when they are first looked at.

    Args:
        frame_index: 0-based frame.
        timestamp: Seconds since the start of the sequence.
        source: What :attr:`data` gives, or makes it.  Nodes (all with N rows): ``track_id`` int64; ``box`` (N, 4) xyxy
            pixels, predicted where hidden;
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
    source: HeteroData | Callable[[], HeteroData] = field(repr=False)

    def __post_init__(self) -> None:
        if not callable(self.source):
            _check_nodes(self.nodes)
            _check_edges(self.data, len(self))

    @cached_property
    def data(self) -> HeteroData:
        """The graph as PyG has it."""
        if not callable(self.source):
            return self.source
        data = self.source()
        _check_edges(data, len(self))
        return data

    @cached_property
    def nodes(self) -> Mapping[str, Tensor]:
        """The fields of the nodes by name, without any edge being made."""
        nodes = self.data[OBJECT]
        for name in _NODE_FIELDS:
            if name not in nodes:
                raise UserError(f"SceneGraph: expected the node field {name}")
        return {name: nodes[name] for name in _NODE_FIELDS}

    @classmethod
    def build(
        cls,
        frame_index: int,
        timestamp: float,
        nodes: Mapping[str, Any],
        relates: Edges | Callable[[], Edges] | None = None,
        becomes: Edges | Callable[[], Edges] | None = None,
    ) -> SceneGraph:
        """Make a graph from array-likes named as in the class description; what is not given is filled as unknown.

        Edges are sorted by source and target.  The embeddings of no nodes are (0, 0).

        Args:
            frame_index: 0-based frame.
            timestamp: Seconds.
            nodes: At least ``track_id``.
            relates: ``edge_index`` and the other fields of spatial edges, or what makes them once they are asked for.
            becomes: The same of temporal edges.
        """
        unknown = set(nodes) - set(_NODE_FIELDS)
        if unknown:
            raise UserError(
                f"SceneGraph: unknown node field {sorted(unknown)[0]}, expected one of {', '.join(_NODE_FIELDS)}"
            )
        made = _made_nodes(nodes)

        def whole() -> HeteroData:
            data = _hetero_data()()
            objects = data[OBJECT]
            for name, value in made.items():
                objects[name] = value
            objects.num_nodes = len(made["track_id"])
            for kind, given in ((RELATES, relates), (BECOMES, becomes)):
                found = given() if callable(given) else given or {}
                for name, value in _made_edges(kind, found, objects.num_nodes).items():
                    data[kind][name] = value
            return data

        if not (callable(relates) or callable(becomes)):
            return cls(frame_index, timestamp, whole())
        _check_nodes(made)
        scene = cls(frame_index, timestamp, whole)
        vars(scene)["nodes"] = made
        return scene

    def __reduce__(self) -> tuple[type[SceneGraph], tuple[int, float, HeteroData]]:
        return SceneGraph, (self.frame_index, self.timestamp, self.data)  # functions cannot be stored

    def __len__(self) -> int:
        return len(self.track_ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SceneGraph):
            return NotImplemented
        same = (self.frame_index, self.timestamp) == (other.frame_index, other.timestamp)
        same = same and all(same_value(self.nodes[k], other.nodes[k]) for k in _NODE_FIELDS)
        return same and all(
            same_value(self.data[kind][k], other.data[kind][k])
            for kind, names in _EDGE_FIELDS.items()
            for k in ("edge_index", *names)
        )

    @property
    def track_ids(self) -> Tensor:
        """(N,) identities from 1."""
        return self.nodes["track_id"]

    @property
    def boxes(self) -> Tensor:
        """(N, 4) xyxy pixels, predicted where the object is hidden."""
        return self.nodes["box"]

    @property
    def positions(self) -> Tensor:
        """(N, 3) metres in the world frame, NaN where unknown."""
        return self.nodes["position"]

    @property
    def visibility(self) -> Tensor:
        """(N,) visible fraction in [0, 1]."""
        return self.nodes["visibility"]

    @property
    def states(self) -> Tensor:
        """(N,) values of :class:`ObjectState`."""
        return self.nodes["state"]

    @property
    def hidden_by(self) -> Tensor:
        """(N,) identities of what hides the objects, 0 where nothing is known to."""
        return self.nodes["hidden_by"]

    @property
    def shown(self) -> Tensor:
        """(N,) bool, whether the box belongs into the result."""
        return self.nodes["shown"]

    @property
    def embeddings(self) -> Tensor:
        """(N, D) appearance vectors; D is 0 where there are none."""
        return self.nodes["embedding"]

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


def _made_nodes(given: Mapping[str, Any]) -> dict[str, Tensor]:
    """All fields of the nodes as tensors."""
    n, made = len(given["track_id"]), {}
    for name, (tail, kind, blank) in _NODE_FIELDS.items():
        value = given.get(name)
        shape = (n, *(0 if t is None else t for t in tail))
        value = torch.full(shape, blank, dtype=kind) if value is None else torch.as_tensor(value)
        if n and value.is_floating_point() and not kind.is_floating_point:
            raise UserError(f"SceneGraph.{name}: expected {kind}, found {value.dtype}")
        made[name] = value.to(kind).reshape(shape) if n == 0 else value.to(kind)
    return made


def _made_edges(kind: tuple[str, str, str], given: Edges, nodes: int) -> dict[str, Tensor]:
    """All fields of one kind of edges as tensors, sorted."""
    unknown = set(given) - set(_EDGE_FIELDS[kind]) - {"edge_index"}
    if unknown:
        raise UserError(f"SceneGraph: unknown field {sorted(unknown)[0]} of edges '{kind[1]}'")
    index = torch.as_tensor(given.get("edge_index", np.zeros((2, 0))), dtype=torch.int64).reshape(2, -1)
    key = index[0] * nodes + index[1]
    order = None if bool((key[1:] >= key[:-1]).all()) else key.argsort(stable=True)
    made = {"edge_index": index if order is None else index[:, order]}
    for name, tail in _EDGE_FIELDS[kind].items():
        shape, value = (index.shape[1], *tail), given.get(name)
        value = torch.full(shape, float("nan")) if value is None else torch.as_tensor(value).float().reshape(shape)
        made[name] = value if order is None else value[order]
    return made


def _check_nodes(nodes: Mapping[str, Tensor]) -> None:
    n = len(nodes["track_id"])
    for name, (tail, kind, _) in _NODE_FIELDS.items():
        value, want = nodes[name], (n, *tail)
        fits = value.dim() == len(want) and all(w is None or w == g for w, g in zip(want, value.shape, strict=True))
        if not fits or value.dtype != kind:
            found = f"{tuple(value.shape)} {value.dtype}"
            raise UserError(f"SceneGraph.{name}: expected {(n, *tail)} {kind}, found {found}")
    if len(nodes["track_id"].unique()) != n:
        raise UserError(f"SceneGraph.track_id: expected each identity once, found {nodes['track_id'].tolist()}")


def _check_edges(data: HeteroData, nodes: int) -> None:
    for kind, columns in _EDGE_FIELDS.items():
        edges = data[kind]
        for name in ("edge_index", *columns):
            if name not in edges:
                raise UserError(f"SceneGraph.{kind[1]}: expected the field {name}")
        index = edges.edge_index
        e = index.shape[-1]
        if index.shape != (2, e) or (e and (int(index.min()) < 0 or int(index.max()) >= nodes)):
            raise UserError(
                f"SceneGraph.{kind[1]}: expected (2, E) indices of {nodes} objects, found {tuple(index.shape)}"
            )
        for name, tail in columns.items():
            if edges[name].shape != (e, *tail):
                found = tuple(edges[name].shape)
                raise UserError(f"SceneGraph.{kind[1]}.{name}: expected {(e, *tail)}, found shape {found}")


@lru_cache
def _hetero_data() -> type[HeteroData]:
    """PyG's container; loading PyG for the first time warns of its own use of torch, which says nothing to a user."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)
        from torch_geometric.data import HeteroData
    return HeteroData

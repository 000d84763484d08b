"""What flows between the rooms: frozen, validated containers.

Boxes are ``(x1, y1, x2, y2)`` in pixels of the image, continuous coordinates (``x2 = x1 + width``, the image spans
``[0, W] x [0, H]``, the centre of the first pixel is ``(0.5, 0.5)``).  Frames count from 0, track ids from 1, times
are seconds, depth is along the camera's z axis and positive.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import supervision
    from torch_geometric.data import HeteroData

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


def _fail(owner: object, name: str, expected: str, value: Any) -> None:
    shape = f"shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
    raise UserError(f"{type(owner).__name__}.{name}: expected {expected}, found {shape}")


def _check_tensor(
    owner: object, name: str, shape: tuple[int | None, ...], expected: str, floating: bool | None = True
) -> None:
    """Refuse a field that is no tensor of ``shape`` (None: any size), or of another kind or not finite."""
    value = getattr(owner, name)
    if not isinstance(value, Tensor):
        raise UserError(f"{type(owner).__name__}.{name}: expected a tensor {expected}, found {type(value).__name__}")
    if value.dim() != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, value.shape, strict=True)
    ):
        _fail(owner, name, expected, value)
    if floating is None:
        return
    if value.is_floating_point() != floating:
        raise UserError(
            f"{type(owner).__name__}.{name}: expected {'floats' if floating else 'integers'}, found {value.dtype}"
        )
    if floating and not bool(torch.isfinite(value).all()):
        row = int((~torch.isfinite(value)).reshape(len(value), -1).any(1).nonzero()[0]) if value.dim() else 0
        raise UserError(f"{type(owner).__name__}.{name}: expected finite numbers, row {row} is {value[row].tolist()}")


def _check_boxes(owner: object, boxes: Tensor) -> None:
    bad = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise UserError(
            f"{type(owner).__name__}.boxes: expected x2 >= x1 and y2 >= y1 (xyxy pixels), "
            f"row {row} is {boxes[row].tolist()}"
        )


def _owned(values: Any, kind: type) -> np.ndarray:
    """A copy of an array-like, so that its owner may go on writing into it."""
    return np.array(np.asarray(values), dtype=kind, order="C")


def _tensor(values: Any) -> Tensor | None:
    """An optional field from an array-like, also one that is read backwards."""
    if values is None or isinstance(values, Tensor):
        return values
    return torch.as_tensor(np.ascontiguousarray(values))


class _Equal:
    """Equality of containers whose fields are tensors (NaN equals NaN)."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))  # type: ignore[arg-type]

    __hash__ = None  # type: ignore[assignment]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return (
            a.dtype == b.dtype
            and a.shape == b.shape
            and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
            and torch.equal(a != a, b != b)
        )
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    return bool(a == b)


@dataclass(frozen=True, eq=False)
class Frame(_Equal):
    """One image of a video and what came with it.

    Args:
        index: 0-based position in the sequence.
        timestamp: Seconds since the start of the sequence.
        image: (3, H, W) float RGB in [0, 1], or None where only detections are given.
        size: (W, H) in pixels; taken from the image where there is one.
        intrinsics: (3, 3) pinhole matrix in pixels.
        depth: (1, H, W) measured depth in metres, 0 where unknown; replaces the depth network.
        world_from_camera: (4, 4) measured camera pose; replaces the pose network.

    Raises:
        UserError: A field has another shape, or is not finite.
    """

    index: int
    timestamp: float
    image: Tensor | None = None
    size: tuple[int, int] | None = None
    intrinsics: Tensor | None = None
    depth: Tensor | None = None
    world_from_camera: Tensor | None = None

    def __post_init__(self) -> None:
        if self.index < 0:
            _fail(self, "index", "a 0-based frame index", self.index)
        if not np.isfinite(self.timestamp):
            _fail(self, "timestamp", "finite seconds", self.timestamp)
        if self.image is not None:
            _check_tensor(self, "image", (3, None, None), "(3, H, W) float RGB in [0, 1]", floating=None)
            if not self.image.is_floating_point():
                raise UserError(f"Frame.image: expected floats in [0, 1], found {self.image.dtype}; see Frame.from_rgb")
            size = (int(self.image.shape[2]), int(self.image.shape[1]))
            if self.size is not None and tuple(self.size) != size:
                raise UserError(f"Frame.size: expected {size} (W, H) as the image has, found {tuple(self.size)}")
            object.__setattr__(self, "size", size)
        if self.intrinsics is not None:
            _check_tensor(self, "intrinsics", (3, 3), "(3, 3) pinhole matrix")
        if self.depth is not None:
            _check_tensor(self, "depth", (1, None, None), "(1, H, W) metres")
        if self.world_from_camera is not None:
            _check_tensor(self, "world_from_camera", (4, 4), "(4, 4) rigid transform")

    @classmethod
    def from_rgb(cls, rgb: np.ndarray, index: int, timestamp: float, **more: Any) -> Frame:
        """Make a frame from an (H, W, 3) uint8 RGB array."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise UserError(f"Frame.from_rgb: expected (H, W, 3) uint8, found {rgb.shape} {rgb.dtype}")
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))).float().div_(255.0)
        return cls(index=index, timestamp=timestamp, image=image, **more)

    def to_rgb(self) -> np.ndarray:
        """The image as an (H, W, 3) uint8 RGB array."""
        if self.image is None:
            raise UserError(f"Frame {self.index} has no image")
        return (self.image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()


@dataclass(frozen=True, eq=False)
class Detections(_Equal):
    """N objects found in one frame, without identity.

    Args:
        boxes: (N, 4) float xyxy pixels.
        scores: (N,) float; higher is surer.  Public detections are not always in [0, 1].
        masks: (N, h, w) bool, or float in [0, 1], at any resolution of the same view.
        embeddings: (N, D) float appearance vectors.
        depths: (N,) float metres along z, NaN where unknown.
        classes: (N,) integer class labels.

    Raises:
        UserError: A field has another shape or kind, a box is inverted, or a number is not finite.
    """

    boxes: Tensor
    scores: Tensor
    masks: Tensor | None = None
    embeddings: Tensor | None = None
    depths: Tensor | None = None
    classes: Tensor | None = None

    def __post_init__(self) -> None:
        _check_tensor(self, "boxes", (None, 4), "(N, 4) xyxy pixels")
        n = len(self.boxes)
        _check_boxes(self, self.boxes)
        _check_tensor(self, "scores", (n,), f"({n},) like boxes")
        if self.masks is not None:
            _check_tensor(self, "masks", (n, None, None), f"({n}, h, w) like boxes", floating=None)
        if self.embeddings is not None:
            _check_tensor(self, "embeddings", (n, None), f"({n}, D) like boxes")
        if self.depths is not None:
            _check_tensor(self, "depths", (n,), f"({n},) metres", floating=None)
        if self.classes is not None:
            _check_tensor(self, "classes", (n,), f"({n},) integers", floating=False)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Any) -> Detections:
        """Rows chosen by a slice, an integer tensor or a boolean mask."""
        return Detections(**{f.name: None if (v := getattr(self, f.name)) is None else v[index] for f in fields(self)})

    @classmethod
    def empty(cls) -> Detections:
        """No objects at all."""
        return cls(boxes=torch.zeros(0, 4, dtype=torch.float64), scores=torch.zeros(0, dtype=torch.float64))

    @classmethod
    def from_arrays(cls, boxes: Any, scores: Any | None = None, **more: Any) -> Detections:
        """Make detections from array-likes: boxes (N, 4) xyxy, scores (N,) (1 where not given)."""
        boxes = torch.from_numpy(_owned(boxes, np.float64).reshape(-1, 4))
        scores = np.ones(len(boxes)) if scores is None else _owned(scores, np.float64)
        return cls(boxes=boxes, scores=torch.from_numpy(scores), **{k: _tensor(v) for k, v in more.items()})

    @classmethod
    def from_mot(cls, rows: np.ndarray) -> Detections:
        """Make detections from the rows of one frame of a MOTChallenge detection file.

        Args:
            rows: (N, >= 7) columns frame, id, left, top, width, height, score.
        """
        rows = np.asarray(rows, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] < 7:
            raise UserError(f"Detections.from_mot: expected (N, >= 7) rows, found shape {rows.shape}")
        return cls.from_arrays(np.c_[rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], rows[:, 6])

    def to_mot(self, frame: int) -> np.ndarray:
        """Rows (N, 10) of a MOTChallenge detection file; ``frame`` counts from 0 here and from 1 in the rows."""
        boxes, n = self.boxes.double().cpu().numpy(), len(self)
        blank = np.full((n, 3), -1.0)
        return np.c_[
            np.full(n, frame + 1.0),
            np.full(n, -1.0),
            boxes[:, :2],
            boxes[:, 2:] - boxes[:, :2],
            self.scores.double().cpu().numpy(),
            blank,
        ]

    @classmethod
    def from_supervision(cls, detections: supervision.Detections) -> Detections:
        """Make detections from ``supervision.Detections`` (embeddings and depths from its ``data``)."""
        data = detections.data
        return cls.from_arrays(
            detections.xyxy,
            detections.confidence,
            masks=detections.mask,
            classes=None if detections.class_id is None else np.asarray(detections.class_id, dtype=np.int64),
            embeddings=data.get("embeddings"),
            depths=data.get("depths"),
        )

    def to_supervision(self) -> supervision.Detections:
        """The same objects as ``supervision.Detections`` (needs the package ``supervision``)."""
        import supervision

        data = {k: v.cpu().numpy() for k in ("embeddings", "depths") if (v := getattr(self, k)) is not None}
        return supervision.Detections(
            xyxy=self.boxes.cpu().numpy(),
            confidence=self.scores.cpu().numpy(),
            class_id=None if self.classes is None else self.classes.cpu().numpy(),
            mask=None
            if self.masks is None
            else (self.masks if self.masks.dtype == torch.bool else self.masks > 0.5).cpu().numpy(),
            data=data,
        )


@dataclass(frozen=True, eq=False)
class Tracks(_Equal):
    """Boxes with identity over a whole sequence, one row an object and frame, sorted by frame and id.

    Args:
        frames: (M,) int64, 0-based.
        ids: (M,) int64, from 1.
        boxes: (M, 4) float xyxy pixels.
        scores: (M,) float.
        classes: (M,) int64.
        visibility: (M,) float in [0, 1], NaN where unknown.
        observed: (M,) bool; False where the box was predicted or interpolated.

    Raises:
        UserError: A field has another shape, or an identity stands twice in one frame.
    """

    frames: Tensor
    ids: Tensor
    boxes: Tensor
    scores: Tensor
    classes: Tensor = field(default=None)  # type: ignore[assignment]
    visibility: Tensor = field(default=None)  # type: ignore[assignment]
    observed: Tensor = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        _check_tensor(self, "boxes", (None, 4), "(M, 4) xyxy pixels")
        m = len(self.boxes)
        defaults = {
            "classes": torch.ones(m, dtype=torch.int64),
            "visibility": torch.full((m,), float("nan"), dtype=torch.float64),
            "observed": torch.ones(m, dtype=torch.bool),
        }
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        _check_boxes(self, self.boxes)
        for name in ("frames", "ids", "classes"):
            _check_tensor(self, name, (m,), f"({m},) integers", floating=False)
        _check_tensor(self, "scores", (m,), f"({m},) like boxes")
        for name in ("visibility", "observed"):
            _check_tensor(self, name, (m,), f"({m},) like boxes", floating=None)
        if self.observed.dtype != torch.bool:
            raise UserError(f"Tracks.observed: expected bool, found {self.observed.dtype}")
        order = np.lexsort((self.ids.numpy(), self.frames.numpy()))
        if not np.array_equal(order, np.arange(m)):
            for f in fields(self):
                object.__setattr__(self, f.name, getattr(self, f.name)[torch.from_numpy(order)])
        twice = (self.frames[1:] == self.frames[:-1]) & (self.ids[1:] == self.ids[:-1])
        if bool(twice.any()):
            row = int(twice.nonzero()[0])
            raise UserError(f"Tracks: identity {int(self.ids[row])} stands twice in frame {int(self.frames[row])}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Any) -> Tracks:
        """Rows chosen by a slice, an integer tensor or a boolean mask."""
        return Tracks(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def at(self, frame: int) -> Tracks:
        """The rows of one frame."""
        start, stop = torch.searchsorted(self.frames, torch.tensor([frame, frame + 1])).tolist()
        return self[start:stop]

    def replace(self, **changes: Tensor) -> Tracks:
        """A copy with some fields changed."""
        return replace(self, **changes)

    @classmethod
    def empty(cls) -> Tracks:
        """No tracks at all."""
        return cls.from_arrays([], [], np.zeros((0, 4)))

    @classmethod
    def from_arrays(cls, frames: Any, ids: Any, boxes: Any, scores: Any | None = None, **more: Any) -> Tracks:
        """Make tracks from array-likes (scores are 1 where not given)."""
        boxes = torch.from_numpy(_owned(boxes, np.float64).reshape(-1, 4))
        scores = np.ones(len(boxes)) if scores is None else _owned(scores, np.float64)
        return cls(
            frames=torch.from_numpy(_owned(frames, np.int64)),
            ids=torch.from_numpy(_owned(ids, np.int64)),
            boxes=boxes,
            scores=torch.from_numpy(scores),
            **{k: _tensor(v) for k, v in more.items()},
        )

    @classmethod
    def from_mot(cls, rows: np.ndarray) -> Tracks:
        """Make tracks from MOTChallenge rows (frame from 1, id, left, top, width, height, score, class?, visibility?).

        Args:
            rows: (M, >= 6).  The columns class and visibility are used where they are not the -1 of result files.
        """
        rows = np.asarray(rows, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] < 6:
            raise UserError(f"Tracks.from_mot: expected (M, >= 6) rows, found shape {rows.shape}")
        labelled = rows.shape[1] >= 9 and bool((rows[:, 7] >= 0).all())
        return cls.from_arrays(
            rows[:, 0].astype(np.int64) - 1,
            rows[:, 1].astype(np.int64),
            np.c_[rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]],
            rows[:, 6] if rows.shape[1] > 6 else None,
            classes=rows[:, 7].astype(np.int64) if labelled else None,
            visibility=np.where(rows[:, 8] < 0, np.nan, rows[:, 8]) if labelled else None,
        )

    def to_mot(self) -> np.ndarray:
        """Rows (M, 9): frame from 1, id, left, top, width, height, score, class, visibility (-1 where unknown)."""
        boxes = self.boxes.double().numpy()
        columns = (self.frames.double() + 1, self.ids, boxes[:, :2], boxes[:, 2:] - boxes[:, :2], self.scores)
        return np.column_stack(
            [
                *(np.asarray(c, dtype=np.float64) for c in columns),
                self.classes.double(),
                torch.nan_to_num(self.visibility.double(), nan=-1.0),
            ]
        )


_NODE_FIELDS: dict[str, tuple[tuple[int | None, ...], torch.dtype, float]] = {
    # name: trailing shape, kind, value where it is not given
    "track_id": ((), torch.int64, 0),
    "box": ((4,), torch.float32, float("nan")),
    "box_std": ((4,), torch.float32, float("nan")),
    "position": ((3,), torch.float32, float("nan")),
    "visibility": ((), torch.float32, float("nan")),
    "state": ((), torch.int64, 0),
    "hidden_for": ((), torch.float32, 0.0),
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
class SceneGraph(_Equal):
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
            ``hidden_for`` (N,) seconds since last seen; ``shown`` (N,) bool, whether the box is reported;
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
                    _fail(self, f"{kind_[1]}.{name}", f"{(e, *tail)}", edges[name])

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
        same = same and all(_same(self.data[OBJECT][k], other.data[OBJECT][k]) for k in _NODE_FIELDS)
        return same and all(
            _same(self.data[kind][k], other.data[kind][k])
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


_TRACK_FIELDS: dict[str, tuple[tuple[int | None, ...], str]] = {
    # name: trailing shape, kind of NumPy dtype
    "ids": ((), "i"),
    "hits": ((), "i"),
    "missed": ((), "i"),
    "born": ((), "f"),
    "seen": ((), "f"),
    "scores": ((), "f"),
    "classes": ((), "i"),
    "centre": ((None, 2), "f"),
    "centre_velocity": ((None, 2), "f"),
    "centre_covariance": ((None, 3), "f"),
    "size": ((2,), "f"),
    "size_velocity": ((2,), "f"),
    "size_covariance": ((3,), "f"),
    "mark": ((None, 2), "f"),
    "mark_velocity": ((None, 2), "f"),
    "mark_time": ((), "f"),
    "last_box": ((4,), "f"),
}


@dataclass(frozen=True, eq=False)
class TrackTable(_Equal):
    """The live tracks of a sequence as a struct of NumPy arrays in host memory, N rows each.

    The centre is followed by a bank of G constant-velocity filters that differ in their process noise; both axes
    share one covariance (variance of position, covariance of position and velocity, variance of velocity).

    Args:
        ids: (N,) int64 from 1; 0 while a track is not confirmed.
        hits: (N,) int64 number of matched detections.
        missed: (N,) int64 number of steps since the last of them.
        born: (N,) seconds of the first detection.
        seen: (N,) seconds of the last detection.
        scores: (N,) calibrated score of the last detection.
        classes: (N,) int64.
        centre: (N, G, 2) pixels.
        centre_velocity: (N, G, 2) pixels per second.
        centre_covariance: (N, G, 3).
        size: (N, 2) width and height in pixels.
        size_velocity: (N, 2) pixels per second.
        size_covariance: (N, 3).
        mark: (N, G, 2) the centre some time ago, moved with the camera since: what the filters are compared by.
        mark_velocity: (N, G, 2) the velocity then.
        mark_time: (N,) when, NaN where there is no mark.
        last_box: (N, 4) the last matched box, xyxy pixels, moved with the camera since.

    Raises:
        UserError: A field has another number of rows.
    """

    ids: np.ndarray
    hits: np.ndarray
    missed: np.ndarray
    born: np.ndarray
    seen: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    centre: np.ndarray
    centre_velocity: np.ndarray
    centre_covariance: np.ndarray
    size: np.ndarray
    size_velocity: np.ndarray
    size_covariance: np.ndarray
    mark: np.ndarray
    mark_velocity: np.ndarray
    mark_time: np.ndarray
    last_box: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.ids)  # the hot path: rows only, see check()
        for name in _TRACK_FIELDS:
            if len(getattr(self, name)) != n:
                raise UserError(f"TrackTable.{name}: expected {n} rows, found {len(getattr(self, name))}")

    def check(self) -> None:
        """Refuse fields of another shape or kind (for tables from outside)."""
        for name, (tail, kind) in _TRACK_FIELDS.items():
            value, want = getattr(self, name), (len(self.ids), *tail)
            fits = value.ndim == len(want) and all(w is None or w == g for w, g in zip(want, value.shape, strict=True))
            if not fits or value.dtype.kind != kind:
                raise UserError(f"TrackTable.{name}: expected {want} of kind {kind}, found {value.shape} {value.dtype}")

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Any) -> TrackTable:
        """Rows chosen by an integer or boolean array."""
        return TrackTable(**{name: getattr(self, name)[rows] for name in _TRACK_FIELDS})

    def joined(self, other: TrackTable) -> TrackTable:
        """These rows and those of another table."""
        return TrackTable(
            **{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in _TRACK_FIELDS}
        )

    @classmethod
    def empty(cls, filters: int) -> TrackTable:
        """No tracks, with a bank of so many filters."""
        sizes = {name: (0, *(filters if t is None else t for t in tail)) for name, (tail, _) in _TRACK_FIELDS.items()}
        kinds = {"i": np.int64, "f": np.float64}
        return cls(**{name: np.zeros(sizes[name], dtype=kinds[kind]) for name, (_, kind) in _TRACK_FIELDS.items()})


@dataclass(frozen=True, eq=False)
class TrackerState(_Equal):
    """Everything that a sequence carries from frame to frame.

    Args:
        next_frame: Index of the next frame.
        timestamp: Seconds of the last frame, NaN before the first.
        step: Seconds between the last two frames, NaN before the second.
        next_id: The identity that the next confirmed track gets.
        tracks: The live tracks.
        filter_errors: (G,) sum of the prediction errors of each filter of the bank, in heights.
        spread: (2,) sum and number of the normalised squared innovations of the chosen filter.
        score_memory: (K, 2) past detection scores and whether each was found again in the next frame.
        last_boxes: (M, 4) boxes of the last frame, waiting to be found again.
        last_scores: (M,) their raw scores.
        background: (h, w) uint8 small grey image of the last frame, (0, 0) where there was none.
    """

    next_frame: int
    timestamp: float
    step: float
    next_id: int
    tracks: TrackTable
    filter_errors: np.ndarray
    spread: np.ndarray
    score_memory: np.ndarray
    last_boxes: np.ndarray
    last_scores: np.ndarray
    background: np.ndarray

    _ARRAYS: ClassVar[tuple[str, ...]] = (
        "filter_errors",
        "spread",
        "score_memory",
        "last_boxes",
        "last_scores",
        "background",
    )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TrackerState):
            return NotImplemented
        return all(
            _same(np.asarray(a), np.asarray(b))
            for a, b in zip(self._flat().values(), other._flat().values(), strict=True)
        )

    def save(self, path: str | Path) -> None:
        """Write the state as safetensors; going on from it gives the same bytes as never having stopped."""
        from safetensors.numpy import save_file

        save_file({k: np.ascontiguousarray(v) for k, v in self._flat().items()}, str(path), {"format": _STATE_FORMAT})

    @classmethod
    def load(cls, path: str | Path) -> TrackerState:
        """Read a state that :meth:`save` wrote.

        Raises:
            UserError: The file is missing, damaged or of another version.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                if (file.metadata() or {}).get("format") != _STATE_FORMAT:
                    raise UserError(f"{path}: expected a tracker state ({_STATE_FORMAT})")
                values = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            tracks = TrackTable(**{name: values[f"tracks.{name}"] for name in _TRACK_FIELDS})
            (next_frame, next_id), (timestamp, step) = values["counters"].tolist(), values["times"].tolist()
            arrays = {name: values[name] for name in cls._ARRAYS}
            tracks.check()
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except (SafetensorError, KeyError, OSError) as wrong:
            raise UserError(f"{path}: expected a tracker state, {wrong}") from None
        return cls(int(next_frame), timestamp, step, int(next_id), tracks, **arrays)

    def _flat(self) -> dict[str, np.ndarray]:
        return {
            "counters": np.array([self.next_frame, self.next_id], dtype=np.int64),
            "times": np.array([self.timestamp, self.step], dtype=np.float64),
            **{f"tracks.{name}": getattr(self.tracks, name) for name in _TRACK_FIELDS},
            **{name: getattr(self, name) for name in self._ARRAYS},
        }


_STATE_FORMAT = "scenegraph-track tracker state 1"

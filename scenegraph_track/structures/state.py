"""Everything that a sequence carries from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from geometry.errors import GeometryError
from geometry.video import VideoGeometryState
from scenegraph_track.errors import UserError
from scenegraph_track.structures.checks import Equal, same_value

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
    "depth": ((), "f"),
    "appearance": ((None,), "f"),
    "memory": ((None,), "f"),
}
_LEFT_FIELDS: dict[str, tuple[tuple[int | None, ...], str]] = {
    "ids": ((), "i"),
    "classes": ((), "i"),
    "seen": ((), "f"),
    "boxes": ((4,), "f"),
    "appearance": ((None,), "f"),
}
_TARGET_FIELDS: dict[str, tuple[tuple[int | None, ...], str]] = {
    "ids": ((), "i"),
    "boxes": ((4,), "f"),
    "scores": ((), "f"),
    "time": ((), "f"),
    "seen": ((), "f"),
    "lost": ((), "i"),
    "remembered": ((), "i"),
    "views": ((), "i"),
    "features": ((None, None, None, None), "f"),
    "view_boxes": ((None, 4), "f"),
    "given": ((None,), "b"),
    "filters": ((2, None), "f"),
}


@dataclass(frozen=True, eq=False)
class TrackTable(Equal):
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
        depth: (N,) last known depth along z of the current camera, moved with it since; NaN where unknown.
        appearance: (N, A) mean appearance of the detections, of length 1, zeros where unknown; A is 0 without any.
        memory: (N, D) what a learned tracker remembers of each track; D is 0 without one.

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
    depth: np.ndarray
    appearance: np.ndarray
    memory: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.ids)  # the hot path: rows only, see check()
        for name in _TRACK_FIELDS:
            if len(getattr(self, name)) != n:
                raise UserError(f"TrackTable.{name}: expected {n} rows, found {len(getattr(self, name))}")

    def check(self) -> None:
        """Refuse fields of another shape or kind (for tables from outside)."""
        _check(self, _TRACK_FIELDS)

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
        sizes["appearance"] = sizes["memory"] = (0, 0)
        kinds = {"i": np.int64, "f": np.float64}
        return cls(**{name: np.zeros(sizes[name], dtype=kinds[kind]) for name, (_, kind) in _TRACK_FIELDS.items()})


@dataclass(frozen=True, eq=False)
class LeftTable(Equal):
    """Identities that have left and may come back, K rows.

    Args:
        ids: (K,) int64.
        classes: (K,) int64.
        seen: (K,) seconds of the last detection.
        boxes: (K, 4) the last one, xyxy pixels of that moment.
        appearance: (K, A) of length 1.
    """

    ids: np.ndarray
    classes: np.ndarray
    seen: np.ndarray
    boxes: np.ndarray
    appearance: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def check(self) -> None:
        """Refuse fields of another shape or kind."""
        _check(self, _LEFT_FIELDS)

    def __getitem__(self, rows: Any) -> LeftTable:
        """Rows chosen by an integer or boolean array."""
        return LeftTable(**{name: getattr(self, name)[rows] for name in _LEFT_FIELDS})

    def joined(self, tracks: TrackTable) -> LeftTable:
        """These rows and those of tracks; only tracks where appearance is of another width than before."""
        new = LeftTable(tracks.ids, tracks.classes, tracks.seen, tracks.last_box, tracks.appearance)
        if self.appearance.shape[1] != new.appearance.shape[1]:
            return new
        return LeftTable(**{name: np.concatenate([getattr(self, name), getattr(new, name)]) for name in _LEFT_FIELDS})

    @classmethod
    def empty(cls) -> LeftTable:
        """No identities."""
        number = np.zeros(0, dtype=np.int64)
        return cls(number, number, np.zeros(0), np.zeros((0, 4)), np.zeros((0, 0)))


@dataclass(frozen=True, eq=False)
class TargetTable(Equal):
    """Targets that a user has given, K rows; followed by target models (see ``target.followed``).

    Args:
        ids: (K,) int64 from 1.
        boxes: (K, 4) where they were last found, xyxy pixels.
        scores: (K,) of the last responses.
        time: (K,) seconds of the last frame in which they were looked for, or given.
        seen: (K,) seconds of the last frame in which they were found.
        lost: (K,) int64 frames without them since then.
        remembered: (K,) int64 frames since the newest view was remembered.
        views: (K,) int64 number of remembered views, at most n.
        features: (K, n, D, h, w) of these views; what follows the last one is filled with the first.
        view_boxes: (K, n, 4) of the targets in them, pixels of the view.
        given: (K, n) bool, whether the box was given.
        filters: (K, 2, D) for the middle and for the box; D is 0 where they are predicted for each frame anew.
    """

    ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    time: np.ndarray
    seen: np.ndarray
    lost: np.ndarray
    remembered: np.ndarray
    views: np.ndarray
    features: np.ndarray
    view_boxes: np.ndarray
    given: np.ndarray
    filters: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Any) -> TargetTable:
        """Rows chosen by an integer or boolean array."""
        return TargetTable(**{name: getattr(self, name)[rows] for name in _TARGET_FIELDS})

    def check(self) -> None:
        """Refuse fields of another shape or kind."""
        _check(self, _TARGET_FIELDS)


def _check(table: TrackTable | LeftTable | TargetTable, fields: dict[str, tuple[tuple[int | None, ...], str]]) -> None:
    for name, (tail, kind) in fields.items():
        value, want = getattr(table, name), (len(table.ids), *tail)
        fits = value.ndim == len(want) and all(w is None or w == g for w, g in zip(want, value.shape, strict=True))
        if not fits or value.dtype.kind != kind:
            found = f"{value.shape} {value.dtype}"
            raise UserError(f"{type(table).__name__}.{name}: expected {want} of kind {kind}, found {found}")


@dataclass(frozen=True, eq=False)
class TrackerState(Equal):
    """Everything that a sequence carries from frame to frame.

    Args:
        next_frame: Index of the next frame.
        timestamp: Seconds of the last frame, NaN before the first.
        step: Seconds between the last two frames, NaN before the second.
        next_id: The identity that the next confirmed track gets.
        tracks: The live tracks.
        left: Identities that have left, and how they looked.
        filter_errors: (G,) sum of the prediction errors of each filter of the bank, in heights.
        spread: (2,) sum and number of the normalised squared innovations of the chosen filter.
        score_memory: (K, 2) past detection scores and whether each was found again in the next frame.
        last_boxes: (M, 4) boxes of the last frame, waiting to be found again.
        last_scores: (M,) their raw scores.
        background: (h, w) uint8 small grey image of the last frame, (0, 0) where there was none.
        intrinsics: (3, 3) of the last frame, (0, 0) where its pose is not known.
        world_from_camera: (4, 4) pose of the last frame, (0, 0) where it is not known.
        scene_ids: (K,) int64 identities of which a learned scene graph remembers something.
        scene_memory: (K, D) what that is.
        geometry: What `geometry.video` carries where it finds depth and motion, else None.
        targets: What a user has given to follow, else None.
        visible_parts: What `tracking.visible_parts` carries, by name; empty where it is not used.
    """

    next_frame: int
    timestamp: float
    step: float
    next_id: int
    tracks: TrackTable
    left: LeftTable
    filter_errors: np.ndarray
    spread: np.ndarray
    score_memory: np.ndarray
    last_boxes: np.ndarray
    last_scores: np.ndarray
    background: np.ndarray
    intrinsics: np.ndarray
    world_from_camera: np.ndarray
    scene_ids: np.ndarray
    scene_memory: np.ndarray
    geometry: VideoGeometryState | None = None
    targets: TargetTable | None = None
    visible_parts: dict[str, np.ndarray] = field(default_factory=dict)

    _ARRAYS: ClassVar[tuple[str, ...]] = (
        "filter_errors",
        "spread",
        "score_memory",
        "last_boxes",
        "last_scores",
        "background",
        "intrinsics",
        "world_from_camera",
        "scene_ids",
        "scene_memory",
    )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TrackerState):
            return NotImplemented
        mine, theirs = self._flat(), other._flat()
        return mine.keys() == theirs.keys() and all(same_value(mine[name], theirs[name]) for name in mine)

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
            left = LeftTable(**{name: values[f"left.{name}"] for name in _LEFT_FIELDS})
            (next_frame, next_id), (timestamp, step) = values["counters"].tolist(), values["times"].tolist()
            arrays = {name: values[name] for name in cls._ARRAYS}
            video = {k.removeprefix(_GEOMETRY): v for k, v in values.items() if k.startswith(_GEOMETRY)}
            geometry = VideoGeometryState.from_arrays(video) if video else None
            targets = None
            if f"{_TARGETS}ids" in values:
                targets = TargetTable(**{name: values[_TARGETS + name] for name in _TARGET_FIELDS})
                targets.check()
            parts = {k.removeprefix(_PARTS): v for k, v in values.items() if k.startswith(_PARTS)}
            tracks.check()
            left.check()
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except (SafetensorError, KeyError, OSError, GeometryError) as wrong:
            raise UserError(f"{path}: expected a tracker state, {wrong}") from None
        counters = (int(next_frame), timestamp, step, int(next_id))
        return cls(*counters, tracks, left, **arrays, geometry=geometry, targets=targets, visible_parts=parts)

    def _flat(self) -> dict[str, np.ndarray]:
        return {
            "counters": np.array([self.next_frame, self.next_id], dtype=np.int64),
            "times": np.array([self.timestamp, self.step], dtype=np.float64),
            **{f"tracks.{name}": getattr(self.tracks, name) for name in _TRACK_FIELDS},
            **{f"left.{name}": getattr(self.left, name) for name in _LEFT_FIELDS},
            **{name: getattr(self, name) for name in self._ARRAYS},
            **({} if self.geometry is None else {_GEOMETRY + k: v for k, v in self.geometry.arrays().items()}),
            **({} if self.targets is None else {_TARGETS + k: getattr(self.targets, k) for k in _TARGET_FIELDS}),
            **{_PARTS + name: value for name, value in self.visible_parts.items()},
        }


_STATE_FORMAT = "scenegraph-track tracker state 6"
_GEOMETRY, _TARGETS, _PARTS = "geometry.", "targets.", "visible_parts."

"""What a sequence carries of its tracks, of identities that have left and of given targets: one row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from scenegraph_track.errors import UserError
from scenegraph_track.structures.checks import Equal

Columns = dict[str, tuple[tuple[int | None, ...], str]]
"""By name the shape behind the rows (None: any size) and the kind of NumPy dtype."""


class Table(Equal):
    """A struct of NumPy arrays in host memory with as many rows each."""

    COLUMNS: ClassVar[Columns]
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Any) -> Self:
        """Rows chosen by an integer or boolean array."""
        return type(self)(**{name: getattr(self, name)[rows] for name in self.COLUMNS})

    def _joined(self, other: Self) -> Self:
        return type(self)(
            **{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in self.COLUMNS}
        )

    def check(self) -> None:
        """Refuse columns of another shape or kind (for tables from outside).

        Raises:
            UserError: One is.
        """
        for name, (tail, kind) in self.COLUMNS.items():
            value, want = getattr(self, name), (len(self.ids), *tail)
            fits = value.ndim == len(want) and all(w is None or w == g for w, g in zip(want, value.shape, strict=True))
            if not fits or value.dtype.kind != kind:
                found = f"{value.shape} {value.dtype}"
                raise UserError(f"{type(self).__name__}.{name}: expected {want} of kind {kind}, found {found}")


@dataclass(frozen=True, eq=False)
class TrackTable(Table):
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

    COLUMNS: ClassVar[Columns] = {
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

    def __post_init__(self) -> None:
        n = len(self.ids)  # the hot path: rows only, see check()
        for name in self.COLUMNS:
            if len(getattr(self, name)) != n:
                raise UserError(f"TrackTable.{name}: expected {n} rows, found {len(getattr(self, name))}")

    def joined(self, other: TrackTable) -> TrackTable:
        """These rows and those of another table."""
        return self._joined(other)

    @classmethod
    def empty(cls, filters: int) -> TrackTable:
        """No tracks, with a bank of so many filters."""
        sizes = {name: (0, *(filters if t is None else t for t in tail)) for name, (tail, _) in cls.COLUMNS.items()}
        sizes["appearance"] = sizes["memory"] = (0, 0)
        kinds = {"i": np.int64, "f": np.float64}
        return cls(**{name: np.zeros(sizes[name], dtype=kinds[kind]) for name, (_, kind) in cls.COLUMNS.items()})


@dataclass(frozen=True, eq=False)
class LeftTable(Table):
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

    COLUMNS: ClassVar[Columns] = {
        "ids": ((), "i"),
        "classes": ((), "i"),
        "seen": ((), "f"),
        "boxes": ((4,), "f"),
        "appearance": ((None,), "f"),
    }

    def joined(self, tracks: TrackTable) -> LeftTable:
        """These rows and those of tracks; only tracks where appearance is of another width than before."""
        new = LeftTable(tracks.ids, tracks.classes, tracks.seen, tracks.last_box, tracks.appearance)
        if self.appearance.shape[1] != new.appearance.shape[1]:
            return new
        return self._joined(new)

    @classmethod
    def empty(cls) -> LeftTable:
        """No identities."""
        number = np.zeros(0, dtype=np.int64)
        return cls(number, number, np.zeros(0), np.zeros((0, 4)), np.zeros((0, 0)))


@dataclass(frozen=True, eq=False)
class TargetTable(Table):
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

    COLUMNS: ClassVar[Columns] = {
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

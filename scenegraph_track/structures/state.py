"""Everything that a sequence carries from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from geometry.errors import GeometryError
from geometry.video import VideoGeometryState
from scenegraph_track.errors import UserError
from scenegraph_track.structures.checks import Equal, same_value
from scenegraph_track.structures.tables import LeftTable, TargetTable, TrackTable


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

        if Path(path).is_dir():
            raise UserError(f"{path}: expected a file with a tracker state, found a folder")
        try:
            with safe_open(str(path), framework="numpy") as file:
                if (file.metadata() or {}).get("format") != _STATE_FORMAT:
                    raise UserError(f"{path}: expected a tracker state ({_STATE_FORMAT})")
                values = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            tracks = TrackTable(**{name: values[f"tracks.{name}"] for name in TrackTable.COLUMNS})
            left = LeftTable(**{name: values[f"left.{name}"] for name in LeftTable.COLUMNS})
            (next_frame, next_id), (timestamp, step) = values["counters"].tolist(), values["times"].tolist()
            arrays = {name: values[name] for name in cls._ARRAYS}
            video = {k.removeprefix(_GEOMETRY): v for k, v in values.items() if k.startswith(_GEOMETRY)}
            geometry = VideoGeometryState.from_arrays(video) if video else None
            targets = None
            if f"{_TARGETS}ids" in values:
                targets = TargetTable(**{name: values[_TARGETS + name] for name in TargetTable.COLUMNS})
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
            **{f"tracks.{name}": getattr(self.tracks, name) for name in TrackTable.COLUMNS},
            **{f"left.{name}": getattr(self.left, name) for name in LeftTable.COLUMNS},
            **{name: getattr(self, name) for name in self._ARRAYS},
            **({} if self.geometry is None else {_GEOMETRY + k: v for k, v in self.geometry.arrays().items()}),
            **({} if self.targets is None else {_TARGETS + k: getattr(self.targets, k) for k in TargetTable.COLUMNS}),
            **{_PARTS + name: value for name, value in self.visible_parts.items()},
        }


_STATE_FORMAT = "scenegraph-track tracker state 6"
_GEOMETRY, _TARGETS, _PARTS = "geometry.", "targets.", "visible_parts."

"""Boxes with identity over a whole sequence."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.structures.checks import Equal, as_tensor, check_boxes, check_tensor, owned, owned_boxes


@dataclass(frozen=True, eq=False)
class Tracks(Equal):
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
        check_tensor(self, "boxes", (None, 4), "(M, 4) xyxy pixels")
        m = len(self.boxes)
        defaults = {
            "classes": torch.ones(m, dtype=torch.int64),
            "visibility": torch.full((m,), float("nan"), dtype=torch.float64),
            "observed": torch.ones(m, dtype=torch.bool),
        }
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        check_boxes(self, self.boxes)
        for name in ("frames", "ids", "classes"):
            check_tensor(self, name, (m,), f"({m},) integers", floating=False)
        check_tensor(self, "scores", (m,), f"({m},) like boxes")
        for name in ("visibility", "observed"):
            check_tensor(self, name, (m,), f"({m},) like boxes", floating=None)
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
        boxes = owned_boxes("Tracks.boxes", boxes)
        scores = np.ones(len(boxes)) if scores is None else owned("Tracks.scores", scores, np.float64)
        return cls(
            frames=torch.from_numpy(owned("Tracks.frames", frames, np.int64)),
            ids=torch.from_numpy(owned("Tracks.ids", ids, np.int64)),
            boxes=boxes,
            scores=torch.from_numpy(scores),
            **{k: as_tensor(v) for k, v in more.items()},
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

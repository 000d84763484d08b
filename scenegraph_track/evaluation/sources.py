"""What an evaluation compares: validated MOTChallenge rows, with the file they were read from for messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scenegraph_track.errors import FormatError, UserError

FRAME, ID, CONSIDERED, CLASS, VISIBILITY = 0, 1, 6, 7, 8
"""Columns of MOTChallenge rows; 2 to 5 are left, top, width and height in pixels."""


@dataclass(frozen=True, eq=False)
class ResultSource:
    """The rows of one sequence that a tracker wrote.

    Args:
        rows: (M, >= 6) frame from 1, id, left, top, width, height in pixels, then columns that may be missing.
        path: The file the rows were read from, for messages.
        lines: (M,) 1-based line of each row in that file, for messages.

    Raises:
        UserError: The rows have another shape or hold a number that is not finite in their first six columns.
    """

    rows: np.ndarray
    path: str | Path | None = None
    lines: np.ndarray | None = None

    def __post_init__(self) -> None:
        rows = np.asarray(self.rows, dtype=np.float64)
        if rows.size == 0:
            rows = rows.reshape(0, rows.shape[1] if rows.ndim == 2 and rows.shape[1] >= 6 else 6)
        if rows.ndim != 2 or rows.shape[1] < 6:
            raise UserError(
                f"{self.path or 'rows'}: expected rows frame, id, left, top, width, height, found shape {rows.shape}"
            )
        object.__setattr__(self, "rows", rows)
        if self.lines is not None and len(self.lines) != len(rows):
            raise UserError(f"{self.path or 'rows'}: expected {len(rows)} line numbers, found {len(self.lines)}")
        broken = ~np.isfinite(rows[:, :6]).all(1)
        if broken.any():
            self.refuse(int(broken.argmax()), "finite numbers", str(rows[int(broken.argmax()), :6].tolist()))

    def refuse(self, row: int, expected: str, found: str) -> None:
        """Raise the error that names the file and line of a row."""
        line = None if self.lines is None else int(self.lines[row])
        if line is None:
            found += f" in row {row + 1}"
        raise FormatError(self.path or "rows", line, expected, found)

    def check(self, frames: int) -> None:
        """Refuse rows beyond the sequence, and an identity that stands twice in one frame.

        Args:
            frames: Length of the sequence.

        Raises:
            FormatError: Names the file, the line, the frame and the identity.
        """
        frame, identity = self.rows[:, FRAME], self.rows[:, ID]
        outside = (frame < 1) | (frame > frames) | (frame != np.floor(frame))
        if outside.any():
            row = int(outside.argmax())
            self.refuse(row, f"a frame from 1 to {frames}", f"frame {frame[row]:g}")
        order = np.lexsort((identity, frame))
        again = (np.diff(frame[order]) == 0) & (np.diff(identity[order]) == 0)
        if again.any():
            row = int(order[1:][again].min())
            self.refuse(row, "an identity once in a frame", f"id {identity[row]:g} again in frame {frame[row]:g}")


@dataclass(frozen=True, eq=False)
class TruthSource(ResultSource):
    """The ground truth of one sequence.

    Args:
        rows: (M, >= 6) frame from 1, id, left, top, width, height, considered (0: not), class, visibility.
        path: The file the rows were read from, for messages.
        lines: (M,) 1-based line of each row in that file, for messages.
        frames: Length of the sequence.

    Raises:
        UserError: As for ``ResultSource``, or the sequence has no frame.
    """

    frames: int = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames < 1:
            raise UserError(f"{self.path or 'rows'}: expected a sequence of at least one frame, found {self.frames}")

    @property
    def has_classes(self) -> bool:
        """Whether column 8 holds MOT16 classes, 1 to 13 (the 2015 layout keeps world coordinates there)."""
        return self.rows.shape[1] > VISIBILITY and bool(np.isin(self.rows[:, CLASS], np.arange(1, 14)).all())

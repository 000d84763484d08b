"""MOTChallenge text files: detections, ground truth and results (2015, 16, 17, 20, DanceTrack, SportsMOT).

Every row is ``frame, id, left, top, width, height, ...`` with frames from 1 and boxes in pixels.  The coordinates are
taken as they stand (no shift by one pixel), as the official evaluation does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from scenegraph_track.data.tables import line_of_row, parse_table
from scenegraph_track.errors import FormatError
from scenegraph_track.files import atomic_write, read_text
from scenegraph_track.structures import Detections, Tracks

FRAME_MAX = 100_000_000
"""Largest frame number that a file may hold."""

SIZE_MAX = 1e9
"""Largest magnitude of a box number in pixels."""


def read_rows(path: str | Path, columns_min: int = 6) -> np.ndarray:
    """Read the rows of a MOTChallenge file as they stand.

    Accepted are commas or blanks between the columns, blank lines, any line ends, a byte order mark, rows in any order,
    whole numbers written with a fraction of zero, boxes outside of the image and of no area.

    Args:
        path: A text file.
        columns_min: How many columns each row must have at least (6 or more).

    Returns:
        (N, C >= columns_min) float64 in the file's order; an empty file has no rows.

    Raises:
        FormatError: A row is no such row; the message names file, line and what was expected.
        UserError: The file cannot be read.
    """
    return _read(path, columns_min)[1]


@dataclass(frozen=True, eq=False)
class DetectionFile:
    """The detections of one sequence.

    Args:
        path: Where they were read.
        rows: (N, >= 7) sorted by frame, the file's order kept within a frame: frame (from 1), id, left, top, width,
            height, score.
        classes: (N,) int64 class labels where the format has them, or None.
    """

    path: Path
    rows: np.ndarray
    classes: np.ndarray | None = None

    @property
    def length(self) -> int:
        """The number of the last frame that has a detection; the sequence may be longer."""
        return int(self.rows[-1, 0]) if len(self.rows) else 0

    def __len__(self) -> int:
        return len(self.rows)

    def frame(self, index: int) -> Detections:
        """The detections of the frame ``index`` (from 0), in the file's order; boxes and scores are float64."""
        boxes, scores, classes = self._tensors
        start, stop = np.searchsorted(self._frames, (index + 1, index + 2))
        return Detections(
            boxes=boxes[start:stop],
            scores=scores[start:stop],
            classes=None if classes is None else classes[start:stop],
        )

    @cached_property
    def _frames(self) -> np.ndarray:
        return np.ascontiguousarray(self.rows[:, 0])

    @cached_property
    def _tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        return (
            torch.from_numpy(_xyxy(self.rows)),
            torch.from_numpy(self.rows[:, 6].copy()),
            None if self.classes is None else torch.from_numpy(self.classes),
        )


@dataclass(frozen=True, eq=False)
class TruthFile:
    """The ground truth of one sequence.

    Args:
        path: Where it was read.
        tracks: All rows, also those that do not count; scores are 1 where a row counts and 0 where it does not.
        considered: (M,) bool, row for row of ``tracks``: counts in an evaluation (column 7 is not 0).
        labelled: The file has classes and visible fractions (2016 and later); otherwise every row is a pedestrian
            (class 1) of unknown visibility.
        id_shift: What was added to the file's ids so that they count from 1 (SportsMOT counts from 0).
    """

    path: Path
    tracks: Tracks
    considered: np.ndarray
    labelled: bool
    id_shift: int = 0


def read_detections(path: str | Path) -> DetectionFile:
    """Read ``det.txt``: frame, id (not used), left, top, width, height, score, further columns that are kept.

    Raises:
        FormatError: See ``read_rows``.
    """
    rows = read_rows(path, columns_min=7)
    return DetectionFile(path=Path(path), rows=rows[np.argsort(rows[:, 0], kind="stable")])


def read_truth(path: str | Path) -> TruthFile:
    """Read ``gt.txt`` of any year.

    Nine columns with a class in the eighth are the layout of 2016 and later (class, visible fraction).  Ten columns are
    the layout of 2015, whose columns 8-10 are world coordinates or -1, unless column 8 holds only class numbers from 1
    to 13 and column 9 only fractions.  Six to eight columns are read as rows without class.

    Raises:
        FormatError: See ``read_rows``; also an identity that stands twice in a frame.
    """
    text, rows = _read(path, columns_min=6)
    labelled = _has_classes(rows)
    shift = _check_identities(path, text, rows)
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    rows = rows[order]
    considered = rows[:, 6] != 0 if rows.shape[1] > 6 else np.ones(len(rows), dtype=bool)
    visibility = np.where((rows[:, 8] >= 0) & (rows[:, 8] <= 1), rows[:, 8], np.nan) if labelled else None
    tracks = _tracks(
        rows,
        shift,
        considered.astype(np.float64),
        classes=rows[:, 7].astype(np.int64) if labelled else None,
        visibility=visibility,
    )
    return TruthFile(path=Path(path), tracks=tracks, considered=considered, labelled=labelled, id_shift=shift)


def read_results(path: str | Path) -> Tracks:
    """Read a tracker's result file: frame, id, left, top, width, height, score (1 where there is no column 7).

    Ids that start below 1 are shifted so that the smallest is 1; an evaluation only needs them distinct.

    Raises:
        FormatError: See ``read_rows``; also an identity that stands twice in a frame.
    """
    text, rows = _read(path, columns_min=6)
    shift = _check_identities(path, text, rows)
    return _tracks(rows, shift, rows[:, 6] if rows.shape[1] > 6 else np.ones(len(rows)))


def write_results(path: str | Path, tracks: Tracks) -> None:
    """Write ``frame,id,left,top,width,height,score,-1,-1,-1``: boxes to 0.01 pixels, scores to four digits."""
    table = tracks.to_mot()
    _write(path, table[:, :7], "%d,%d,%.2f,%.2f,%.2f,%.2f,%.4g,-1,-1,-1")


def write_detections(path: str | Path, frames: list[Detections]) -> None:
    """Write the detections of the frames 0, 1, ... as ``det.txt``: boxes to 0.001 pixels, scores to six digits."""
    rows = [detections.to_mot(index)[:, [0, 2, 3, 4, 5, 6]] for index, detections in enumerate(frames)]
    _write(path, np.concatenate([np.zeros((0, 6)), *rows]), "%d,-1,%.3f,%.3f,%.3f,%.3f,%.6g,-1,-1,-1")


def write_truth(path: str | Path, tracks: Tracks, considered: np.ndarray | None = None) -> None:
    """Write ``gt.txt`` in the layout of 2016 and later: boxes to 0.001 pixels, visible fraction to 0.00001 or -1.

    Args:
        path: Where to write.
        tracks: Ids are written as they are here, from 1.
        considered: (M,) bool; all rows count where it is not given.
    """
    table = tracks.to_mot()
    table[:, 6] = True if considered is None else considered
    _write(path, table, "%d,%d,%.3f,%.3f,%.3f,%.3f,%d,%d,%.5g")


def _write(path: str | Path, table: np.ndarray, row_format: str) -> None:
    lines = [row_format % tuple(row) for row in table.tolist()]
    with atomic_write(path) as file:
        file.write("\n".join([*lines, ""]))


def _read(path: str | Path, columns_min: int) -> tuple[str, np.ndarray]:
    text = read_text(path)
    rows = parse_table(path, text, columns_min)
    frames, boxes = rows[:, 0], rows[:, 2:6]
    whole = (frames == np.floor(frames)) & (frames >= 1) & (frames <= FRAME_MAX)
    _refuse(path, text, ~whole, f"a whole frame number from 1 to {FRAME_MAX} in column 1")
    _refuse(path, text, ~(np.abs(rows[:, 1]) < 2**53), "a finite id in column 2")
    _refuse(path, text, rows[:, 1] != np.floor(rows[:, 1]), "a whole number as id in column 2")
    _refuse(path, text, ~(np.abs(boxes) <= SIZE_MAX).all(1), "a finite box (left, top, width, height) in columns 3-6")
    _refuse(path, text, (boxes[:, 2:] < 0).any(1), "width and height of at least 0 in columns 5 and 6")
    if rows.shape[1] > 6:
        _refuse(path, text, ~np.isfinite(rows[:, 6]), "a finite score in column 7")
    return text, rows


def _refuse(path: str | Path, text: str, bad: np.ndarray, expected: str) -> None:
    if bad.any():
        line, content = line_of_row(text, int(bad.argmax()))
        raise FormatError(path, line, expected, repr(content))


def _has_classes(rows: np.ndarray) -> bool:
    if rows.shape[1] < 9 or not len(rows):
        return rows.shape[1] == 9
    classes, visible = rows[:, 7], rows[:, 8]
    if not (np.isfinite(classes).all() and (classes == np.floor(classes)).all()):
        return False
    if rows.shape[1] == 9:
        return bool(classes.min() >= 0 and classes.max() < 2**31)
    return bool(classes.min() >= 1 and classes.max() <= 13 and ((visible >= 0) & (visible <= 1)).all())


def _check_identities(path: str | Path, text: str, rows: np.ndarray) -> int:
    """Refuse an identity that stands twice in a frame; return what makes the smallest id at least 1."""
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    pairs = rows[order, :2]
    twice = np.zeros(len(rows), dtype=bool)
    twice[order[1:]] = (pairs[1:] == pairs[:-1]).all(1)
    if twice.any():
        row = int(twice.argmax())
        frame, identity = rows[row, :2].astype(int)
        line, _ = line_of_row(text, row)
        raise FormatError(path, line, "an identity at most once in a frame", f"id {identity} again in frame {frame}")
    return max(0, 1 - int(rows[:, 1].min())) if len(rows) else 0


def _tracks(rows: np.ndarray, shift: int, scores: np.ndarray, **more: np.ndarray | None) -> Tracks:
    frames, ids = rows[:, 0].astype(np.int64) - 1, rows[:, 1].astype(np.int64) + shift
    return Tracks.from_arrays(frames, ids, _xyxy(rows), scores, **more)


def _xyxy(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)

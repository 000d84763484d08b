"""KITTI tracking label files: 17 columns, or 18 with a score in results and detections.

Columns: frame (from 0), track id (from 0; -1 for DontCare), type, truncated, occluded, alpha, left, top, right, bottom
(pixels, from 0), height, width, length (m), x, y, z (m, camera), rotation about y, and the score.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenegraph_track.data.mot import FRAME_MAX, SIZE_MAX, DetectionFile
from scenegraph_track.data.tables import NUMBER
from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.files import atomic_write, read_text
from scenegraph_track.structures import Tracks

TYPES = ("Pedestrian", "Person", "Cyclist", "Car", "Van", "Truck", "Tram", "Misc")
"""Names of the classes 1, 2, ... in ``Tracks.classes``; the first is a pedestrian as in MOTChallenge files."""

DONT_CARE = "DontCare"

_CLASS_OF = {name.lower(): number for number, name in enumerate(TYPES, 1)} | {"person_sitting": 2, "dontcare": 0}
_UNKNOWN_3D = (-1.0, -1.0, -1.0, -1000.0, -1000.0, -1000.0, -10.0)


@dataclass(frozen=True, eq=False)
class KittiLabels:
    """The labels of one sequence.

    Args:
        path: Where they were read.
        tracks: (M) rows without DontCare; ids are the file's plus 1, classes index ``TYPES`` from 1.
        truncated: (M,) fraction or level as the file has it, row for row of ``tracks``, -1 where unknown.
        occluded: (M,) 0 visible, 1 partly, 2 largely occluded, 3 unknown.
        alpha: (M,) observation angle in radians, -10 where unknown.
        dimensions: (M, 3) height, width, length in metres, -1 where unknown.
        locations: (M, 3) x, y, z of the bottom's centre in camera coordinates, metres, -1000 where unknown.
        rotation: (M,) about the camera's y axis in radians, -10 where unknown.
        ignored_frames: (K,) int64 0-based frames of the DontCare regions.
        ignored_boxes: (K, 4) xyxy pixels of the DontCare regions.
    """

    path: Path
    tracks: Tracks
    truncated: np.ndarray
    occluded: np.ndarray
    alpha: np.ndarray
    dimensions: np.ndarray
    locations: np.ndarray
    rotation: np.ndarray
    ignored_frames: np.ndarray
    ignored_boxes: np.ndarray

    @property
    def length(self) -> int:
        """How many frames there are up to the last that has a label; the sequence may be longer."""
        frames = np.concatenate([self.tracks.frames.numpy(), self.ignored_frames])
        return int(frames.max(initial=-1)) + 1


def read_labels(path: str | Path) -> KittiLabels:
    """Read a label or result file.

    Raises:
        FormatError: A row is no such row, or an identity stands twice in a frame.
        UserError: The file cannot be read.
    """
    rows, classes, lines = _read(path)
    real = classes > 0
    ignored, rows, classes, lines = rows[~real], rows[real], classes[real], lines[real]
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    rows, classes, lines = rows[order], classes[order], lines[order]
    if (rows[:, 1] < 0).any():
        raise FormatError(path, int(lines[(rows[:, 1] < 0).argmax()]), "a track id of at least 0 in column 2")
    twice = (rows[1:, :2] == rows[:-1, :2]).all(1)
    if twice.any():
        row = int(twice.argmax()) + 1
        expected = "an identity at most once in a frame"
        raise FormatError(path, int(lines[row]), expected, "frame {:.0f}, id {:.0f}".format(*rows[row, :2]))
    tracks = Tracks.from_arrays(
        rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64) + 1, rows[:, 5:9], rows[:, 16], classes=classes
    )
    return KittiLabels(
        path=Path(path),
        tracks=tracks,
        truncated=rows[:, 2],
        occluded=rows[:, 3],
        alpha=rows[:, 4],
        dimensions=rows[:, 9:12],
        locations=rows[:, 12:15],
        rotation=rows[:, 15],
        ignored_frames=ignored[:, 0].astype(np.int64),
        ignored_boxes=ignored[:, 5:9],
    )


def read_detections(path: str | Path) -> DetectionFile:
    """Read detections in the label format (18 columns, ids not used); DontCare regions are left out.

    Raises:
        FormatError: A row is no such row.
        UserError: The file cannot be read.
    """
    rows, classes, _ = _read(path)
    order = np.argsort(rows[:, 0], kind="stable")
    order = order[classes[order] > 0]
    rows, classes = rows[order], classes[order]
    size = rows[:, 7:9] - rows[:, 5:7]
    table = np.column_stack([rows[:, 0] + 1, rows[:, 1], rows[:, 5:7], size, rows[:, 16]])
    return DetectionFile(path=Path(path), rows=table, classes=classes)


def write_labels(path: str | Path, tracks: Tracks, labels: KittiLabels | None = None) -> None:
    """Write a result file with 18 columns: boxes to 0.01 pixels, scores to four digits, ids minus 1.

    Args:
        path: Where to write.
        tracks: Classes index ``TYPES`` from 1.
        labels: Gives truncation, occlusion and the 3-D columns, row for row of ``tracks``, and the DontCare regions;
            without it these are written as unknown.

    Raises:
        UserError: A class is not in ``TYPES``, or ``labels`` has another number of rows.
    """
    m = len(tracks)
    classes = tracks.classes.numpy()
    if m and not ((classes >= 1) & (classes <= len(TYPES))).all():
        raise UserError(f"{path}: KITTI classes are 1 to {len(TYPES)}, found {sorted(set(classes.tolist()))}")
    if labels is not None and len(labels.rotation) != m:
        raise UserError(f"{path}: expected labels for {m} rows of tracks, found {len(labels.rotation)}")
    if labels is None:
        flags, space = np.tile((-1.0, -1.0, -10.0), (m, 1)), np.tile(_UNKNOWN_3D, (m, 1))
    else:
        flags = np.column_stack([labels.truncated, labels.occluded, labels.alpha])
        space = np.column_stack([labels.dimensions, labels.locations, labels.rotation])
    table = np.column_stack([tracks.frames, tracks.ids - 1, flags, tracks.boxes, space, tracks.scores.double()])
    names = [TYPES[number - 1] for number in classes]
    if labels is not None and len(labels.ignored_boxes):
        k = len(labels.ignored_boxes)
        unknown = np.tile((-1.0, -1.0, -1.0, -10.0), (k, 1))
        rest = np.tile((*_UNKNOWN_3D, 1.0), (k, 1))
        table = np.concatenate([table, np.column_stack([labels.ignored_frames, unknown, labels.ignored_boxes, rest])])
        names += [DONT_CARE] * k
    form = "%d %d {} %g %d %.6f %.2f %.2f %.2f %.2f %.6f %.6f %.6f %.6f %.6f %.6f %.6f %.4g\n"
    with atomic_write(path) as file:
        for row in np.argsort(table[:, 0], kind="stable"):
            file.write(form.format(names[row]) % tuple(table[row]))


def is_label_file(path: str | Path) -> bool:
    """Whether the first row has a KITTI type in its third column (a MOTChallenge row has a number there)."""
    cells = next((line.split() for line in read_text(path).split("\n") if line.strip()), [])
    return len(cells) >= 10 and cells[2].lower() in _CLASS_OF


def _read(path: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (N, 17) without the type and with a score, classes (N,) with 0 for DontCare, line numbers (N,)."""
    rows, classes, lines = [], [], []
    for line, content in enumerate(read_text(path).split("\n"), 1):
        cells = content.split()
        if not cells:
            continue
        if len(cells) not in (17, 18):
            raise FormatError(path, line, "17 columns, or 18 with a score", str(len(cells)))
        number = _CLASS_OF.get(cells[2].lower())
        if number is None:
            raise FormatError(path, line, f"one of {', '.join(TYPES)}, {DONT_CARE} in column 3", repr(cells[2]))
        values = cells[:2] + cells[3:]
        bad = next((cell for cell in values if not NUMBER.fullmatch(cell)), None)
        if bad is not None:
            raise FormatError(path, line, "numbers in all columns but the third", repr(bad))
        row = [float(cell) for cell in values] + [1.0] * (len(cells) == 17)
        _check_row(path, line, row)
        rows.append(row)
        classes.append(number)
        lines.append(line)
    return np.array(rows).reshape(-1, 17), np.array(classes, dtype=np.int64), np.array(lines, dtype=np.int64)


def _check_row(path: str | Path, line: int, row: list[float]) -> None:
    frame, identity, left, top, right, bottom = row[0], row[1], *row[5:9]
    if not (0 <= frame < FRAME_MAX and frame.is_integer()):
        raise FormatError(path, line, "a whole frame number from 0 in column 1", f"{frame:g}")
    if not (abs(identity) < 2**53 and identity.is_integer()):
        raise FormatError(path, line, "a whole number as track id in column 2", f"{identity:g}")
    if not all(abs(value) <= SIZE_MAX for value in (left, top, right, bottom)):
        raise FormatError(path, line, "a finite box in columns 7-10")
    if right < left or bottom < top:
        raise FormatError(path, line, "right >= left and bottom >= top in columns 7-10")
    if not np.isfinite(row).all():
        raise FormatError(path, line, "finite numbers in all columns but the third")

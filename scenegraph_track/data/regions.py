"""One region a line, as single-object benchmarks write it: a box, a polygon, a VOT mask, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenegraph_track.data.mot import SIZE_MAX
from scenegraph_track.data.tables import NUMBER, parse_table, split_cells
from scenegraph_track.errors import FormatError
from scenegraph_track.files import read_text

MASK_PIXELS_MAX = 2**27
"""Largest number of pixels of a mask in a text file."""


def read_regions(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a ground-truth file with one region a frame and line.

    A line is ``left, top, width, height``; or six and more numbers ``x1, y1, x2, y2, ...``, a polygon, of which the
    enclosing box is taken; or a mask ``m<left>,<top>,<width>,<height>,<runs>``, likewise; or NaN, a box without area,
    or a single number (VOT's special regions), all of which say that the target is absent.  Commas, semicolons, tabs
    and blanks may separate.

    Returns:
        Boxes (T, 4) float64 xyxy in the file's coordinates, NaN where absent; absent (T,) bool.

    Raises:
        FormatError: A line is none of these, or an empty line stands between others (frames are counted by lines).
        UserError: The file cannot be read.
    """
    text = read_text(path).rstrip()
    lines = text.split("\n")
    if lines == [""]:
        return np.zeros((0, 4)), np.zeros(0, dtype=bool)
    boxes = _parse_boxes(path, text, len(lines))
    if boxes is None:
        boxes = np.array([_parse_region(path, number, line.strip()) for number, line in enumerate(lines, 1)])
    return boxes, np.isnan(boxes[:, 0])


def read_boxes_with_flags(path: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read an annotation of NfS as published: ``id x1 y1 x2 y2 frame lost occluded generated "object"``.

    Returns:
        Boxes (T, 4) xyxy, NaN where lost; absent (T,) and occluded (T,) bool.

    Raises:
        FormatError: A line is no such row, or frames are not in order.
        UserError: The file cannot be read.
    """
    rows = []
    for number, line in enumerate(read_text(path).rstrip().split("\n"), 1):
        cells = line.split('"')[0].split()
        if len(cells) < 9 or not all(NUMBER.fullmatch(cell) for cell in cells[:9]):
            raise FormatError(path, number, 'id x1 y1 x2 y2 frame lost occluded generated "object"', repr(line.strip()))
        row = [float(cell) for cell in cells[:9]]
        if not all(abs(value) <= SIZE_MAX for value in row):
            raise FormatError(path, number, "finite numbers", repr(line.strip()))
        if rows and row[5] <= rows[-1][5]:
            raise FormatError(path, number, "a later frame than in the line before", f"{row[5]:g}")
        rows.append(row)
    table = np.array(rows)
    boxes = table[:, 1:5].copy()
    absent = (table[:, 6] > 0) | (boxes[:, 2:] <= boxes[:, :2]).any(1)
    boxes[absent] = np.nan
    return boxes, absent, table[:, 7] > 0


def decode_mask(path: str | Path, line: int, content: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode a VOT mask ``m<left>,<top>,<width>,<height>,<zeros>,<ones>,<zeros>,...`` (runs along rows).

    Args:
        path: Named in errors.
        line: Named in errors, from 1.
        content: The line.

    Returns:
        The mask (height, width) bool, and its offset (left, top) in the image.

    Raises:
        FormatError: It is no such line, or its runs are longer than the mask.
    """
    cells = split_cells(content[1:])
    if len(cells) < 5 or not all(cell.lstrip("-").isdecimal() and len(cell) < 12 for cell in cells):
        raise FormatError(path, line, "a mask m<left>,<top>,<width>,<height>,<runs>", repr(content))
    left, top, width, height, *runs = (int(cell) for cell in cells)
    if min(width, height, *runs) < 0 or width * height > MASK_PIXELS_MAX or sum(runs) > width * height:
        raise FormatError(path, line, "runs that fill the mask at most", repr(content))
    flat = np.zeros(width * height, dtype=bool)
    ones = np.arange(len(runs)) % 2 == 1
    flat[: sum(runs)] = np.repeat(ones, runs)
    return flat.reshape(height, width), (left, top)


def _parse_boxes(path: str | Path, text: str, count: int) -> np.ndarray | None:
    """All lines at once where each is a box; None where some line is something else."""
    try:
        rows = parse_table(path, text, 4)
    except FormatError:
        return None
    nothing = np.isnan(rows).all(1)
    if rows.shape != (count, 4) or not (np.abs(rows[~nothing]) <= SIZE_MAX).all():
        return None
    nothing |= ~(rows[:, 2:] > 0).all(1)
    boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)
    boxes[nothing] = np.nan
    return boxes


def _parse_region(path: str | Path, line: int, content: str) -> tuple[float, float, float, float]:
    nothing = (np.nan,) * 4
    if content[:1].lower() == "m":
        mask, (left, top) = decode_mask(path, line, content)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return nothing
        x, y = float(left + columns[0]), float(top + rows[0])
        return x, y, float(left + columns[-1] + 1), float(top + rows[-1] + 1)
    cells = split_cells(content)
    if not all(NUMBER.fullmatch(cell) for cell in cells) or (len(cells) != 1 and (len(cells) < 4 or len(cells) % 2)):
        expected = "a box (4 numbers), a polygon (6, 8, ... numbers) or a mask (m...)"
        raise FormatError(path, line, expected, repr(content))
    values = [float(cell) for cell in cells]
    if len(values) == 1 or all(np.isnan(values)):
        return nothing
    if not all(abs(value) <= SIZE_MAX for value in values):
        raise FormatError(path, line, "finite numbers, or NaN in all places", repr(content))
    if len(values) > 4:
        x, y = values[::2], values[1::2]
        return min(x), min(y), max(x), max(y)
    left, top, width, height = values
    return (left, top, left + width, top + height) if width > 0 and height > 0 else nothing

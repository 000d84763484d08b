"""Tables of numbers in text files: fast where all is well, and naming the line where it is not."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np

from scenegraph_track.errors import FormatError

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
"""What counts as a number in a text file."""

_SEPARATORS = str.maketrans(",;\t", "   ")
_EMPTY_CELL = re.compile(r"[,;][ \t]*[,;]|^[ \t]*[,;]", re.MULTILINE)


def parse_table(path: str | Path, text: str, columns_min: int) -> np.ndarray:
    """Parse rows of numbers separated by commas, semicolons, tabs or blanks; blank lines do not count.

    Args:
        path: Named in errors.
        text: What the file holds, with ``\\n`` line ends.
        columns_min: How many columns each row must have at least.

    Returns:
        (N, C) float64 with C >= columns_min; C = columns_min where the file has no rows.

    Raises:
        FormatError: Something is no number, a cell is empty, or rows differ in their number of columns.
    """
    plain = text.translate(_SEPARATORS)
    if not plain.strip():
        return np.zeros((0, columns_min))
    try:
        rows = np.loadtxt(io.StringIO(plain), comments=None, ndmin=2)
    except ValueError:
        return _parse_slowly(path, text, columns_min)
    separators = text.count(",") + text.count(";")
    regular = separators in (0, len(rows) * (rows.shape[1] - 1)) or not _EMPTY_CELL.search(text)
    return rows if regular and rows.shape[1] >= columns_min else _parse_slowly(path, text, columns_min)


def line_of_row(text: str, row: int) -> tuple[int, str]:
    """The 1-based line number and the line of the 0-based ``row`` among lines that are not blank."""
    numbered = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.translate(_SEPARATORS).strip()]
    return numbered[row][0], numbered[row][1].strip()


def split_cells(line: str) -> list[str]:
    """The cells of a line separated by commas, semicolons, tabs or blanks; one trailing separator is no cell."""
    cells = re.split(r"[ \t]*[,;][ \t]*|[ \t]+", line.strip())
    return cells[:-1] if cells and not cells[-1] else cells


def _parse_slowly(path: str | Path, text: str, columns_min: int) -> np.ndarray:
    rows: list[list[float]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.translate(_SEPARATORS).strip():
            continue
        cells = split_cells(line)
        bad = next((i for i, cell in enumerate(cells) if not NUMBER.fullmatch(cell)), None)
        if bad is not None:
            raise FormatError(path, number, f"a number in column {bad + 1}", repr(cells[bad]))
        if len(cells) < columns_min:
            raise FormatError(path, number, f"at least {columns_min} columns", f"{len(cells)}: {line.strip()!r}")
        if rows and len(cells) != len(rows[0]):
            raise FormatError(path, number, f"{len(rows[0])} columns as in the rows before", f"{len(cells)}")
        rows.append([float(cell) for cell in cells])
    return np.array(rows).reshape(len(rows), -1)

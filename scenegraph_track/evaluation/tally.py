"""What was measured, by name, gathered over sequences; and figures as JSON and CSV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scenegraph_track.files import atomic_write


class Tally:
    """Lists of measurements by name.  Numbers and arrays of them are reduced by `figure`."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Any]] = {}

    def add(self, name: str, value: Any) -> None:
        """One more measurement, a number, an array of them or anything else."""
        self.lists.setdefault(name, []).append(value)

    def figure(self, name: str, reduce: Callable[[np.ndarray], Any] = np.mean) -> float:
        """All numbers of a name reduced to one; NaN where there are none."""
        values = [np.atleast_1d(np.asarray(value, np.float64)) for value in self.lists.get(name, [])]
        joined = np.concatenate(values) if values else np.zeros(0)
        return float(reduce(joined)) if joined.size else math.nan

    @classmethod
    def join(cls, parts: Iterable[Tally]) -> Tally:
        """The measurements of several sequences, in their order."""
        made = cls()
        for part in parts:
            for name, values in part.lists.items():
                made.lists.setdefault(name, []).extend(values)
        return made


def flat(figures: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested figures as ``group/name: value``."""
    found: dict[str, Any] = {}
    for name, value in figures.items():
        found |= flat(value, f"{prefix}{name}/") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _plain(value: Any) -> Any:
    """The same for JSON: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_figures(figures: Mapping[str, Any], path: str | Path) -> None:
    """Write nested figures as JSON, null where there is none; the file appears whole or not at all."""
    with atomic_write(path) as handle:
        json.dump(_plain(figures), handle, indent=2)
        handle.write("\n")


def write_rows(rows: Mapping[str, Mapping[str, Any]], path: str | Path) -> None:
    """Write the figures of each sequence as a row of CSV, empty where there is none.

    Args:
        rows: Nested figures by the name of a sequence; the columns are those of all of them.
        path: Where the file shall stand.
    """
    flattened = {name: flat(_plain(row)) for name, row in rows.items()}
    columns = list(dict.fromkeys(column for row in reversed(flattened.values()) for column in row))
    with atomic_write(path) as handle:
        writer = csv.DictWriter(handle, ["sequence", *columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"sequence": name, **row} for name, row in flattened.items())

"""An evaluation for people and programs: a table on the screen, flat JSON, CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from scenegraph_track.evaluation.mot import PERCENT, Evaluation
from scenegraph_track.files import atomic_write

SHOWN = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "LocA", "Recall", "Precision", "Frag", "FP", "FN")
"""Figures of the table on the screen, the most important first; the files hold them all."""

COMBINED = "COMBINED"


def table(evaluation: Evaluation, names: tuple[str, ...] = SHOWN, title: str | None = None) -> Table:
    """A table with a row a sequence and one for all of them combined; percent with two decimals."""
    made = Table(title=title, box=box.SIMPLE_HEAD)
    made.add_column("sequence", no_wrap=True)
    for name in names:
        made.add_column(name, justify="right", no_wrap=True)
    for sequence, result in evaluation.sequences.items():
        made.add_row(sequence, *(_text(name, result[name]) for name in names))
    made.add_section()
    made.add_row(COMBINED, *(_text(name, evaluation.combined[name]) for name in names), style="bold")
    return made


def print_table(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print the table on the screen, with as many of the figures as fit in its width."""
    console = console or Console()
    wide = console.options.update(max_width=10_000)
    tables = (table(evaluation, SHOWN[:count]) for count in range(len(SHOWN), 1, -1))
    fitting = (made for made in tables if Measurement.get(console, wide, made).maximum <= console.width)
    console.print(next(fitting, table(evaluation, SHOWN[:1])))


def flat(evaluation: Evaluation) -> dict[str, float | int]:
    """All figures as ``name: value``: combined ones by their name, those of a sequence as ``sequence/name``."""
    figures = dict(evaluation.combined.figures)
    for sequence, result in evaluation.sequences.items():
        figures |= {f"{sequence}/{name}": value for name, value in result.figures.items()}
    return figures


def write_json(evaluation: Evaluation, path: str | Path) -> None:
    """Write all figures as flat JSON; the file appears whole or not at all."""
    with atomic_write(path) as handle:
        json.dump(flat(evaluation), handle, indent=2)
        handle.write("\n")


def write_csv(evaluation: Evaluation, path: str | Path) -> None:
    """Write all figures as CSV, a row a sequence and the last one combined; the file appears whole or not at all."""
    with atomic_write(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        names = list(evaluation.combined.figures)
        writer.writerow(["sequence", *names])
        for sequence, result in evaluation.sequences.items():
            writer.writerow([sequence, *(result[name] for name in names)])
        writer.writerow([COMBINED, *(evaluation.combined[name] for name in names)])


def _text(name: str, value: float | int) -> str:
    return f"{value:.2f}" if name in PERCENT or name == "FAF" else str(value)

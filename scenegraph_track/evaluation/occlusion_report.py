"""Identity through occlusion for people: tables on the screen and curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.occlusion import FRACTIONS, SECONDS
from scenegraph_track.files import atomic_path

PICTURES = (".pdf", ".png", ".svg")
"""Endings of pictures."""

PROTOCOL = (
    "hidden: less than half of an object is visible (for hidden parts up to 50 %: less than nine tenths); without "
    "visible fractions in the ground truth, whose lower edge is lower is in front",
    "kept: the identity within 1 s after is that within 1 s before; switched: another; lost: none; untracked: none "
    "before, in no percentage",
    "false re-identification: a result identity is on another object after a gap than before it; a gap is where it is "
    "on no visible object",
)
"""How is measured, in sentences."""

Figures = Mapping[str, Mapping[str, Any]]
"""``occlusion_figures`` by the name of the result."""


def print_occlusion(results: Figures, console: Console) -> None:
    """Print three tables, a row a result, never cut: identities by duration, false ones by gap, identities by part."""
    first = next(iter(results.values()))
    wholes = {name: {**figures["seconds"], "all": figures} for name, figures in results.items()}
    made = [
        _table(
            "identities kept / switched / lost, percent, by how long the object was hidden",
            {f"{name}\n{first_of['episodes']}": name for name, first_of in {**first["seconds"], "all": first}.items()},
            {
                name: {bin_: _kept(row) for bin_, row in rows.items()} | {"untracked": str(rows["all"]["untracked"])}
                for name, rows in wholes.items()
            },
            ("untracked",),
        ),
        _table(
            "false re-identifications per 100 gaps, by the length of the gap (false / gaps)",
            {name: name for name in (*SECONDS, "all")},
            {name: {bin_: _false(row) for bin_, row in rows.items()} for name, rows in wholes.items()},
        ),
        _table(
            "identities kept / switched / lost, percent, by the hidden part of the object",
            {f"{name}\n{row['episodes']}": name for name, row in first["hidden"].items()},
            {name: {bin_: _kept(row) for bin_, row in f["hidden"].items()} for name, f in results.items()},
        ),
    ]
    for table in made:
        needed = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
        console.width = max(console.width, needed)
        console.print(table)


def check_picture(path: Path) -> None:
    """Refuse what cannot be drawn, before anything is computed.

    Raises:
        UserError: The ending is none of ``PICTURES``, or matplotlib is not installed.
    """
    if path.suffix.lower() not in PICTURES:
        raise UserError(f"{path}: expected a file ending in {', '.join(PICTURES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError(f"{path}: drawing curves needs matplotlib (pip install matplotlib)") from None


def draw_occlusion(results: Figures, path: Path, colours: int = 10) -> None:
    """Draw identities kept and false re-identifications over seconds, and identities kept over the hidden part.

    Args:
        results: Figures by the name of the result.
        path: A file ending as one of ``PICTURES``; it appears whole or not at all.
        colours: So many results are solid lines of different colours (10 at most); the next ones have the same colours
            again and are dashed, then dotted.
    """
    from matplotlib.figure import Figure

    first = next(iter(results.values()))
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    panels = zip(
        figure.subplots(1, 3),
        (("seconds", "kept"), ("seconds", "false_per_100_gaps"), ("hidden", "kept")),
        ("identities kept, %", "false re-identifications per 100 gaps", "identities kept, %"),
        ("hidden for (episodes)", "length of the gap", "hidden part (episodes)"),
        strict=True,
    )
    for axes, (group, value), title, below in panels:
        for index, (name, figures) in enumerate(results.items()):
            style = ("-", "--", ":")[min(index // colours, 2)]
            heights = [row[value] for row in figures[group].values()]
            axes.plot(heights, style, color=f"C{index % colours}", marker="o", markersize=4, label=name)
        bins = SECONDS if group == "seconds" else FRACTIONS
        counted = value == "kept"
        labels = [f"{bin_}\n({first[group][bin_]['episodes']})" if counted else bin_ for bin_ in bins]
        axes.set_xticks(range(len(bins)), labels)
        axes.set(title=title, xlabel=below)
        axes.set_ylim(bottom=0, top=102 if counted else None)
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _table(
    title: str, columns: Mapping[str, str], rows: Mapping[str, Mapping[str, str]], more: tuple[str, ...] = ()
) -> Table:
    """A table of cells by the name of the result and of the column; ``columns`` are names by their headings."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("", no_wrap=True)
    headings = {**columns, **{name: name for name in more}}
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, cells in rows.items():
        table.add_row(Text(name), *(cells[column] for column in headings.values()))
    return table


def _kept(row: Mapping[str, Any]) -> str:
    if row["episodes"] == row["untracked"]:
        return "-"
    return " / ".join(f"{row[name]:.0f}" for name in ("kept", "switched", "lost"))


def _false(row: Mapping[str, Any]) -> str:
    count = f"({row['false_reidentifications']} / {row['gaps']})"
    return f"{row['false_per_100_gaps']:.1f} {count}" if row["gaps"] else "-"

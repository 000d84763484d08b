"""How a student of JEPA came to agree with its teacher, from the log of its run.

``python -m scenegraph_track.training.jepa_report runs/jepa`` prints agreement and ranks by step; ``--plot FILE`` draws
them (needs matplotlib), ``--json FILE`` writes them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scenegraph_track.errors import UserError
from scenegraph_track.training.commands import told_plainly, write_json
from scenegraph_track.training.monitor import LOG, read_log

AGREED = 0.8
"""Agreement that a student is to reach."""

COLUMNS = ("agreement", "rank", "teacher_rank", "val/agreement", "val/agreement_occluded", "val/rank", "val/ao")
"""Figures of a log that are shown, as far as there are any."""

_WIDTH = 132
"""Columns of the table, also where it is not printed on a terminal."""

Entries = list[dict[str, float]]


def jepa_entries(run: Path) -> Entries:
    """The entries of a run's log, one a step, training and validation together.

    Raises:
        UserError: There is no log of JEPA.
    """
    if not (run / LOG).is_file():
        raise UserError(f"{run}: expected the folder of a run, found no {LOG}")
    found: dict[int, dict[str, float]] = {}
    for entry in read_log(run / LOG):
        found.setdefault(int(entry["step"]), {}).update(entry)
    entries = [found[step] for step in sorted(found)]
    if not any("agreement" in entry for entry in entries):
        raise UserError(f"{run}: expected a run of the stage jepa, whose log tells of agreement")
    return entries


def told(entries: Entries) -> str:
    """Whether agreement has risen above `AGREED` and rank was kept, in a sentence."""
    shown = [entry for entry in entries if "agreement" in entry]
    first, last = shown[0], shown[-1]
    reached = next((entry["step"] for entry in shown if entry["agreement"] > AGREED), None)
    when = "never" if reached is None else f"first at step {reached:g}"
    least = min(entry["rank"] / entry["teacher_rank"] for entry in shown)
    return (
        f"agreement {first['agreement']:.3f} at step {first['step']:g}, {last['agreement']:.3f} at step "
        f"{last['step']:g}, above {AGREED:g} {when}; the student's rank was at least {least:.2f} of its teacher's"
    )


def jepa_table(entries: Entries) -> Table:
    """The figures for a console, a row a step."""
    columns = [name for name in COLUMNS if any(name in entry for entry in entries)]
    shown = Table("step", *columns)
    for entry in entries:
        shown.add_row(f"{entry['step']:g}", *(f"{entry[name]:.3f}" if name in entry else "" for name in columns))
    return shown


def draw(entries: Entries, path: Path) -> None:
    """Draw agreement and ranks over steps (.png, .svg or .pdf)."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise UserError("--plot: expected matplotlib, which is not installed") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for panel, names in zip(
        panels, (("agreement", "val/agreement", "val/agreement_occluded"), ("rank", "teacher_rank"))
    ):
        for name in names:
            points = [(entry["step"], entry[name]) for entry in entries if name in entry]
            if points:
                panel.plot(*zip(*points), marker=".", label=name)
        panel.set_xlabel("step")
        panel.legend()
    panels[0].axhline(AGREED, color="grey", linewidth=0.8)
    figure.savefig(path)
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Report from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run of the stage jepa")
    parser.add_argument("--json", type=Path, help="write the figures")
    parser.add_argument("--plot", type=Path, help="draw them (.png, .svg or .pdf)")
    asked = parser.parse_args(arguments)
    with told_plainly():
        entries = jepa_entries(asked.run)
        if asked.plot:
            draw(entries, asked.plot)
    write_json(asked.json, entries)
    console = Console(width=_WIDTH)
    console.print(jepa_table(entries))
    console.print(told(entries), highlight=False)


if __name__ == "__main__":
    main()

"""Train depth and camera motion in three regimes on worlds where only the camera moves, and compare them.

``python -m scenegraph_track.training.regimes --out DIR`` prints the table and writes ``regimes.json``, ``curves.csv``
and (where matplotlib is installed) ``curves.png``; every regime's run is in a folder of its name.  The same command
goes on with runs that were stopped.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from scenegraph_track.evaluation.geometry import depth_figures
from scenegraph_track.files import atomic_path, atomic_write
from scenegraph_track.training.collapse import CollapseWatch
from scenegraph_track.training.commands import told_plainly, write_json
from scenegraph_track.training.interrupts import TrainingInterrupted
from scenegraph_track.training.monitor import LOG, read_log
from scenegraph_track.training.photometric import watch_entry
from scenegraph_track.training.run import RECIPE, run_training
from scenegraph_track.training.settings import load_recipe
from scenegraph_track.training.windows import WindowData, held_window

REGIMES = ("ssim_l1_joint", "l1_joint", "cure")

NOTHING = "constant, still"
"""The row of a constant depth and a camera that does not move."""

COLUMNS = {
    "depth_variation": "depth std/mean",
    "translation": "|t|/depth",
    "pose_agreement": "flow left",
    "abs_rel": "AbsRel",
    "rotation_ratio": "rotation left",
    "direction": "direction, deg",
    "photometric_ratio": "photometric left",
}
"""Held-out figures of the table; those that are left are relative to no motion: 1 is no better."""


def compare(
    out: Path, steps: int = 1500, size: int = 64, overrides: Iterable[str] = (), regimes: Sequence[str] = REGIMES
) -> dict[str, dict[str, Any]]:
    """Train the regimes with the same data and steps, and collect what became of them.

    Args:
        out: Folder of the runs and of ``regimes.json`` and ``curves.csv``.
        steps: Of each regime; those of the cure are shared out 5 : 3 : 2 to motion, depth and both.
        size: Side of the images, pixels.
        overrides: Further settings of the recipe ``geometry``.
        regimes: Some of `REGIMES`.

    Returns:
        By regime, and for `NOTHING`: ``collapse`` (None, or ``step`` and ``what``), ``held_out`` with the figures of
        `COLUMNS`, ``curve`` with the entries of the log.

    Raises:
        UserError: A setting is wrong, or the folder holds runs with other settings.
    """
    common = [f"train.steps={steps}", f"phases.pose={steps // 2}", f"phases.depth={3 * steps // 10}"]
    common += [f"data.size={size}", "collapse.on_collapse=report", *overrides]
    rows = {regime: _row(out / regime, [*common, f"regime={regime}"]) for regime in regimes}
    rows[NOTHING] = {"collapse": None, "held_out": _nothing(load_recipe("geometry", common).sections.data), "curve": []}
    write_json(out / "regimes.json", rows)
    _write_curves(out / "curves.csv", rows)
    return rows


def _row(folder: Path, settings: list[str]) -> dict[str, Any]:
    run_training("geometry", settings, folder, resume=True)
    recipe = load_recipe(folder / RECIPE)
    watch, curve, held_out = CollapseWatch(recipe.sections.collapse), [], {}
    for entry in read_log(folder / LOG):
        figures = {name.removeprefix("val/"): value for name, value in entry.items()}
        if "val/abs_rel" in entry:
            held_out = figures | {"photometric_ratio": figures["photometric"] / figures["identity"]}
            curve.append({"step": int(entry["step"])} | {name: held_out[name] for name in COLUMNS})
        else:
            watch_entry(watch, recipe.sections, int(entry["step"]), entry)
    collapse = None if watch.collapsed is None else dict(zip(("step", "what"), watch.collapsed))
    return {"collapse": collapse, "held_out": {name: held_out[name] for name in COLUMNS}, "curve": curve}


def _nothing(data: WindowData) -> dict[str, float]:
    """Figures without any training."""
    truths = [held_window(data, "val", number)["depth"][0] for number in range(data.validation_windows)]
    abs_rel = np.mean([depth_figures(np.ones(truth.shape), truth).abs_rel for truth in truths])
    ones = dict.fromkeys(("pose_agreement", "rotation_ratio", "photometric_ratio"), 1.0)
    found = {"depth_variation": 0.0, "translation": 0.0, "abs_rel": float(abs_rel), "direction": 90.0, **ones}
    return {name: found[name] for name in COLUMNS}


def table(rows: dict[str, dict[str, Any]]) -> Table:
    """The comparison for a console."""
    shown = Table("regime", *COLUMNS.values(), "collapse")
    for regime, row in rows.items():
        collapse = row["collapse"]
        what = f"since step {collapse['step']}: {collapse['what']}" if collapse else "none" if row["curve"] else ""
        shown.add_row(regime, *(f"{row['held_out'][name]:.3g}" for name in COLUMNS), what)
    return shown


def _write_curves(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, ["regime", "step", *COLUMNS], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"regime": regime, **entry} for regime, row in rows.items() for entry in row["curve"])


def draw_curves(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Draw the held-out figures over the steps (needs matplotlib)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6))
    FigureCanvasAgg(figure)
    for axes, (name, title) in zip(figure.subplots(2, 4).flat, COLUMNS.items(), strict=False):
        for regime, row in rows.items():
            if row["curve"]:
                axes.plot([e["step"] for e in row["curve"]], [e[name] for e in row["curve"]], label=regime)
            else:
                axes.axhline(row["held_out"][name], color="grey", linestyle=":", label=regime)
        if name in ("translation", "pose_agreement", "rotation_ratio"):
            axes.set_yscale("symlog", linthresh=1)  # a camera that is thrown away is orders of magnitude off
        axes.set_title(title)
        axes.set_xlabel("step")
    figure.axes[-1].axis("off")
    figure.axes[-1].legend(*figure.axes[0].get_legend_handles_labels(), loc="center")
    figure.subplots_adjust(0.04, 0.08, 0.99, 0.94, hspace=0.35)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def main() -> None:
    """Run the comparison from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs, the table and the curves")
    parser.add_argument("--steps", type=int, default=1500, help="of each regime")
    parser.add_argument("--size", type=int, default=64, help="side of the images, pixels")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="a setting of the recipe")
    arguments = parser.parse_args()
    try:
        with told_plainly():
            rows = compare(arguments.out, arguments.steps, arguments.size, arguments.set)
    except TrainingInterrupted as stopped:
        sys.stderr.write(f"{stopped}\n")
        sys.exit(130)
    if importlib.util.find_spec("matplotlib"):
        draw_curves(arguments.out / "curves.png", rows)
    Console(soft_wrap=True).print(table(rows))


if __name__ == "__main__":
    main()

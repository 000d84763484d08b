"""Trainings that make a table: a row and a seed each, kept in a file; what it holds is not done again."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from scenegraph_track.errors import UserError
from scenegraph_track.training.commands import write_json
from scenegraph_track.training.settings import load_recipe

Rows = dict[str, dict[str, dict[str, Any]]]
"""Figures by row and seed."""

WIDTH = 132
"""Columns of a table, also where it is not printed on a terminal."""

_ENTRIES = 10
"""Of the log of a run."""


def run_settings(clips: str, seed: int, steps: int, own: Iterable[str] = ()) -> list[str]:
    """Settings of a run that the tables share.

    Args:
        clips: Folder of the clips.
        seed: Of the run.
        steps: Of the run.
        own: Further settings, before those of ``train`` that follow from the others.
    """
    return [
        f"clips.folder={json.dumps(clips)}",
        "data.workers=0",
        *own,
        f"train.seed={seed}",
        f"train.steps={steps}",
        f"train.warmup_steps={min(50, steps)}",
        f"train.log_every={max(1, steps // _ENTRIES)}",
        f"train.validate_every={steps}",
        f"train.checkpoint_every={max(1, steps // 4)}",
        "train.accelerator=cpu",
    ]


def recipe_told(stage: str, settings: Iterable[str]) -> dict[str, Any]:
    """All of a recipe but the place of its clips, as JSON has it."""
    recipe = load_recipe(stage, settings).values()
    recipe["clips"].pop("folder")
    return json.loads(json.dumps(recipe))


@dataclass
class Ledger:
    """The figures that there are, and the file that keeps them.

    Args:
        out: JSON, read first and written anew behind each run; None: none.
        order: All rows there may be, as the table has them.
        scale: What the figures depend on.
        summary: Of the rows, also written.
        notes: What else is written.

    Raises:
        UserError: The file holds figures of another scale.
    """

    out: Path | None
    order: Sequence[str]
    scale: dict[str, Any]
    summary: Callable[[Rows], dict[str, Any]]
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._found: Rows = {}
        if self.out is not None and self.out.is_file():
            values = json.loads(self.out.read_text(encoding="utf-8"))
            if values.get("scale") != self.scale:
                raise UserError(f"{self.out}: the file holds figures of another scale; choose another file")
            self._found = values["rows"]

    def missing(self, rows: Collection[str], seeds: int) -> list[tuple[str, int]]:
        """Rows and seeds without figures, all rows of a seed before those of the next."""
        return [(row, seed) for seed in range(seeds) for row in rows if str(seed) not in self._found.get(row, {})]

    def add(self, row: str, seed: int, figures: dict[str, Any]) -> None:
        """Take in the figures of a run."""
        self._found.setdefault(row, {})[str(seed)] = figures
        self.write()

    def rows(self) -> Rows:
        """The figures in the order of rows and seeds."""
        found = {row: self._found[row] for row in self.order if row in self._found}
        return {row: dict(sorted(seeds.items(), key=lambda one: int(one[0]))) for row, seeds in found.items()}

    def write(self) -> None:
        """Write the file."""
        rows = self.rows()
        write_json(self.out, {"scale": self.scale, "rows": rows, "summary": self.summary(rows), **self.notes})

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Keeps what stopped runs need to go on: beside the file, or nothing behind the end."""
        if self.out is not None:
            yield self.out.with_suffix(".runs").absolute()
        else:
            with TemporaryDirectory() as name:
                yield Path(name)

    def place(self, folder: Path, row: str, seed: int) -> Path:
        """The folder of a run."""
        return folder / f"{list(self.order).index(row)}-{seed}"

    def gather(self, pool: Executor, jobs: dict[Future, tuple[str, int]], folder: Path) -> None:
        """Take in the figures of runs as they end, and remove their folders; cancel the others where one fails."""
        try:
            for job in as_completed(jobs):
                self.add(*jobs[job], job.result())
                shutil.rmtree(self.place(folder, *jobs[job]))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def spread(values: Sequence[float]) -> list[float]:
    """Mean and deviation over seeds."""
    return [float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0]


def means_and_gains(rows: Rows, base: str, judged: str) -> dict[str, dict[str, list[float]]]:
    """Mean and deviation over seeds of each figure that all seeds of a row have.

    Args:
        rows: The figures.
        base: The row that the others are compared with.
        judged: The figure of which ``gain`` tells by how much it exceeds that of the base of the same seed.
    """
    made: dict[str, dict[str, list[float]]] = {}
    for row, seeds in rows.items():
        names = [name for name in next(iter(seeds.values())) if all(s.get(name) is not None for s in seeds.values())]
        made[row] = {name: spread([one[name] for one in seeds.values()]) for name in names}
        both = [seed for seed in seeds if seed in rows.get(base, {})]
        if both and row != base:
            made[row]["gain"] = spread([seeds[seed][judged] - rows[base][seed][judged] for seed in both])
    return made


def options(about: str, rows: Collection[str], clips: str) -> argparse.ArgumentParser:
    """A parser of what all tables may be asked.

    Args:
        about: First line of the help.
        rows: Names of all rows.
        clips: Default folder of the clips.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--rows", nargs="+", default=list(rows), choices=rows, metavar="ROW", help=", ".join(rows))
    parser.add_argument(
        "--clips", type=_absolute, default=_absolute(clips), help="folder of the clips; rendered where missing"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of recipes")
    parser.add_argument("--out", type=Path, help="JSON with the figures; what it holds already is not done again")
    return parser


def _absolute(path: str) -> str:
    return str(Path(path).absolute())

"""What the parts of the language network are worth: rows without one of them, over several seeds.

``python -m scenegraph_track.training.language_ablations --out FILE.json`` trains and prints the table.  Each row and
seed trains a network from its start at small scale and is judged on held-out worlds as `LanguageStage.validate` does.
Runs that are in the file already are not done again, and a stopped run goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scenegraph_track.training.ablation_runs import (
    WIDTH,
    Ledger,
    Rows,
    means_and_gains,
    options,
    recipe_told,
    run_settings,
)
from scenegraph_track.training.chunks import make_chunks, worker_pool
from scenegraph_track.training.commands import told_plainly
from scenegraph_track.training.language_data import NAME, make_language_clip
from scenegraph_track.training.run import run_training
from scenegraph_track.training.settings import load_recipe
from scenegraph_track.training.weights import read_metadata

ROWS: dict[str, tuple[str, ...]] = {
    "full": (),
    "without target enhancement": ("language_net.target_enhance=false",),
    "without semantic awareness": ("language_net.semantic_aware=false",),
    "without dense matching": ("loss.dense_matching=0",),
}
"""What each row changes in the recipe."""

SHOWN = {"first_frame": "right object", "swap": "swap", "peak": "peak", "nothing": "nothing", "accepted": "accepted"}
"""Figures in the table, and how they are called there."""


@dataclass(frozen=True)
class Scale:
    """How much is trained.

    Args:
        steps: Of each run.
        looks_first: Of these, before any sentence.
        seeds: Number of seeds.
        clips: Folder of the clips, rendered there where they are missing.
        settings: Further ones of the recipe, ``key.of.setting=value``.
    """

    steps: int
    looks_first: int
    seeds: int
    clips: str
    settings: tuple[str, ...] = ()

    def common(self, seed: int) -> list[str]:
        """Settings of every run of a seed."""
        own = ["clips.workers=1", f"loss.looks_first={self.looks_first}", *self.settings]
        return run_settings(self.clips, seed, self.steps, own)


def train_row(row: str, seed: int, scale: Scale, out: Path) -> dict[str, float]:
    """Train one row with one seed in a folder; the figures of `LanguageStage.validate` behind the last step."""
    best = run_training("language", [*scale.common(seed), *ROWS[row]], out, resume=True)
    return {name: value for name, value in read_metadata(best)["held_out"].items() if name != "step"}


def ablate(rows: Sequence[str], scale: Scale, workers: int, out: Path | None) -> Rows:
    """Figures by row and seed; each run is a function of its row and seed alone, in a process of one thread.

    Args:
        rows: Names of `ROWS`.
        scale: How much is trained.
        workers: Processes.
        out: See `Ledger`.

    Raises:
        UserError: The file holds figures of another scale.
    """
    ledger = Ledger(out, tuple(ROWS), recipe_told("language", scale.common(0)), summary)
    clips = load_recipe("language", scale.common(0)).sections.clips
    make_chunks(clips.model_copy(update={"workers": workers}), make_language_clip, NAME)
    with ledger.folder() as folder, worker_pool(workers) as pool:
        jobs = {
            pool.submit(train_row, row, seed, scale, ledger.place(folder, row, seed)): (row, seed)
            for row, seed in ledger.missing(rows, scale.seeds)
        }
        ledger.gather(pool, jobs, folder)
    ledger.write()
    return ledger.rows()


def summary(rows: Rows) -> dict[str, dict[str, list[float]]]:
    """Mean and deviation over seeds of each figure; ``gain`` is the share of right objects less that of the whole."""
    return means_and_gains(rows, "full", "first_frame")


def table(rows: Rows) -> Table:
    """The comparison for a console."""
    shown = Table("row", *SHOWN.values(), "less the whole", "seeds")
    for row, figures in summary(rows).items():
        cells = ["{:.3f} ± {:.3f}".format(*figures[name]) if name in figures else "" for name in (*SHOWN, "gain")]
        shown.add_row(row, *cells, str(len(rows[row])))
    return shown


def main() -> None:
    """Run the ablations from the command line."""
    parser = options(__doc__.splitlines()[0], ROWS, "runs/language_clips")
    parser.add_argument("--steps", type=int, default=400, help="of each run")
    parser.add_argument("--looks-first", type=int, default=150, help="of these, before any sentence")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    asked = parser.parse_args()
    scale = Scale(asked.steps, asked.looks_first, asked.seeds, asked.clips, tuple(asked.set))
    with told_plainly():
        rows = ablate(asked.rows, scale, asked.workers, asked.out)
    Console(width=WIDTH).print(table(rows))


if __name__ == "__main__":
    main()

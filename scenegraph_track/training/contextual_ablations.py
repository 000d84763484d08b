"""What the contextual association is worth: the rows of PNTrack's ablation at small scale, over several seeds.

``python -m scenegraph_track.training.contextual_ablations --out FILE.json`` trains and prints the table.  All rows of a
seed go on from one start: a network that has learned with templates of first frames alone.  Each then trains in the
forward-backward cycle and is judged by targets that it follows through held-out worlds.  Runs that are in the file
already are not done again.  How the paper trains without noise is not told: here prompts end at the switch as in the
whole, and nothing comes after them (our reconstruction).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
from scenegraph_track.training.monitor import LOG, read_log
from scenegraph_track.training.run import run_training
from scenegraph_track.training.settings import load_recipe
from scenegraph_track.training.target_data import NAME, make_target_clip
from scenegraph_track.training.weights import read_metadata

ROWS: dict[str, tuple[str, ...]] = {
    "base": ("association.prompts=0", "association.noise=0"),
    "full (8 prompts)": (),
    "non-semantic query": ("association.semantic=false",),
    "no noise": ("association.noise=0",),
    "no prompt": ("association.prompts=0",),
    "class map only": ("association.kind=classification",),
    "4 prompts": ("association.prompts=4",),
    "16 prompts": ("association.prompts=16",),
}
"""What each row changes in the recipe."""

SHARE = 0.4
"""Of the steps before the switch from prompts to noise; the paper gives no number."""

_SCENES = 1024
"""Clips that are trained on; more take longer to load than they help so few steps."""

_RATE = 0.0005
"""Learning rate of the rows, half of the recipe's."""


@dataclass(frozen=True)
class Scale:
    """How much is trained.

    Args:
        steps: Of each row.
        start_steps: Of the start that the rows of a seed share.
        seeds: Number of seeds.
        clips: Folder of the clips, rendered there where they are missing.
        settings: Further ones of the recipe, ``key.of.setting=value``.
    """

    steps: int
    start_steps: int
    seeds: int
    clips: str
    settings: tuple[str, ...] = ()

    def common(self, seed: int, steps: int) -> list[str]:
        """Settings of every run of a seed."""
        own = [f"clips.scenes={_SCENES}", "clips.workers=1", *self.settings]
        return run_settings(self.clips, seed, steps, own)


def train_start(seed: int, scale: Scale, folder: Path) -> Path:
    """The weights that all rows of a seed start from; trained unless they are in the folder."""
    out = folder / f"start-{seed}"
    steps = scale.start_steps
    settings = [f"cycle.warmup={steps}", "association.prompts=0", "association.noise=0", *scale.common(seed, steps)]
    return run_training("contextual", settings, out, resume=True)


def train_row(row: str, seed: int, start: Path, scale: Scale, out: Path) -> dict[str, float | None]:
    """Train one row with one seed in a folder and judge it.

    Returns:
        The figures of `ContextualStage.validate`; ``inside``, the share of the prompts on the target in frames where
        it could be seen, and ``most_inside``, what is possible in cells of that size; ``hit`` and ``confident``, shares
        of the frames on the way forward that were found, and that gave a template.
    """
    settings = [
        "cycle.warmup=0",
        f"train.learning_rate={_RATE}",
        f"association.switch={round(SHARE * scale.steps)}",
        *scale.common(seed, scale.steps),
        f"train.start={json.dumps({'one_stream': str(start)})}",
        *ROWS[row],
    ]
    best = run_training("contextual", settings, out, resume=True)
    held_out = {name: value for name, value in read_metadata(best)["held_out"].items() if name != "step"}
    entries = [entry for entry in read_log(out / LOG) if "loss" in entry]
    sums = {name: float(np.sum([entry[name] for entry in entries])) for name in ("inside", "most_inside", "prompted")}
    prompted = sums.pop("prompted")
    shares = {name: value / prompted if prompted else None for name, value in sums.items()}
    way = {name: float(np.mean([entry[name] for entry in entries])) for name in ("hit", "confident")}
    return {**held_out, **shares, **way}


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
    common = scale.common(0, scale.steps)
    told = {"steps": scale.steps, "start_steps": scale.start_steps, "recipe": recipe_told("contextual", common)}
    ledger = Ledger(out, tuple(ROWS), told, summary)
    clips = load_recipe("contextual", common).sections.clips
    make_chunks(clips.model_copy(update={"workers": workers}), make_target_clip, NAME)
    wanted = ledger.missing(rows, scale.seeds)
    seeds = sorted({seed for _, seed in wanted})
    with ledger.folder() as folder, worker_pool(workers) as pool:
        starts = dict(zip(seeds, pool.map(train_start, seeds, [scale] * len(seeds), [folder] * len(seeds))))
        jobs: dict[Future, tuple[str, int]] = {
            pool.submit(train_row, row, seed, starts[seed], scale, ledger.place(folder, row, seed)): (row, seed)
            for row, seed in wanted
        }
        ledger.gather(pool, jobs, folder)
    ledger.write()
    return ledger.rows()


def summary(rows: Rows) -> dict[str, dict[str, list[float]]]:
    """Mean and spread (deviation over seeds) of each figure; ``gain`` is the AO less that of the base of the seed."""
    return means_and_gains(rows, "base", "ao")


def table(rows: Rows) -> Table:
    """The comparison for a console."""
    shown = Table("row", "AO", "AO - base", "AUC", "prompts on target", "(possible)", "constant position", "seeds")
    for row, figures in summary(rows).items():
        names = ("ao", "gain", "auc", "inside", "most_inside", "ao_constant")
        cells = ["{:.3f} ± {:.3f}".format(*figures[name]) if name in figures else "" for name in names]
        cells[-2:] = [cell.partition(" ")[0] for cell in cells[-2:]]
        shown.add_row(row, *cells, str(len(rows[row])))
    return shown


def main() -> None:
    """Run the ablations from the command line."""
    parser = options(__doc__.splitlines()[0], ROWS, "runs/target_clips")
    parser.add_argument("--steps", type=int, default=200, help="of each row")
    parser.add_argument("--start-steps", type=int, default=1500, help="of the start that the rows of a seed share")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    asked = parser.parse_args()
    scale = Scale(asked.steps, asked.start_steps, asked.seeds, asked.clips, tuple(asked.set))
    with told_plainly():
        rows = ablate(asked.rows, scale, asked.workers, asked.out)
    Console(width=WIDTH).print(table(rows))


if __name__ == "__main__":
    main()

"""What the contextual association is worth: the rows of PNTrack's ablation at small scale, over several seeds.

``python -m scenegraph_track.training.contextual_ablations --out FILE.json`` trains and prints the table.  All rows of a
seed go on from one start: a network that has learned with templates of first frames alone.  Each then trains in the
forward-backward cycle and is judged by targets that it follows through held-out worlds.  Runs that are in the file
already are not done again.  How the paper trains without noise is not told: here prompts end at the switch as in the
whole, and nothing comes after them (our reconstruction).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_write
from scenegraph_track.training.chunks import make_chunks
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

_SCENES = 512
"""Clips that are trained on; more take longer to load than they help so few steps."""

_RATE = 0.001
"""Learning rate of the rows, half of the recipe's."""

_WIDTH = 132
"""Columns of the table, also where it is not printed on a terminal."""

_ENTRIES = 10
"""Of the log of a run."""


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
        every = max(1, steps // _ENTRIES)
        return [
            f"clips.folder={json.dumps(self.clips)}",
            f"clips.scenes={_SCENES}",
            "clips.workers=1",
            "data.workers=0",
            *self.settings,
            f"train.seed={seed}",
            f"train.steps={steps}",
            f"train.warmup_steps={min(50, steps)}",
            f"train.log_every={every}",
            f"train.validate_every={steps}",
            f"train.checkpoint_every={max(1, steps // 4)}",
            "train.accelerator=cpu",
        ]


def train_start(seed: int, scale: Scale, folder: Path) -> Path:
    """The weights that all rows of a seed start from; trained unless they are in the folder."""
    out = folder / f"start-{seed}"
    steps = scale.start_steps
    settings = [f"cycle.warmup={steps}", "association.prompts=0", "association.noise=0", *scale.common(seed, steps)]
    return run_training("contextual", settings, out, resume=True)


def train_row(row: str, seed: int, start: Path, scale: Scale, folder: Path) -> dict[str, float | None]:
    """Train one row with one seed and judge it.

    Returns:
        The figures of `ContextualStage.validate`; ``inside``, the share of the prompts on the target in frames where
        it could be seen, and ``most_inside``, what is possible in cells of that size; ``hit`` and ``confident``, shares
        of the frames on the way forward that were found, and that gave a template.
    """
    out = folder / f"{list(ROWS).index(row)}-{seed}"
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


def ablate(rows: Sequence[str], scale: Scale, workers: int, out: Path | None) -> dict[str, dict[str, dict]]:
    """Figures by row and seed; each run is a function of its row and seed alone, in a process of one thread.

    Args:
        rows: Names of `ROWS`.
        scale: How much is trained.
        workers: Processes.
        out: JSON with the figures, written anew behind each run, and read first; a folder beside it keeps what a
            stopped run needs to go on.

    Raises:
        UserError: The file holds figures of another scale.
    """
    found = _known(out, scale)
    wanted = [(row, seed) for row in rows for seed in range(scale.seeds) if str(seed) not in found.get(row, {})]
    clips = load_recipe("contextual", scale.common(0, scale.steps)).sections.clips
    make_chunks(clips.model_copy(update={"workers": workers}), make_target_clip, NAME)
    folder = nullcontext(str(out.with_suffix(".runs"))) if out else TemporaryDirectory()
    # numerical libraries read these when a process loads them
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    with folder as name, ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        place = Path(name).absolute()
        seeds = sorted({seed for _, seed in wanted})
        starts = dict(zip(seeds, pool.map(train_start, seeds, [scale] * len(seeds), [place] * len(seeds))))
        jobs: dict[Future, tuple[str, int]] = {
            pool.submit(train_row, row, seed, starts[seed], scale, place): (row, seed) for row, seed in wanted
        }
        try:
            for job in as_completed(jobs):
                row, seed = jobs[job]
                found.setdefault(row, {})[str(seed)] = job.result()
                _write(out, scale, found)
                shutil.rmtree(place / f"{list(ROWS).index(row)}-{seed}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    _write(out, scale, found)
    return {row: found[row] for row in ROWS if row in found}


def _one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _known(out: Path | None, scale: Scale) -> dict[str, dict[str, dict]]:
    if out is None or not out.is_file():
        return {}
    values = json.loads(out.read_text(encoding="utf-8"))
    if values.get("scale") != _told(scale):
        raise UserError(f"{out}: the file holds figures of another scale; choose another file")
    return values["rows"]


def _told(scale: Scale) -> dict[str, Any]:
    """What figures depend on; more seeds may be added to those in a file."""
    recipe = load_recipe("contextual", scale.common(0, scale.steps)).values()
    recipe["clips"].pop("folder")
    return {"steps": scale.steps, "start_steps": scale.start_steps, "recipe": json.loads(json.dumps(recipe))}


def _write(out: Path | None, scale: Scale, found: dict[str, dict[str, dict]]) -> None:
    if out is None:
        return
    rows = {row: dict(sorted(found[row].items(), key=lambda item: int(item[0]))) for row in ROWS if row in found}
    with atomic_write(out) as file:
        json.dump({"scale": _told(scale), "rows": rows, "summary": summary(rows)}, file, indent=1)


def summary(rows: dict[str, dict[str, dict]]) -> dict[str, dict[str, list[float]]]:
    """Mean and spread (deviation over seeds) of each figure; ``gain`` is the AO less that of the base of the seed."""
    table: dict[str, dict[str, list[float]]] = {}
    for row, seeds in rows.items():
        figures = [{name: value for name, value in one.items() if value is not None} for one in seeds.values()]
        table[row] = {name: _spread([one[name] for one in figures]) for name in figures[0]}
        both = [seed for seed in seeds if seed in rows.get("base", {})]
        if both and row != "base":
            table[row]["gain"] = _spread([seeds[seed]["ao"] - rows["base"][seed]["ao"] for seed in both])
    return table


def _spread(values: list[float]) -> list[float]:
    return [float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0]


def table(rows: dict[str, dict[str, dict]]) -> Table:
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=150, help="of each row")
    parser.add_argument("--start-steps", type=int, default=2000, help="of the start that the rows of a seed share")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--clips", default="runs/target_clips", help="folder of the clips; rendered where missing")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the recipe"
    )
    parser.add_argument("--out", type=Path, help="JSON with the figures; what it holds already is not done again")
    asked = parser.parse_args()
    scale = Scale(asked.steps, asked.start_steps, asked.seeds, str(Path(asked.clips).absolute()), tuple(asked.set))
    try:
        rows = ablate(asked.rows, scale, asked.workers, asked.out)
    except UserError as error:
        sys.exit(f"error: {error}")
    Console(width=_WIDTH).print(table(rows))


if __name__ == "__main__":
    main()

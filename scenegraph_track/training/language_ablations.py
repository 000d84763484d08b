"""What the parts of the language network are worth: rows without one of them, over several seeds.

``python -m scenegraph_track.training.language_ablations --out FILE.json`` trains and prints the table.  Each row and
seed trains a network from its start at small scale and is judged on held-out worlds as `LanguageStage.validate` does.
Runs that are in the file already are not done again, and a stopped run goes on.
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
        return [
            f"clips.folder={json.dumps(self.clips)}",
            "clips.workers=1",
            "data.workers=0",
            f"loss.looks_first={self.looks_first}",
            *self.settings,
            f"train.seed={seed}",
            f"train.steps={self.steps}",
            f"train.warmup_steps={min(50, self.steps)}",
            f"train.log_every={max(1, self.steps // 10)}",
            f"train.validate_every={self.steps}",
            f"train.checkpoint_every={max(1, self.steps // 4)}",
            "train.accelerator=cpu",
        ]


def train_row(row: str, seed: int, scale: Scale, folder: Path) -> dict[str, float]:
    """Train one row with one seed; the figures of `LanguageStage.validate` behind the last step."""
    out = folder / f"{list(ROWS).index(row)}-{seed}"
    best = run_training("language", [*scale.common(seed), *ROWS[row]], out, resume=True)
    return {name: value for name, value in read_metadata(best)["held_out"].items() if name != "step"}


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
    wanted = [(row, seed) for seed in range(scale.seeds) for row in rows if str(seed) not in found.get(row, {})]
    clips = load_recipe("language", scale.common(0)).sections.clips
    make_chunks(clips.model_copy(update={"workers": workers}), make_language_clip, NAME)
    folder = nullcontext(str(out.with_suffix(".runs"))) if out else TemporaryDirectory()
    # numerical libraries read these when a process loads them
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    with folder as name, ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        place = Path(name).absolute()
        jobs: dict[Future, tuple[str, int]] = {
            pool.submit(train_row, row, seed, scale, place): (row, seed) for row, seed in wanted
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
    recipe = load_recipe("language", scale.common(0)).values()
    recipe["clips"].pop("folder")
    return json.loads(json.dumps(recipe))


def _write(out: Path | None, scale: Scale, found: dict[str, dict[str, dict]]) -> None:
    if out is None:
        return
    rows = {row: dict(sorted(found[row].items(), key=lambda item: int(item[0]))) for row in ROWS if row in found}
    with atomic_write(out) as file:
        json.dump({"scale": _told(scale), "rows": rows, "summary": summary(rows)}, file, indent=1)


def summary(rows: dict[str, dict[str, dict]]) -> dict[str, dict[str, list[float]]]:
    """Mean and deviation over seeds of each figure; ``gain`` is the share of right objects less that of the whole."""
    table: dict[str, dict[str, list[float]]] = {}
    for row, seeds in rows.items():
        names = [name for name in next(iter(seeds.values())) if all(name in one for one in seeds.values())]
        table[row] = {name: _spread([one[name] for one in seeds.values()]) for name in names}
        both = [seed for seed in seeds if seed in rows.get("full", {})]
        if both and row != "full":
            gains = [seeds[seed]["first_frame"] - rows["full"][seed]["first_frame"] for seed in both]
            table[row]["gain"] = _spread(gains)
    return table


def _spread(values: list[float]) -> list[float]:
    return [float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0]


def table(rows: dict[str, dict[str, dict]]) -> Table:
    """The comparison for a console."""
    shown = Table("row", *SHOWN.values(), "less the whole", "seeds")
    for row, figures in summary(rows).items():
        cells = ["{:.3f} ± {:.3f}".format(*figures[name]) if name in figures else "" for name in (*SHOWN, "gain")]
        shown.add_row(row, *cells, str(len(rows[row])))
    return shown


def main() -> None:
    """Run the ablations from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400, help="of each run")
    parser.add_argument("--looks-first", type=int, default=150, help="of these, before any sentence")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--clips", default="runs/language_clips", help="folder of the clips; rendered where missing")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the recipe"
    )
    parser.add_argument("--out", type=Path, help="JSON with the figures; what it holds already is not done again")
    asked = parser.parse_args()
    place = str(Path(asked.clips).absolute())
    scale = Scale(asked.steps, asked.looks_first, asked.seeds, place, tuple(asked.set))
    try:
        rows = ablate(asked.rows, scale, asked.workers, asked.out)
    except UserError as error:
        sys.exit(f"error: {error}")
    Console(width=132).print(table(rows))


if __name__ == "__main__":
    main()

"""What JEPA pre-training is worth where targets are masked: the published occlusion test, over several seeds.

``python -m scenegraph_track.training.jepa_ablations --out FILE.json`` trains and prints the table.  All rows begin with
the weights of one teacher and are fine-tuned by its boxes for as many steps; all rows but the first are pre-trained by
JEPA before, without boxes to be found, and keep its predictors.  Each is judged by targets that it follows through
held-out worlds, masked by several shares (`evaluation.masked`).  Runs that are in the file already are not done again,
and one that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.masked import CLAIMS, MaskedMethod, measure_masked
from scenegraph_track.evaluation.single_clips import SingleWorlds
from scenegraph_track.files import atomic_write
from scenegraph_track.target.embedded import SHIPPED
from scenegraph_track.training.monitor import LOG, read_log
from scenegraph_track.training.run import run_training
from scenegraph_track.training.settings import load_recipe

BASE = "without"

ROWS: dict[str, tuple[str, ...] | None] = {
    BASE: None,
    "cells relocated": (),
    "blocks": ("corruption.kinds={occlude: 1.0}",),
}
"""What each row changes in the recipe of JEPA; None: no pre-training."""

FOLLOWERS: dict[str, str] = {"": "target"}
"""Ways in which the networks of each row follow (`evaluation.masked.FOLLOWERS`), by what is added to the row's name."""

_ENTRIES = 10
"""Of the log of a run."""

_WIDTH = 132
"""Columns of the table, also where it is not printed on a terminal."""


@dataclass(frozen=True)
class Scale:
    """How much is trained and measured.

    Args:
        steps: Of JEPA.
        tuning_steps: Of fine-tuning, of every row.
        seeds: Number of seeds.
        clips: Folder of the clips, rendered there where they are missing.
        worlds: Held-out ones; two targets of each.
        frames: Of each of them.
        shares: Of the targets' boxes that are hidden.
        settings: Further ones of both recipes, ``key.of.setting=value``.
        jepa_settings: Of that of JEPA.
        tuning_settings: Of that of fine-tuning.
    """

    steps: int
    tuning_steps: int
    seeds: int
    clips: str
    worlds: int
    frames: int
    shares: tuple[float, ...]
    settings: tuple[str, ...] = ()
    jepa_settings: tuple[str, ...] = ()
    tuning_settings: tuple[str, ...] = ()

    def common(self, seed: int, steps: int) -> list[str]:
        """Settings of every run of a seed."""
        return [
            f"clips.folder={json.dumps(self.clips)}",
            "data.workers=0",
            "data.validation_clips=4",
            "data.validation_frames=16",
            *self.settings,
            f"train.seed={seed}",
            f"train.steps={steps}",
            f"train.warmup_steps={steps // 10}",
            f"train.log_every={max(1, steps // _ENTRIES)}",
            f"train.validate_every={max(1, steps // 2)}",
            f"train.checkpoint_every={max(1, steps // 4)}",
            "train.accelerator=cpu",
        ]

    def pretraining(self, row: str, seed: int) -> list[str]:
        """Settings of JEPA: its student begins with the teacher's weights, for the few steps that there are."""
        own = ["jepa.student=teacher", "train.learning_rate=0.0003", *(ROWS[row] or ())]
        return [*self.common(seed, self.steps), *own, *self.jepa_settings]

    def tuning(self, start: Path, refined: bool, seed: int) -> list[str]:
        """Settings of fine-tuning: the backbone stays, the last weights count."""
        own = ["train.learning_rate=0.0003", "train.ema_decay=null", "train.monitor=null", "clips.scenes=512"]
        net = ["target_net.train_backbone=false", f"target_net.refined={str(refined).lower()}"]
        begin = f"train.start={json.dumps({'target': str(start)})}"
        return [*own, *self.common(seed, self.tuning_steps), *net, begin, *self.tuning_settings]


def run_row(row: str, seed: int, scale: Scale, folder: Path) -> dict[str, Any]:
    """Train one row with one seed and judge it.

    Returns:
        ``masked``, the figures of `measure_masked` by follower; ``pretraining`` and ``tuning``, what the runs'
        validations and logs end with.
    """
    place, start, found = folder / f"{list(ROWS).index(row)}-{seed}", SHIPPED, {}
    if ROWS[row] is not None:
        start = run_training("jepa", scale.pretraining(row, seed), place / "jepa", resume=True)
        found["pretraining"] = _last(place / "jepa")
    settings = scale.tuning(start, ROWS[row] is not None, seed)
    weights = run_training("target", settings, place / "target", resume=True)
    found["tuning"] = _last(place / "target")
    methods = {name: MaskedMethod(name, str(weights), kind).load() for name, kind in FOLLOWERS.items()}
    source = SingleWorlds("standard", "test", scale.worlds, frames=scale.frames)
    return {"masked": measure_masked(source, methods, scale.shares), **found}


def _last(run: Path) -> dict[str, float]:
    """The last figures of each name in a run's log."""
    return {name: value for entry in read_log(run / LOG) for name, value in entry.items()}


def ablate(
    rows: Sequence[str], scale: Scale, out: Path | None, told: Callable[[str], None] | None = None
) -> dict[str, dict[str, dict]]:
    """Figures by row and seed; all rows of a seed before those of the next.

    Args:
        rows: Names of `ROWS`.
        scale: How much is trained.
        out: JSON with the figures, written anew behind each run, and read first; a folder beside it keeps what a
            stopped run needs to go on, and the logs.
        told: Called with a line behind each run.

    Raises:
        UserError: The file holds figures of another scale.
    """
    found = _known(out, scale)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with nullcontext(str(out.with_suffix(".runs"))) if out else TemporaryDirectory() as name:
        folder = Path(name).absolute()
        for seed in range(scale.seeds):
            for row in rows:
                if str(seed) in found.get(row, {}):
                    continue
                found.setdefault(row, {})[str(seed)] = run_row(row, seed, scale, folder)
                _write(out, scale, found)
                for part in ("jepa", "target"):
                    shutil.rmtree(folder / f"{list(ROWS).index(row)}-{seed}" / part / "checkpoints", ignore_errors=True)
                if told is not None:
                    told(f"{row}, seed {seed}: {_line(found[row][str(seed)])}")
    return {row: found[row] for row in ROWS if row in found}


def _line(one: dict[str, Any]) -> str:
    rows = next(iter(one["masked"].values()))
    return ", ".join(f"AO {figures['ao']:.3f} at {float(share):.0%}" for share, figures in rows.items())


def _known(out: Path | None, scale: Scale) -> dict[str, dict[str, dict]]:
    if out is None or not out.is_file():
        return {}
    values = json.loads(out.read_text(encoding="utf-8"))
    if values.get("scale") != _told(scale):
        raise UserError(f"{out}: the file holds figures of another scale; choose another file")
    return values["rows"]


def _told(scale: Scale) -> dict[str, Any]:
    """What figures depend on; more seeds may be added to those in a file."""
    plain = {name: value for name, value in asdict(scale).items() if name not in ("seeds", "clips")}
    recipes = {
        "jepa": load_recipe("jepa", scale.pretraining(BASE, 0)).values(),
        "target": load_recipe("target", scale.tuning(Path("start"), False, 0)).values(),
    }
    for recipe in recipes.values():
        recipe["clips"].pop("folder")
    return json.loads(json.dumps({**plain, "recipes": recipes}))


def _write(out: Path | None, scale: Scale, found: dict[str, dict[str, dict]]) -> None:
    if out is None:
        return
    rows = {row: dict(sorted(found[row].items(), key=lambda item: int(item[0]))) for row in ROWS if row in found}
    values = {"scale": _told(scale), "rows": rows, "summary": summary(rows), "published_claims": list(CLAIMS)}
    with atomic_write(out) as file:
        json.dump(values, file, indent=1)


def summary(rows: dict[str, dict[str, dict]]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """AO by row (with its follower) and share: mean and deviation over seeds, and those of the gain.

    The gain is AO less that of the first row, of the same seed, followed in the same way.
    """
    table: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row, seeds in rows.items():
        for follower in next(iter(seeds.values()))["masked"]:
            shares = list(next(iter(seeds.values()))["masked"][follower])
            both = [seed for seed in seeds if seed in rows.get(BASE, {})]
            table[row + follower] = {
                share: {"ao": _spread([_ao(one, follower, share) for one in seeds.values()])}
                | (
                    {
                        "gain": _spread(
                            [_ao(seeds[k], follower, share) - _ao(rows[BASE][k], follower, share) for k in both]
                        )
                    }
                    if both and row != BASE
                    else {}
                )
                for share in shares
            }
    return table


def _ao(one: dict[str, Any], follower: str, share: str) -> float:
    return one["masked"][follower][share]["ao"]


def _spread(values: list[float]) -> list[float]:
    return [float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0]


def table(rows: dict[str, dict[str, dict]]) -> Table:
    """AO and gains for a console."""
    told = summary(rows)
    shares = list(next(iter(told.values())))
    heads = [f"AO, {float(share):.0%} masked" for share in shares]
    shown = Table("pre-training", *heads, *(f"gain at {float(share):.0%}" for share in shares))
    for row, figures in told.items():
        cells = ["{:.3f} ± {:.3f}".format(*figures[share]["ao"]) for share in shares]
        gains = [
            "{:+.3f} ± {:.3f}".format(*figures[share]["gain"]) if "gain" in figures[share] else "" for share in shares
        ]
        shown.add_row(row, *cells, *gains)
    return shown


def main() -> None:
    """Run the comparison from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400, help="of JEPA")
    parser.add_argument("--tuning-steps", type=int, default=300, help="of fine-tuning, of every row")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--clips", default="runs/target_clips", help="folder of the clips; rendered where missing")
    parser.add_argument("--worlds", type=int, default=12, help="held-out; two targets of each")
    parser.add_argument("--frames", type=int, default=40, help="of each of them")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.3, 0.5, 0.7], help="that are masked")
    for name, of in (("set", "both recipes"), ("set-jepa", "that of JEPA"), ("set-target", "that of fine-tuning")):
        parser.add_argument(f"--{name}", action="append", default=[], metavar="KEY=VALUE", help=f"a setting of {of}")
    parser.add_argument("--out", type=Path, help="JSON with the figures; what it holds already is not done again")
    asked = parser.parse_args()
    scale = Scale(
        asked.steps,
        asked.tuning_steps,
        asked.seeds,
        str(Path(asked.clips).absolute()),
        asked.worlds,
        asked.frames,
        tuple(asked.shares),
        tuple(asked.set),
        tuple(asked.set_jepa),
        tuple(asked.set_target),
    )
    console = Console(width=_WIDTH)
    try:
        rows = ablate(asked.rows, scale, asked.out, lambda line: console.print(line, highlight=False))
    except UserError as error:
        sys.exit(f"error: {error}")
    console.print(table(rows))
    console.print(f"The published summary claims: {'; '.join(CLAIMS)}.", highlight=False)


if __name__ == "__main__":
    main()

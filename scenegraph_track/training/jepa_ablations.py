"""What JEPA pre-training is worth where targets are masked: the published occlusion test, over several seeds.

``python -m scenegraph_track.training.jepa_ablations --out FILE.json`` trains and prints the table.  All rows begin with
the weights of one teacher and are fine-tuned by its boxes for as many steps; all rows but the first are pre-trained by
JEPA before, without boxes to be found, and keep its predictors.  Each is judged by targets that it follows through
held-out worlds, masked by several shares (`evaluation.masked`).  Runs that are in the file already are not done again,
and one that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scenegraph_track.evaluation.masked import CLAIMS, MaskedMethod, measure_masked
from scenegraph_track.evaluation.single_clips import SingleWorlds
from scenegraph_track.target.embedded import SHIPPED
from scenegraph_track.training.ablation_runs import WIDTH, Ledger, Rows, options, recipe_told, run_settings, spread
from scenegraph_track.training.chunks import one_thread
from scenegraph_track.training.commands import told_plainly
from scenegraph_track.training.monitor import LOG, read_log
from scenegraph_track.training.run import run_training

BASE = "without"

ROWS: dict[str, tuple[str, ...] | None] = {
    BASE: None,
    "cells relocated": (),
    "blocks": ("corruption.kinds={occlude: 1.0}",),
}
"""What each row changes in the recipe of JEPA; None: no pre-training."""

FOLLOWERS: dict[str, str] = {"": "target"}
"""Ways in which the networks of each row follow (`evaluation.masked.FOLLOWERS`), by what is added to the row's name."""


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
        own = ["data.validation_clips=4", "data.validation_frames=16", *self.settings]
        often = [f"train.warmup_steps={steps // 10}", f"train.validate_every={max(1, steps // 2)}"]
        return [*run_settings(self.clips, seed, steps, own), *often]

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


def run_row(row: str, seed: int, scale: Scale, place: Path) -> dict[str, Any]:
    """Train one row with one seed in a folder and judge it.

    Returns:
        ``masked``, the figures of `measure_masked` by follower; ``pretraining`` and ``tuning``, what the runs'
        validations and logs end with.
    """
    start, found = SHIPPED, {}
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


def ablate(rows: Sequence[str], scale: Scale, out: Path | None, told: Callable[[str], None] | None = None) -> Rows:
    """Figures by row and seed; all rows of a seed before those of the next.

    Args:
        rows: Names of `ROWS`.
        scale: How much is trained.
        out: See `Ledger`; the runs' logs are kept too.
        told: Called with a line behind each run.

    Raises:
        UserError: The file holds figures of another scale.
    """
    ledger = Ledger(out, tuple(ROWS), _told(scale), summary, {"published_claims": list(CLAIMS)})
    one_thread()
    with ledger.folder() as folder:
        for row, seed in ledger.missing(rows, scale.seeds):
            place = ledger.place(folder, row, seed)
            figures = run_row(row, seed, scale, place)
            ledger.add(row, seed, figures)
            for part in ("jepa", "target"):
                shutil.rmtree(place / part / "checkpoints", ignore_errors=True)
            if told is not None:
                told(f"{row}, seed {seed}: {_line(figures)}")
    return ledger.rows()


def _line(one: dict[str, Any]) -> str:
    rows = next(iter(one["masked"].values()))
    return ", ".join(f"AO {figures['ao']:.3f} at {float(share):.0%}" for share, figures in rows.items())


def _told(scale: Scale) -> dict[str, Any]:
    """What figures depend on; more seeds may be added to those in a file."""
    plain = {name: value for name, value in asdict(scale).items() if name not in ("seeds", "clips")}
    recipes = {
        "jepa": recipe_told("jepa", scale.pretraining(BASE, 0)),
        "target": recipe_told("target", scale.tuning(Path("start"), False, 0)),
    }
    return json.loads(json.dumps({**plain, "recipes": recipes}))


def summary(rows: Rows) -> dict[str, dict[str, dict[str, list[float]]]]:
    """AO by row (with its follower) and share: mean and deviation over seeds, and those of the gain.

    The gain is AO less that of the first row, of the same seed, followed in the same way.
    """
    table: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row, seeds in rows.items():
        both = [seed for seed in seeds if seed in rows.get(BASE, {}) and row != BASE]
        for follower, shares in next(iter(seeds.values()))["masked"].items():
            table[row + follower] = {share: {"ao": spread(_aos(seeds.values(), follower, share))} for share in shares}
            for share, figures in table[row + follower].items() if both else ():
                ours, base = (_aos((some[seed] for seed in both), follower, share) for some in (seeds, rows[BASE]))
                figures["gain"] = spread([a - b for a, b in zip(ours, base)])
    return table


def _aos(runs: Iterable[dict[str, Any]], follower: str, share: str) -> list[float]:
    return [one["masked"][follower][share]["ao"] for one in runs]


def table(rows: Rows) -> Table:
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
    parser = options(__doc__.splitlines()[0], ROWS, "runs/target_clips")
    parser.add_argument("--steps", type=int, default=400, help="of JEPA")
    parser.add_argument("--tuning-steps", type=int, default=300, help="of fine-tuning, of every row")
    parser.add_argument("--worlds", type=int, default=12, help="held-out; two targets of each")
    parser.add_argument("--frames", type=int, default=40, help="of each of them")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.3, 0.5, 0.7], help="that are masked")
    for name, of in (("set-jepa", "that of JEPA"), ("set-target", "that of fine-tuning")):
        parser.add_argument(f"--{name}", action="append", default=[], metavar="KEY=VALUE", help=f"a setting of {of}")
    asked = parser.parse_args()
    scale = Scale(
        asked.steps,
        asked.tuning_steps,
        asked.seeds,
        asked.clips,
        asked.worlds,
        asked.frames,
        tuple(asked.shares),
        tuple(asked.set),
        tuple(asked.set_jepa),
        tuple(asked.set_target),
    )
    console = Console(width=WIDTH)
    with told_plainly():
        rows = ablate(asked.rows, scale, asked.out, lambda line: console.print(line, highlight=False))
    console.print(table(rows))
    console.print(f"The published summary claims: {'; '.join(CLAIMS)}.", highlight=False)


if __name__ == "__main__":
    main()

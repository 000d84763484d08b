"""``scenegraph-track train``: train a stage by its recipe, go on with a run, or try one for two steps."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from scenegraph_track.cli.console import BadUsage, Interrupted, say, usage

if TYPE_CHECKING:
    from scenegraph_track.training.settings import Recipe


class TrainCommand(TyperCommand):
    """Names the recipes in its help, once that is asked for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from scenegraph_track.training.settings import named_recipes

        self.params[0].help = f"What to train: {', '.join(named_recipes())}."  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


def train(
    stage: Annotated[str, typer.Argument(help="What to train.", show_default=False)],
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A complete recipe of the stage, in place of the one that ships.", show_default=False
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, as train.steps=2000; repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for best.safetensors, checkpoints, log.jsonl and recipe.yaml; one in runs/ otherwise.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in the folder, to the same weights.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Two steps, a validation and a checkpoint; nothing is kept.")
    ] = False,
    devices: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Processes on this machine, one a device, or auto for all GPUs.", show_default=False
        ),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the complete recipe as YAML and leave.")
    ] = False,
) -> None:
    """Train a network by its recipe, and say where the weights are and what they achieve on held-out data.

    Ctrl-C or SIGTERM ends a run behind a checkpoint. The exit code is 0 when training is done, 1 when it has failed
    (collapsed, or a loss that is no number), 2 when the command itself is wrong, 130 after Ctrl-C or SIGTERM.
    """
    with usage():
        wanted = _number_of(devices)
        overrides = [*(settings or ()), *([] if wanted is None else [f"train.devices={wanted}"])]
        name, recipe = _recipe(stage, config, overrides)
    if print_config:
        say(recipe.text().rstrip())
        return

    from lightning_fabric.utilities.rank_zero import rank_zero_only

    from scenegraph_track.training.interrupts import TrainingInterrupted
    from scenegraph_track.training.run import run_training

    try:
        best = run_training(name, settings or (), out, resume, dry_run, wanted)
    except TrainingInterrupted as stopped:
        raise Interrupted(f"{stopped} (--resume)") from None
    if rank_zero_only.rank == 0:  # the others of several processes have nothing to add
        say(f"{stage}: two steps went well" if dry_run else _report(best))


def _number_of(devices: str | None) -> int | Literal["auto"] | None:
    if devices is None or devices == "auto":
        return devices
    if not devices.isdecimal() or int(devices) < 1:
        raise BadUsage(f"--devices {devices}: expected a number of at least 1, or auto")
    return int(devices)


def _recipe(stage: str, config: Path | None, overrides: list[str]) -> tuple[str | Path, Recipe]:
    """The recipe and where `run_training` finds it."""
    from scenegraph_track.training.settings import load_recipe, named_recipes

    known = named_recipes()
    if stage not in known:
        near = difflib.get_close_matches(stage, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise BadUsage(f"train {stage}: expected one of {', '.join(known)}{hint}")
    if config is None:
        return stage, load_recipe(stage, overrides)
    recipe, trained = load_recipe(config, overrides), load_recipe(stage).stage
    if recipe.stage != trained:
        raise BadUsage(f"--config {config}: expected a recipe of the stage {trained}, found one of {recipe.stage}")
    return config, recipe


def _report(best: Path) -> str:
    """Where the weights are and what they achieve."""
    from scenegraph_track.training.monitor import describe
    from scenegraph_track.training.weights import read_metadata

    figures = dict(read_metadata(best)["held_out"])
    step = figures.pop("step", None)
    held_out = f"\nheld out after step {step:.0f}: {describe(figures)}" if figures else ""
    return f"weights: {best}{held_out}"

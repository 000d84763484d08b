"""One training run from a recipe: checks, folder, devices, and what is said at the end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from lightning_fabric.utilities.exceptions import MisconfigurationException

from detectors.embedded import SHIPPED
from geometry.errors import GeometryError
from geometry.weights import embedded_weights
from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_write
from scenegraph_track.training.checkpoints import BEST, Checkpoints
from scenegraph_track.training.interrupts import TrainingInterrupted
from scenegraph_track.training.loop import train
from scenegraph_track.training.settings import Recipe, differences, load_recipe
from scenegraph_track.training.stage import Stage, find_stage
from scenegraph_track.training.weights import load_weights

logger = logging.getLogger(__name__)

RECIPE = "recipe.yaml"

EMBEDDED = "embedded"


def run_training(
    recipe_path: str | Path,
    overrides: Iterable[str] = (),
    out: str | Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    devices: int | Literal["auto"] | None = None,
) -> Path:
    """Train what a recipe says.

    With more than one device the program is started again for each further one (not under ``torchrun``, which has done
    so already); every process has to come here with the same arguments.

    Args:
        recipe_path: A name of `settings.named_recipes` or the path of a YAML file.
        overrides: ``key.of.setting=value``, the value as YAML.
        out: Folder of the run; None: ``runs/`` and the recipe's name.
        resume: Go on from the newest checkpoint in ``out``; if there is none, start, with a warning.
        dry_run: Two steps with validation and checkpoint, in a temporary folder; nothing is left in ``out``, where it
            has to be possible to write all the same.
        devices: In place of ``train.devices``.

    Returns:
        The best weights, ``best.safetensors`` in ``out``.

    Raises:
        UserError: The recipe is wrong, ``out`` holds another run or cannot be written, or training failed
            (`loop.TrainingFailed`).
        TrainingInterrupted: Ctrl-C or SIGTERM, after a checkpoint.
    """
    asked = [*overrides] if devices is None else [*overrides, f"train.devices={devices}"]
    recipe = load_recipe(recipe_path, asked)
    out = Path("runs") / Path(recipe_path).stem if out is None else Path(out)
    if dry_run:
        _refuse_unwritable(out)
        with TemporaryDirectory() as folder:
            _run(replace(recipe, train=recipe.train.dry()), Path(folder), resume=False, dry_run=True)
        return out / BEST
    return _run(recipe, out, resume, dry_run=False)


def _run(recipe: Recipe, out: Path, resume: bool, dry_run: bool) -> Path:
    settings = recipe.train
    fabric = _fabric(recipe)
    if fabric.is_global_zero:  # before launching: the other processes may look at the folder later
        _claim(out, recipe, resume)
    fabric.launch()
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(settings.seed)
    stage = recipe.create_stage()
    stage.dry_run = dry_run
    _start(stage, settings.start)
    progress = train(fabric, recipe, stage, out)
    if progress.interrupted:
        newest = Checkpoints(out, recipe).newest()
        raise TrainingInterrupted(
            f"stopped after step {progress.step} of {settings.steps}; resume goes on from {newest}"
        )
    return out / BEST


def _start(stage: Stage, files: dict[str, str]) -> None:
    """Give modules the weights that they start from; `EMBEDDED` in place of a path means those that ship."""
    modules = stage.modules()
    for name, file in files.items():
        if name not in modules:
            raise UserError(f"train.start: expected modules of {', '.join(modules)}, found {name}")
        load_weights(modules[name], _shipped(name) if file == EMBEDDED else file, name)


def _shipped(name: str) -> Path:
    """The weights of a module that ship with the package."""
    try:
        return SHIPPED if name == "detector" else embedded_weights(name)
    except GeometryError as error:
        raise UserError(f"train.start: {error}") from None


def _fabric(recipe: Recipe) -> Fabric:
    """Devices as the recipe or ``torchrun`` says; several processes train data-parallel."""
    settings = recipe.train
    devices, nodes = settings.devices, settings.nodes
    if torch.distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if devices == "auto":
        on_gpu = settings.accelerator in ("auto", "cuda") and torch.cuda.is_available()
        devices = torch.cuda.device_count() if on_gpu else 1
    alone = devices * nodes == 1
    strategy = "auto" if alone else DDPStrategy(find_unused_parameters=find_stage(recipe.stage).unused_weights)
    try:
        return Fabric(
            accelerator=settings.accelerator,
            strategy=strategy,
            devices=devices,
            num_nodes=nodes,
            precision=settings.precision,
        )
    except (MisconfigurationException, RuntimeError, ValueError) as wrong:
        raise UserError(f"train: these devices cannot be used ({' '.join(str(wrong).split())})") from None


def _refuse_unwritable(out: Path) -> None:
    """Try to write where a run would, and leave nothing there."""
    try:
        nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        with TemporaryDirectory(dir=nearest):
            pass
    except OSError as error:
        raise UserError(f"{out}: cannot write there ({error.strerror})") from None


def _claim(out: Path, recipe: Recipe, resume: bool) -> None:
    """Write the recipe into a fresh folder, or check that the run in it has the same."""
    path = out / RECIPE
    if path.is_file():
        if not resume:
            raise UserError(f"{out}: the folder holds a run; resume it or choose another folder")
        changed = differences(load_recipe(path).values(), recipe.values())
        if changed:
            raise UserError(f"{out}: cannot resume with other settings than the run began with: {', '.join(changed)}")
    with atomic_write(path) as file:
        file.write(recipe.text())
    if resume and Checkpoints(out, recipe).newest() is None:
        logger.warning("%s: no checkpoint there to go on from, this run begins at step 0", out)

"""What a run leaves on disk: checkpoints to go on from, and the best weights."""

from __future__ import annotations

import pickle
import shutil
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import scenegraph_track
from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_folder
from scenegraph_track.training.settings import Recipe
from scenegraph_track.training.weights import save_weights
from scenegraph_track.version import __version__

BEST = "best.safetensors"
WEIGHTS = "weights.safetensors"
STATE = "state.pt"


@dataclass
class Progress:
    """How far a run has come; the next batch and the learning rate follow from ``step``.

    Args:
        step: Updates so far.
        best: The monitored metric of the best weights.
        held_out: Metrics of the newest validation and the step when it was.
        interrupted: Whether the run was asked to stop before its end.
    """

    step: int = 0
    best: float | None = None
    held_out: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False


class Checkpoints:
    """The folder ``checkpoints`` of a run and ``best.safetensors`` beside it.

    A checkpoint is a folder ``step-00001000`` that appears as a whole: ``weights.safetensors``, the weights to use
    (averaged ones where the run averages), and ``state.pt``, tensors and plain values to go on from exactly.

    Args:
        out: Folder of the run.
        recipe: Goes into the metadata of the weights.
    """

    def __init__(self, out: Path, recipe: Recipe) -> None:
        self.out, self.recipe = out, recipe
        self.folder = out / "checkpoints"
        self._commit = commit()

    def newest(self) -> Path | None:
        """The checkpoint of the highest step."""
        return max(self.folder.glob("step-*"), default=None)

    def save(self, progress: Progress, state: dict[str, Any], weights: dict[str, Tensor]) -> None:
        """Write a checkpoint, then remove those that are too old."""
        with atomic_folder(self.folder / f"step-{progress.step:08d}", overwrite=True) as folder:
            save_weights(folder / WEIGHTS, weights, self._story(progress))
            values = asdict(progress)
            values.pop("interrupted")
            torch.save({"progress": values, **state}, folder / STATE)
        for old in sorted(self.folder.glob("step-*"))[: -self.recipe.train.keep_last]:
            shutil.rmtree(old)
        for broken in self.folder.glob(".step-*.tmp"):  # left by a run that was killed while it wrote
            shutil.rmtree(broken, ignore_errors=True)

    def save_best(self, progress: Progress, weights: dict[str, Tensor]) -> None:
        """Replace the best weights."""
        save_weights(self.out / BEST, weights, self._story(progress))

    def _story(self, progress: Progress) -> dict[str, Any]:
        known = {"commit": self._commit} if self._commit else {}
        return {
            "stage": self.recipe.stage,
            "recipe": self.recipe.values(),
            "seed": self.recipe.train.seed,
            "step": progress.step,
            "version": __version__,
            "held_out": progress.held_out,
            **known,
        }


def load_state(folder: Path) -> tuple[Progress, dict[str, Any]]:
    """Read a checkpoint's progress and state; nothing but tensors and plain values is ever unpickled.

    Raises:
        UserError: The folder holds no state, or a damaged one.
    """
    path = folder / STATE
    if not path.is_file():
        raise UserError(f"{path}: no such state of a run")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError):
        raise UserError(
            f"{path}: the state is damaged; without its folder, resume takes the checkpoint before"
        ) from None
    return Progress(**state.pop("progress")), state


def commit() -> str | None:
    """The commit of the checkout that this package is imported from (``-dirty`` if it was changed), if it is one."""
    checkout = Path(scenegraph_track.__file__).resolve().parents[1]
    git = shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return None
    command = [git, "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None

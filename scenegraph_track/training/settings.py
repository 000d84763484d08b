"""Recipes: one complete YAML that says which stage is trained, on what, and how."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from scenegraph_track.config import named_configs
from scenegraph_track.errors import UserError
from scenegraph_track.setting_files import read_settings, validated
from scenegraph_track.training.stage import Stage, find_stage

FREE = frozenset({"devices", "nodes", "accelerator", "log_every", "checkpoint_every", "keep_last"})
"""Settings of `TrainSettings` that a resumed run may change: they do not enter the weights."""


class TrainSettings(BaseModel):
    """How a stage is trained; a step is one update of the weights."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    seed: int = Field(0, ge=0, description="the one number that all randomness follows from")
    start: dict[str, str] = Field({}, description="weights files that modules start from, by name; the rest is drawn")
    steps: int = Field(1000, ge=1, description="updates of the weights")
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int | Literal["auto"] = Field(1, description="processes on this machine, one a device")
    nodes: int = Field(1, ge=1, description="machines; torchrun overrides both")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    deterministic: bool = Field(False, description="ask torch for its deterministic algorithms; slower on a GPU")
    learning_rate: float = Field(1e-3, gt=0, description="at the top of the schedule")
    final_learning_rate: float = Field(0.01, ge=0, le=1, description="at the end, as a part of learning_rate")
    warmup_steps: int = Field(0, ge=0, description="steps of linear rise before the cosine falls")
    weight_decay: float = Field(0.01, ge=0, description="of matrices and filters; biases and norms have none")
    betas: tuple[float, float] = Field((0.9, 0.999), description="of AdamW")
    clip_norm: float | None = Field(1.0, gt=0, description="largest norm of the gradient of all weights")
    accumulate: int = Field(1, ge=1, description="batches whose mean gradient makes one step")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="average the weights over steps; None: do not")
    log_every: int = Field(20, ge=1, description="steps between two entries of the log")
    validate_every: int = Field(500, ge=1, description="steps between two validations; the last step has one")
    checkpoint_every: int = Field(500, ge=1, description="steps between two checkpoints; the last step has one")
    keep_last: int = Field(2, ge=1, description="checkpoints that are kept")
    monitor: str | None = Field(None, description="validation metric that tells the best weights; None: the newest")
    monitor_mode: Literal["min", "max"] = "min"

    @model_validator(mode="after")
    def _consistent(self) -> TrainSettings:
        if self.warmup_steps > self.steps:
            raise ValueError(f"expected warmup_steps <= steps, found {self.warmup_steps} and {self.steps}")
        if self.devices != "auto" and self.devices < 1:
            raise ValueError(f"devices: expected at least 1 or auto, found {self.devices}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: expected two numbers in [0, 1), found {list(self.betas)}")
        return self

    def dry(self) -> TrainSettings:
        """The same for two steps with everything that happens on the way."""
        every = dict.fromkeys(("steps", "validate_every", "checkpoint_every"), 2)
        return self.model_copy(update=every | {"log_every": 1, "warmup_steps": min(1, self.warmup_steps)})


@dataclass(frozen=True)
class Recipe:
    """What a run depends on.

    Args:
        stage: Name of the stage.
        sections: The stage's own settings, an instance of its ``Settings``.
        train: The loop's settings.
    """

    stage: str
    sections: BaseModel
    train: TrainSettings

    def values(self) -> dict[str, Any]:
        """Everything as plain values, complete, as a recipe file holds it."""
        return {
            "stage": self.stage,
            **self.sections.model_dump(mode="json"),
            "train": self.train.model_dump(mode="json"),
        }

    def text(self) -> str:
        """The recipe as YAML."""
        return yaml.safe_dump(self.values(), sort_keys=False)

    def create_stage(self) -> Stage:
        """The stage, its weights as drawn by torch's generator in its present state."""
        return find_stage(self.stage)(self.sections, self.train.seed)


def named_recipes() -> dict[str, Path]:
    """The recipes that ship with the package, by name (the folder ``configs/training``)."""
    folders = {path.parent / "training" for path in named_configs().values()}
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Load a named recipe or a YAML file.

    Args:
        name: A name of :func:`named_recipes` or the path of a YAML file.
        overrides: ``key.of.setting=value``, the value as YAML.

    Raises:
        UserError: No such recipe or stage, a key that does not exist (with the nearest one), or a bad value.
    """
    path, overrides = named_recipes().get(str(name)) or Path(name), tuple(overrides)
    return parse_recipe(read_settings(path, overrides), str(path), overrides)


def parse_recipe(values: dict[str, Any], source: str = "recipe", overrides: Sequence[str] = ()) -> Recipe:
    """Validate a recipe: ``stage`` is its name, ``train`` is for the loop, all other sections are the stage's own.

    ``source`` and ``overrides`` say in messages where values come from, see `setting_files.validated`.
    """
    sections = {key: value for key, value in values.items() if key not in ("stage", "train")}
    stage, train = values.get("stage"), values.get("train", {})
    if not isinstance(stage, str):
        raise UserError(f"{source}: stage: expected the name of a stage (found {stage!r})")
    if not isinstance(train, dict):
        raise UserError(f"{source}: train: expected a mapping of settings (found {train!r})")
    own = validated(find_stage(stage).Settings, sections, source, overrides=overrides)
    return Recipe(stage, own, validated(TrainSettings, train, source, "train.", overrides))


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Names of the settings in which two recipes differ, other than the `FREE` ones."""
    found: list[str] = []
    for key in [*old, *(key for key in new if key not in old)]:
        name, before, now = f"{prefix}{key}", old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            found += differences(before, now, f"{name}.")
        elif before != now and not (prefix == "train." and key in FREE):
            found.append(name)
    return found

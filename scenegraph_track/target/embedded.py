"""The target models that ship with the package, or those of other weights, ready to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from geometry.weights import load_weights, read_metadata
from scenegraph_track.errors import UserError
from scenegraph_track.target.follow import FollowSettings
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork

SHIPPED = Path(__file__).parents[1] / "weights" / "target.safetensors"
"""Weights of the target models that ship."""


def target_network(path: str | Path | None = None) -> TargetNetwork:
    """A trained network of target models, built as its weights file says, in evaluation mode.

    Args:
        path: Weights in place of those that ship.

    Raises:
        UserError: No weights ship, or the recipe in the file does not describe a `TargetNetwork`.
        GeometryError: The file is missing or is no weights file, or the weights do not fit.
    """
    file = _file(path)
    settings = _section(file, "target_net", TargetNetSettings)
    network = TargetNetwork(settings.model_copy(update={"pretrained": False}))  # the file holds all weights
    load_weights(network, file, "target")
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # faster on a CPU


def follow_settings(path: str | Path | None = None) -> FollowSettings:
    """How targets are followed with these weights, as their file says.

    Args:
        path: Weights in place of those that ship.

    Raises:
        UserError: No weights ship, or the recipe in the file has other settings.
        GeometryError: The file is missing or is no weights file.
    """
    return _section(_file(path), "following", FollowSettings)


def _file(path: str | Path | None) -> Path:
    if path is None and not SHIPPED.is_file():
        raise UserError("no trained target models ship with this version: train them (scenegraph-track train target)")
    return SHIPPED if path is None else Path(path)


def _section(file: Path, name: str, kind: type[BaseModel]) -> Any:
    recipe = read_metadata(file).get("recipe", {})
    values = recipe.get(name, {}) if isinstance(recipe, dict) else {}
    try:
        return kind.model_validate(values)
    except ValidationError:
        raise UserError(f"{file}: the section {name} of the recipe in it does not describe {kind.__name__}") from None

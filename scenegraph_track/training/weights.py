"""Weights as safetensors, written with the story of their training; read by `geometry.weights`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from geometry.errors import GeometryError
from geometry.weights import load_weights as load_strictly
from geometry.weights import read_metadata as read_strictly
from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_write, same_bytes

FORMAT = "scenegraph-track weights 1"


def save_weights(path: str | Path, weights: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write weights and what is known about them; the file is either whole or absent.

    Args:
        path: A ``.safetensors`` file.
        weights: By name; those that share memory are written once each.
        metadata: Strings stay as they are, other plain values are written as JSON.
    """
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    own = {name: value.detach().cpu().clone().contiguous() for name, value in weights.items()}
    with atomic_write(path, "wb") as file:
        file.write(same_bytes(save(own, {"format": FORMAT, **texts})))


def read_metadata(path: str | Path) -> dict[str, Any]:
    """As `geometry.weights.read_metadata`, with a UserError where it fails."""
    try:
        return read_strictly(path)
    except GeometryError as error:
        raise UserError(str(error)) from None


def load_weights(module: nn.Module, path: str | Path, part: str | None = None) -> dict[str, Any]:
    """As `geometry.weights.load_weights`, with a UserError where it fails."""
    try:
        return load_strictly(module, path, part)
    except GeometryError as error:
        raise UserError(str(error)) from None

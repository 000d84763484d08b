"""Weights of networks as safetensors, loaded strictly and never unpickled, and the ones that ship with the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from geometry.errors import GeometryError

FOLDER = Path(__file__).parent / "trained"


def embedded_weights(name: str) -> Path:
    """The file of weights of that name which ships with the package.

    Raises:
        GeometryError: There is none.
    """
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.safetensors"))) or "(none)"
        raise GeometryError(f"embedded weights: expected one of {known}, found {name!r}")
    return path


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What a weights file says about itself: recipe, seed, step, version, commit, held-out figures.

    Raises:
        GeometryError: The file is missing or no safetensors file.
    """
    with _opened(path) as file:
        texts = file.metadata() or {}
    return {key: _value(text) for key, text in texts.items()}


def recipe_section(path: str | Path, section: str) -> dict[str, Any]:
    """A section of the recipe in a weights file, as the arguments of a network; empty where it has none.

    Raises:
        GeometryError: The file is missing or no safetensors file.
    """
    recipe = read_metadata(path).get("recipe", {})
    values = recipe.get(section, {}) if isinstance(recipe, dict) else {}
    return values if isinstance(values, dict) else {}


def load_weights(module: nn.Module, path: str | Path, part: str | None = None) -> dict[str, Any]:
    """Load weights into a module where every name and shape fits, else load nothing.

    Args:
        module: What receives the weights.
        path: A ``.safetensors`` file.
        part: Only the weights of this module of the file (``"depth"`` takes ``depth.*``); None: all.

    Returns:
        The metadata of the file.

    Raises:
        GeometryError: The file is missing or no safetensors file, or names are missing, unexpected or of another shape.
    """
    prefix = "" if part is None else f"{part}."
    wanted = module.state_dict()
    with _opened(path) as file:
        found = {name.removeprefix(prefix): name for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
        shapes = {name: tuple(file.get_slice(full).get_shape()) for name, full in found.items()}
        missing = [name for name in wanted if name not in found]
        unexpected = [name for name in found if name not in wanted]
        reshaped = [
            f"{name} is {shapes[name]}, not {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in found and shapes[name] != tuple(value.shape)
        ]
        listed = (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        wrong = [f"{len(names)} {what} ({_some(names)})" for what, names in listed if names]
        if wrong:
            of = "" if part is None else f" of {part}"
            raise GeometryError(f"{path}: the weights{of} do not fit {type(module).__name__}: {'; '.join(wrong)}")
        module.load_state_dict({name: file.get_tensor(full) for name, full in found.items()})
        texts = file.metadata() or {}
    return {key: _value(text) for key, text in texts.items()}


def _opened(path: str | Path) -> Any:
    if not Path(path).is_file():
        raise GeometryError(f"{path}: no such file of weights")
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as wrong:
        raise GeometryError(f"{path}: expected a safetensors file ({' '.join(str(wrong).split())})") from None


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def _value(text: str) -> Any:
    if not (text.startswith(("{", "[")) or (text.isdecimal() and len(text) < 19)):
        return text  # a commit's name may look like a number
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text

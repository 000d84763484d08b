"""Files of weights that ship or take their place, and the settings of networks in them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from geometry.weights import recipe_section
from scenegraph_track.errors import UserError

Settings = TypeVar("Settings", bound=BaseModel)


def weights_file(path: str | Path | None, shipped: Path, what: str, stage: str) -> Path:
    """The file of weights that is meant.

    Args:
        path: Weights in place of those that ship.
        shipped: Those that ship.
        what: Is in them, as a person calls it.
        stage: That makes them.

    Raises:
        UserError: No weights ship.
    """
    if path is None and not shipped.is_file():
        raise UserError(f"no trained {what} ships with this version: train it (scenegraph-track train {stage})")
    return shipped if path is None else Path(path)


def recipe_settings(file: Path, section: str, kind: type[Settings], optional: bool = False) -> Settings:
    """A section of the recipe in a file of weights.

    Args:
        file: Of weights.
        section: Its name.
        kind: What it describes.
        optional: Without the section the defaults hold.

    Raises:
        UserError: The recipe has no such section, or it describes something else.
        GeometryError: The file is missing or is no weights file.
    """
    values = recipe_section(file, section)
    try:
        if values or optional:
            return kind.model_validate(values)
    except ValidationError:
        pass
    raise UserError(f"{file}: the section {section} of the recipe in it does not describe {kind.__name__}")

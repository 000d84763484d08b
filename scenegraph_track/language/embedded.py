"""The language network that ships with the package, or that of other weights, ready to use."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from geometry.weights import load_weights, read_metadata
from scenegraph_track.errors import UserError
from scenegraph_track.language.network import LanguageNetSettings, LanguageNetwork

SHIPPED = Path(__file__).parents[1] / "weights" / "language.safetensors"
"""Weights of the language network that ship."""


def language_network(path: str | Path | None = None) -> LanguageNetwork:
    """A trained language network, built as its weights file says, in evaluation mode.

    Args:
        path: Weights in place of those that ship.

    Raises:
        UserError: No weights ship, or the recipe in the file does not describe a `LanguageNetwork`.
        GeometryError: The file is missing or is no weights file, or the weights do not fit.
    """
    if path is None and not SHIPPED.is_file():
        raise UserError(
            "no trained language network ships with this version: train one (scenegraph-track train language)"
        )
    file = SHIPPED if path is None else Path(path)
    recipe = read_metadata(file).get("recipe", {})
    try:
        settings = LanguageNetSettings.model_validate(recipe["language_net"])
    except (ValidationError, KeyError, TypeError):
        raise UserError(f"{file}: the recipe in it describes no language network") from None
    network = LanguageNetwork(settings)
    load_weights(network, file, "language")
    return network.eval().requires_grad_(False)

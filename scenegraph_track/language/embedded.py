"""The language network that ships with the package, or that of other weights, ready to use."""

from __future__ import annotations

from pathlib import Path

from geometry.weights import load_weights
from scenegraph_track.language.network import LanguageNetSettings, LanguageNetwork
from scenegraph_track.trained import recipe_settings, weights_file

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
    file = weights_file(path, SHIPPED, "language network", "language")
    network = LanguageNetwork(recipe_settings(file, "language_net", LanguageNetSettings))
    load_weights(network, file, "language")
    return network.eval().requires_grad_(False)

"""The target models that ship with the package, or those of other weights, ready to use."""

from __future__ import annotations

from pathlib import Path

import torch

from geometry.weights import load_weights
from scenegraph_track.target.follow import FollowSettings
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.trained import recipe_settings, weights_file

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
    settings = recipe_settings(file, "target_net", TargetNetSettings)
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
    return recipe_settings(_file(path), "following", FollowSettings, optional=True)


def _file(path: str | Path | None) -> Path:
    return weights_file(path, SHIPPED, "target model", "target")

"""The detector that ships with the package, or one of other weights, ready to use."""

from __future__ import annotations

from pathlib import Path

import torch

from detectors.errors import DetectorError
from detectors.slot_detector import SlotDetector
from geometry.weights import load_weights, read_metadata

SHIPPED = Path(__file__).parent / "trained" / "detector.safetensors"
"""Weights of the detector that ships."""


def slot_detector(path: str | Path | None = None) -> SlotDetector:
    """A trained detector, built as its weights file says.

    Args:
        path: Weights in place of those that ship.

    Raises:
        GeometryError: The file is missing or is no weights file, or the weights do not fit.
        DetectorError: Its recipe does not describe a detector.
    """
    file = SHIPPED if path is None else path
    recipe = read_metadata(file).get("recipe", {})
    settings = recipe.get("detector_net", {}) if isinstance(recipe, dict) else {}
    try:
        net = SlotDetector(**settings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DetectorError(f"{file}: the recipe in it does not describe a SlotDetector ({error})") from None
    load_weights(net, file, "detector")
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # much faster on a CPU

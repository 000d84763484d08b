"""The detector that ships with the package, or one of other weights, ready to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from detectors.errors import DetectorError
from detectors.slot_detector import SlotDetector
from geometry.weights import load_weights, recipe_section

SHIPPED = Path(__file__).parent / "trained" / "detector.safetensors"
"""Weights of the detector that ships."""


def slot_detector(path: str | Path | None = None, backbone: str | Path | None = None) -> SlotDetector:
    """A trained detector, built as its weights file says.

    Args:
        path: Weights in place of those that ship.
        backbone: Where the pretrained network comes from that they were trained on: "hub", or a folder or file; None:
            from where it came in training, if there is one.

    Raises:
        GeometryError: The file is missing or is no weights file, or the weights do not fit.
        DetectorError: Its recipe does not describe a detector, or there is no such pretrained network.
    """
    file = SHIPPED if path is None else path
    settings = detector_recipe(file)
    if backbone is not None:
        if settings.get("backbone") is None:
            raise DetectorError(f"{file}: expected weights that were trained on a pretrained backbone, found others")
        settings = {**settings, "backbone_weights": str(backbone)}
    try:
        net = SlotDetector(**settings)
    except DetectorError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise DetectorError(f"{file}: the recipe in it does not describe a SlotDetector ({error})") from None
    load_weights(net, file, "detector")
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # much faster on a CPU


def detector_recipe(file: str | Path) -> dict[str, Any]:
    """Arguments of `SlotDetector` as a weights file says.

    Raises:
        GeometryError: The file is missing or is no weights file.
    """
    return recipe_section(file, "detector_net")

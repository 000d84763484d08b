"""Slots on a pretrained backbone, both tiny and with fresh weights, in the files that real ones come in."""

from __future__ import annotations

from pathlib import Path

import torch

from detectors.slot_detector import SlotDetector
from scenegraph_track.training.weights import save_weights

BACKBONES = {"dinov2": "vit_small_patch14_dinov2.lvd142m", "dinov3": "vit_small_patch16_dinov3.lvd1689m"}
"""Networks of timm by the configuration that uses them."""


def tiny_backbone(folder: Path, name: str) -> Path:
    """A network of that architecture with one narrow block, saved as timm saves it."""
    import timm

    torch.manual_seed(0)
    sizes = {"depth": 1, "embed_dim": 16, "num_heads": 2}
    network = timm.create_model(name.partition(".")[0], num_classes=0, **sizes)
    timm.models.save_for_hf(network, folder, model_args=sizes)
    return folder


def tiny_detector(path: Path, backbone: str, weights: Path) -> SlotDetector:
    """Slots on that backbone, written with the recipe that says so; they see objects in many places."""
    torch.manual_seed(3)
    options = {"channels": [8, 8, 8, 8], "dim": 8, "embedding": 2, "backbone": backbone}
    net = SlotDetector(**options, backbone_weights=str(weights)).eval()
    torch.nn.init.normal_(net.head.weight, 0, 0.3)
    values = {f"detector.{name}": value for name, value in net.state_dict().items()}
    save_weights(path, values, {"recipe": {"detector_net": {**options, "backbone_weights": str(weights)}}})
    return net

"""The target models of ToMP's kind as predictors that JEPA trains, and what their student is shown.

A network that sees the current features is corrupted there, as in GOT-JEPA: its history stays clean.  The network that
ships does not see them; its filters follow from remembered views alone, of which all but the first are found by the
tracker itself, so that occlusion reaches it by the newest one.  That is where it is corrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from scenegraph_track.pretraining.corruption import RELOCATE, CorruptionSettings, between, corrupted_images, relocated
from scenegraph_track.pretraining.jepa import Weights
from scenegraph_track.target.network import TargetNetwork
from scenegraph_track.target.predictor import Filters, MemoryTokens


class TargetWeights:
    """See `WeightPredictor`: the history are remembered views, the frame is the current features or None.

    Args:
        network: Whose filters are the weights.
    """

    def __init__(self, network: TargetNetwork) -> None:
        self.network = network

    def weights(self, history: MemoryTokens, frame: Tensor | None) -> Weights:
        """Filters (N, D) of N targets before the predictors."""
        return _named(self.network.predictor(history, frame))

    def predicted(self, raw: Weights) -> Weights:
        """The same behind the predictors, if the network keeps them."""
        refine = self.network.refine
        return raw if refine is None else _named(refine(Filters(raw["classification"], raw["box"])))


def _named(filters: Filters) -> Weights:
    return {"classification": filters.classification, "box": filters.box}


Backbone = Callable[[Tensor], Tensor]
"""Features (N, D, h, w) of images (N, 3, H, W) in [0, 1]."""


def corrupted_features(
    features: Tensor, images: Tensor, boxes: Tensor, kind: str, settings: CorruptionSettings, backbone: Backbone
) -> Tensor:
    """The features (N, D, h, w) of views after a corruption.

    Args:
        features: (N, D, h, w) of the clean views.
        images: (N, 3, S, S) in [0, 1], the clean views.
        boxes: (N, 4) where blocks lie, pixels of the views.
        kind: See `corruption.KINDS`.
        settings: Strengths are drawn from.
        backbone: Looks at images that were spoilt.
    """
    if kind == RELOCATE:
        return relocated(features, float(between(settings.relocated, 1)))
    return backbone(corrupted_images(images, boxes, kind, settings))


def newest_replaced(history: MemoryTokens, features: Tensor) -> MemoryTokens:
    """The memory with other features (N, D, h, w) in the newest view of each target."""
    newest = history.valid.sum(1) - 1
    rows = torch.arange(len(history), device=features.device)
    return replace(history, features=history.features.index_put((rows, newest), features))


def newest_views(history: Tensor, valid: Tensor) -> Tensor:
    """The newest of views (N, n, ...) of which the first ones are valid (N, n)."""
    return history[torch.arange(len(history), device=history.device), valid.sum(1) - 1]

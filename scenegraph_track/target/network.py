"""The network of target models: backbone, predictor and heads behind four methods, without any state of a sequence."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from detectors.backbones import Backbone, TimmBackbone
from scenegraph_track.target.backbone import ResidualBackbone
from scenegraph_track.target.heads import BoxTower, CellNorm, Response, classify
from scenegraph_track.target.labels import gaussian_maps, ltrb_maps
from scenegraph_track.target.predictor import FilterRefiner, Filters, MemoryTokens, TargetModelPredictor

_RARE = -2.2
"""Logit of a target's middle before training."""


class TargetNetSettings(BaseModel):
    """What a `TargetNetwork` is built of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field("embedded", description="the small one of ours, or a network of timm by name")
    pretrained: bool = Field(False, description="whether the weights of a timm network are fetched")
    backbone_layers: tuple[int, ...] | None = Field(None, description="of a timm network, see TimmBackbone")
    train_backbone: bool = Field(True, description="whether the weights of the backbone are trained")
    channels: tuple[int, ...] = Field((24, 40, 80), description="of the embedded backbone, at 1/2, 1/4 and 1/8")
    blocks: tuple[int, ...] = Field((0, 3), description="residual blocks of the embedded backbone, at 1/4 and 1/8")
    dim: int = Field(64, ge=4, description="of the features and of the filters")
    layers: int = Field(2, ge=0, description="of the predictor's encoder")
    decoder_layers: int = Field(2, ge=1, description="of the predictor's decoder")
    heads: int = Field(2, ge=1, description="of its attention")
    hidden: int = Field(192, ge=1, description="of its perceptrons")
    sees_current: bool = Field(False, description="predict filters for each frame, from the current features too")
    from_mean: bool = Field(True, description="filters are corrections of the mean of remembered features")
    refined: bool = Field(False, description="filters go through the predictors that JEPA has trained, w <- P(w)")
    tower: int = Field(64, ge=1, description="channels of the convolutions that find the box")
    tower_layers: int = Field(2, ge=0, description="of them, before the last")
    probabilities: bool = Field(False, description="scores are probabilities (focal loss), not unbounded (LBHinge)")
    view: int = Field(128, ge=16, description="side of a view; distances to the sides of a box are in units of it")
    sigma: float = Field(0.9, gt=0, description="of the Gaussian labels, cells")


class TargetNetwork(nn.Module):
    """Finds targets in features by filters that it predicts from their memories.

    Args:
        settings: See `TargetNetSettings`.
        backbone: In place of the one that the settings name: a module with ``dim``, ``stride`` and ``features``.

    Attributes:
        stride: Pixels of a cell.
        unit: Pixels of a distance of 1.
    """

    def __init__(self, settings: TargetNetSettings | None = None, backbone: Backbone | None = None) -> None:
        super().__init__()
        s = TargetNetSettings() if settings is None else settings
        self.settings = s
        self.backbone = _backbone(s) if backbone is None else backbone
        self.stride, self.unit = self.backbone.stride, float(s.view)
        self.neck = nn.Sequential(nn.Conv2d(self.backbone.dim, s.dim, 3, padding=1, bias=False), CellNorm(s.dim))
        self.predictor = TargetModelPredictor(
            s.dim, s.layers, s.decoder_layers, s.heads, s.hidden, sees_current=s.sees_current, from_mean=s.from_mean
        )
        self.refine = FilterRefiner(s.dim) if s.refined else None
        self.tower = BoxTower(s.dim, s.tower, s.tower_layers)
        self.bias = nn.Parameter(torch.full((), _RARE if s.probabilities else 0.0))

    def features(self, images: Tensor) -> Tensor:
        """Features (B, D, ceil(H / stride), ceil(W / stride)) of RGB images (B, 3, H, W) in [0, 1]."""
        return self.neck(self.backbone.features(images))

    def filters(self, memory: MemoryTokens, current: Tensor | None = None, boxes_from_given: bool = False) -> Filters:
        """The filters of N targets, see `TargetModelPredictor`.

        Args:
            memory: What is remembered of them.
            current: (N, D, h, w) or (D, h, w); only for a network that sees the current features.
            boxes_from_given: Whether the box filter is predicted from views with given boxes alone, as ToMP does, so
                that its own errors are not repeated; twice the work.
        """
        found = self.predictor(memory, current)
        if boxes_from_given:
            found = replace(found, box=self.predictor(memory, current, memory.given).box)
        return found if self.refine is None else self.refine(found)

    def train(self, mode: bool = True) -> Self:
        """As of any module; a backbone that is not trained stays in evaluation mode."""
        super().train(mode)
        if not self.settings.train_backbone:
            self.backbone.eval()
        return self

    def tokens(self, features: Tensor, boxes: Tensor, valid: Tensor) -> MemoryTokens:
        """Memories of N targets, n views of each with boxes that count as given.

        Args:
            features: (N, n, D, h, w).
            boxes: (N, n, 4) xyxy, pixels of the views.
            valid: (N, n) bool, False where a target has fewer views; the first is always there.
        """
        size = (features.shape[3], features.shape[4])
        labels = gaussian_maps(boxes, size, self.stride, self.settings.sigma)
        return MemoryTokens(features, labels, ltrb_maps(boxes, size, self.stride, self.unit), valid, valid)

    def scores(self, filters: Filters, features: Tensor) -> Tensor:
        """Score maps (N, h, w) of features (D, h, w), (1, D, h, w) or (N, D, h, w)."""
        score = classify(filters.classification, self._seen(filters, features)) + self.bias
        return score.sigmoid() if self.settings.probabilities else score

    def distances(self, filters: Filters, features: Tensor) -> Tensor:
        """Distances (N, 4, h, w) to the sides of the boxes from all cells, in units."""
        return self.tower(filters.box, self._seen(filters, features))

    def respond(self, filters: Filters, features: Tensor, prior: Tensor | None = None) -> Response:
        """Scores of all cells, and the box at the best cell of each target.

        Args:
            filters: Of N targets.
            features: (D, h, w) or (1, D, h, w) for all targets, or (N, D, h, w).
            prior: (h, w) or (N, h, w) not negative, multiplied to positive scores when the best cell is chosen.
        """
        score = self.scores(filters, features)
        wanted = score if prior is None else torch.where(score > 0, score * prior, score)
        cells = wanted.flatten(1).argmax(1)
        return Response(score, cells, self.tower.at(filters.box, self._seen(filters, features), cells))

    @staticmethod
    def _seen(filters: Filters, features: Tensor) -> Tensor:
        return features if filters.features is None else filters.features


def _backbone(settings: TargetNetSettings) -> Backbone:
    if settings.backbone == "embedded":
        return ResidualBackbone(settings.channels, settings.blocks).requires_grad_(settings.train_backbone)
    frozen = not settings.train_backbone
    return TimmBackbone(settings.backbone, settings.pretrained, layers=settings.backbone_layers, frozen=frozen)

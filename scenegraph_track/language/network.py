"""The language network: where in an image is what a sentence means, and which of some boxes is it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from scenegraph_track.language.box_refiner import BoxRefiner
from scenegraph_track.language.dense_matching import DenseMatching
from scenegraph_track.language.object_look import ObjectLook
from scenegraph_track.language.synchronous import (
    Fused,
    SynchronousBackbone,
    Words,
    no_template,
    token_maps,
    visual_tokens,
)
from scenegraph_track.language.text import SmallText
from scenegraph_track.language.trunk import Trunk, change_of
from scenegraph_track.language.vocabulary import ASPECTS
from scenegraph_track.target.small_vit import Block

SIDE = 4
"""Template tokens along each side."""

_WAVES = 4
"""Of each coordinate."""

_EVIDENCE = 4.0
"""Largest logarithm of a ratio of probabilities that one word gives."""

_UNLIKELY = -3.0
"""Logit of a cell before training."""


class LanguageNetSettings(BaseModel):
    """What a `LanguageNetwork` is built of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: tuple[int, ...] = Field((24, 40, 80), description="of the trunk at 1/2, 1/4 and 1/8; the last: C")
    blocks: tuple[int, ...] = Field((0, 3), description="residual blocks of the trunk at 1/4 and 1/8")
    stages: int = Field(3, ge=1, description="in which vision and text advance together")
    heads: int = Field(4, ge=1, description="of all attention")
    text: str = Field("small", description="the small encoder of ours, or a hub id or folder of transformers")
    text_dim: int = Field(96, ge=4, description="of the words of the small encoder")
    target_enhance: bool = Field(True, description="words and template come into the search tokens")
    semantic_aware: bool = Field(True, description="words are weighed by what is seen")
    tower: int = Field(48, ge=1, description="width of the perceptron that reads the response off a token")


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of B images before any sentence.

    Args:
        images: (B, 7, H, W), with what has changed (`trunk.change_of`).
        features: (B, C, h, w) of the trunk.
        aspects: (B, h w, A) logits of all answers of `ASPECTS`, one after the other.
        tokens: (B, h w, C).
    """

    images: Tensor
    features: Tensor
    aspects: Tensor
    tokens: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) cells."""
        return self.features.shape[2], self.features.shape[3]


@dataclass(frozen=True, eq=False)
class Boxes:
    """What is known of K boxes of B images before any sentence.

    Args:
        aspects: (B, K, A) logits of all answers of `ASPECTS`, one after the other.
        tokens: (B, K, C).
    """

    aspects: Tensor
    tokens: Tensor


@dataclass(frozen=True, eq=False)
class Response:
    """What R sentences find in a grid of cells.

    Args:
        grid: (h, w).
        cells: (N,) which of them, row by row; all of them but in training.
        of_boxes: (R, K) logits: above 0 where the sentence is true of what a box holds; of no boxes where none were
            asked for.
        match: (R, N) the same of what is in a cell.
        score: (R, N) probability that the middle of what is meant lies in the cell.
        boxes: (R, N, 4) xyxy of what has its middle there, in sides of the map.
        stages: Of the synchronous backbone.
    """

    grid: tuple[int, int]
    cells: Tensor
    of_boxes: Tensor
    match: Tensor
    score: Tensor
    boxes: Tensor
    stages: list[Fused]

    def map(self) -> Tensor:
        """(R, h, w) in [0, 1]: the middle of what is meant, where the sentence is true of what is there."""
        return (self.score * self.match.sigmoid()).unflatten(1, self.grid)


class LanguageNetwork(nn.Module):
    """Response maps and scores of boxes for sentences (SATracker-style; the inside of its modules is ours).

    The trunk tells of each token colour, pattern, shape, size and motion; that and its features go through the
    synchronous backbone together with the words, and a small head reads the response off the last stage.  Boxes to
    choose among are further tokens, which `ObjectLook` looks at by themselves.

    Args:
        settings: See `LanguageNetSettings`.
        text: The text encoder in place of the one that the settings name.
        visual: Visual groups in place of our own, one a stage.
    """

    def __init__(
        self,
        settings: LanguageNetSettings | None = None,
        text: nn.Module | None = None,
        visual: Sequence[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        s = LanguageNetSettings() if settings is None else settings
        self.settings = s
        self.trunk = Trunk(s.channels, s.blocks)
        dim = self.trunk.dim
        self.text = _text(s) if text is None else text
        self.aspects = _perceptron(dim, 2 * dim, sum(map(len, ASPECTS.values())))
        self.box_aspects = _perceptron(dim, 2 * dim, sum(map(len, ASPECTS.values())))
        self.sides = nn.Linear(3, dim)
        self.object_look = ObjectLook(dim)
        self.refiner = BoxRefiner()
        self.concerns = nn.Linear(self.text.dim, 1)
        self.weight = nn.Parameter(torch.ones(()))
        self.is_box = nn.Parameter(torch.zeros(dim))
        self.place = nn.Linear(4 * _WAVES, dim)
        self.told = nn.Linear(self.aspects[-1].out_features, dim)
        self.enter = nn.Linear(dim, dim)
        self.template_place = nn.Parameter(0.02 * torch.randn(SIDE**2, dim))
        groups = [Block(dim, s.heads, 2) for _ in range(s.stages)] if visual is None else visual
        self.backbone = SynchronousBackbone(groups, dim, self.text.dim, s.heads, s.target_enhance, s.semantic_aware)
        self.matching = DenseMatching(dim, self.text.dim, s.stages)
        self.norm = nn.LayerNorm(dim)
        self.sentence = nn.Linear(self.text.dim, dim)
        self.head = nn.Sequential(
            nn.Linear(2 * dim + 1, s.tower), nn.ReLU(), nn.Linear(s.tower, s.tower), nn.ReLU(), nn.Linear(s.tower, 6)
        )
        with torch.no_grad():
            self.concerns.bias.fill_(2.0)
            self.head[-1].weight.mul_(0.1)
            self.head[-1].bias.copy_(torch.tensor([0.0, _UNLIKELY, -1.5, -1.5, 0.0, 0.0]))

    @property
    def stride(self) -> int:
        """Pixels of a cell."""
        return self.trunk.stride

    def see(self, images: Tensor, before: Tensor | None = None, moves: Tensor | None = None) -> Seen:
        """What is known of images before any sentence.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            before: (B, 3, H, W), the images one frame earlier; None: nobody knows, so motion is not known either.
            moves: (B,) bool, which of them are known; None: all.
        """
        if before is None:
            before, moves = images, torch.zeros(len(images), dtype=torch.bool, device=images.device)
        elif moves is None:
            moves = torch.ones(len(images), dtype=torch.bool, device=images.device)
        change = change_of(images, before, moves)
        features = self.trunk(images, change)
        tokens = visual_tokens(features)
        aspects = self.aspects(tokens)
        return Seen(
            torch.cat([images, change], 1),
            features,
            aspects,
            self._entered(tokens, aspects) + self.place(_waves(cell_places(features))),
        )

    def hold(self, seen: Seen, boxes: Tensor) -> Boxes:
        """What is known of boxes to choose among.

        Args:
            seen: Of B images.
            boxes: (B, K, 4) xyxy pixels.
        """
        return self.hold_in(seen.images, boxes)

    def hold_in(self, images: Tensor, boxes: Tensor, warp: float = 0.0) -> Boxes:
        """The same, of images (B, 7, H, W) with what has changed (`trunk.change_of`); ``warp`` of `ObjectLook`."""
        limit = boxes.new_tensor([images.shape[3], images.shape[2]])
        sides = ((boxes[..., 2:] - boxes[..., :2]) / limit).clamp(min=1e-3).log() + 2
        pooled = self.object_look(images, boxes, warp) + self.sides(torch.cat([sides, boxes[..., 3:] / limit[1]], -1))
        aspects = self.box_aspects(pooled)
        middle = (boxes[..., :2] + boxes[..., 2:]) / (2 * limit)
        return Boxes(aspects, self._entered(pooled, aspects) + self.place(_waves(middle)) + self.is_box)

    def tighter(self, seen: Seen, boxes: Tensor, looks: int = 2) -> Tensor:
        """Boxes (K, 4) xyxy pixels of one image, drawn tight round the objects that they show roughly."""
        image = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
        for _ in range(looks if len(boxes) else 0):
            boxes = self.refiner(seen.images, boxes, image)
        return boxes

    def _entered(self, features: Tensor, aspects: Tensor) -> Tensor:
        return self.enter(features) + self.told(torch.cat([part.softmax(-1) for part in _parts(aspects)], -1))

    def _agreement(self, aspects: Tensor, words: Words, image: Tensor | None) -> Tensor:
        """(R, N) how much likelier than by chance all places show what the words name that concern the object.

        The sum over words of ``c_i log(n p_i)``, limited to [-`_EVIDENCE`, `_EVIDENCE`], where p_i is the probability
        of the answer that a word names among its n, and c_i in [0, 1] whether the word is about the object at all.
        """
        if not hasattr(self.text, "answers"):
            return aspects.new_zeros(())
        answer = self.text.answers(words)
        ratio = torch.cat([part.log_softmax(-1) + math.log(part.shape[-1]) for part in _parts(aspects)], -1)
        ratio = ratio.clamp(-_EVIDENCE, _EVIDENCE)
        ratio = ratio if image is None else ratio[image]
        chosen = ratio.gather(2, answer.clamp(min=0)[:, None].expand(-1, ratio.shape[1], -1))
        concerns = self.concerns(words.tokens)[..., 0].sigmoid() * (answer >= 0)
        return torch.einsum("rnw,rw->rn", chosen, concerns) * self.weight

    def respond(
        self,
        seen: Seen,
        words: Words,
        image: Tensor | None = None,
        template: Tensor | None = None,
        given: Tensor | None = None,
        boxes: Boxes | None = None,
        cells: Tensor | None = None,
    ) -> Response:
        """The response of R sentences.

        Args:
            seen: Of B images.
            words: Of ``text.start``.
            image: (R,) the image that each speaks of; None: each of its own.
            template: (R, M, C) of `template_tokens`; None: no boxes are given besides.
            given: (R,) bool, for which a box is given; None: for all.
            boxes: Of `hold`, boxes to choose among; None: no boxes.
            cells: (N,) numbers of the cells that are looked at; None: all. Training takes a part of them, drawn evenly.
        """
        height, width = seen.size
        cells = torch.arange(height * width, device=seen.tokens.device) if cells is None else cells
        if template is None:
            template = no_template(seen.tokens, len(words.tokens))
        search, aspects = seen.tokens[:, cells], seen.aspects[:, cells]
        if boxes is not None:
            search, aspects = torch.cat([boxes.tokens, search], 1), torch.cat([boxes.aspects, aspects], 1)
        stages = self.backbone(search, template, self.text, words, image, given)
        last, number = stages[-1], len(stages) - 1
        tokens = self.norm(last.search)
        agreeing = tokens * self.sentence(last.words.mean())[:, None]
        alike = self.matching.similarity(number, last)[..., None] * self.matching.temperature
        match, score, *place = self.head(torch.cat([tokens, agreeing, alike], -1)).unbind(-1)
        match = match + self._agreement(aspects, last.words, image)
        count = search.shape[1] - len(cells)
        of_boxes, match, score = match[:, :count], match[:, count:], score[:, count:].sigmoid().clamp(1e-4, 1 - 1e-4)
        w, h, x, y = (value[:, count:].sigmoid() for value in place)
        x, y = (cells % width + x) / width, (cells // width + y) / height
        found = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)
        return Response(seen.size, cells, of_boxes, match, score, found, stages)

    def template_tokens(self, seen: Seen, boxes: Tensor, image: Tensor | None = None) -> Tensor:
        """Tokens (R, M, C) of what boxes hold, `SIDE` along each side.

        Args:
            seen: Of the images with the boxes.
            boxes: (R, 4) xyxy pixels.
            image: (R,) the image of each box; None: each of its own.
        """
        maps = token_maps(seen.tokens, seen.size)
        maps = maps if image is None else maps[image]
        steps = (torch.arange(SIDE, device=boxes.device, dtype=boxes.dtype) + 0.5) / SIDE
        cells = boxes / self.stride
        x = cells[:, :1] + (cells[:, 2:3] - cells[:, :1]) * steps
        y = cells[:, 1:2] + (cells[:, 3:] - cells[:, 1:2]) * steps
        grid = torch.stack(
            [
                (2 * x / seen.size[1] - 1)[:, None].expand(-1, SIDE, -1),
                (2 * y / seen.size[0] - 1)[:, :, None].expand(-1, -1, SIDE),
            ],
            -1,
        )
        return visual_tokens(grid_sample(maps, grid, align_corners=False, padding_mode="border")) + self.template_place


def cell_places(features: Tensor) -> Tensor:
    """(h w, 2) x and y of the middles of the cells of (..., h, w), in sides of the map."""
    height, width = features.shape[-2:]
    y = (torch.arange(height, device=features.device, dtype=features.dtype) + 0.5) / height
    x = (torch.arange(width, device=features.device, dtype=features.dtype) + 0.5) / width
    return torch.stack([x[None].expand(height, -1), y[:, None].expand(-1, width)], -1).flatten(0, 1)


def _waves(places: Tensor) -> Tensor:
    """(..., 4 `_WAVES`) sines and cosines of places (..., 2), the same for images of any size."""
    angles = (places[..., None] * torch.pi * 2.0 ** torch.arange(_WAVES, device=places.device)).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], -1)


def _perceptron(dim: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, out))


def _parts(aspects: Tensor) -> tuple[Tensor, ...]:
    """Logits (..., A) of all answers apart by what is asked."""
    return aspects.split([len(answers) for answers in ASPECTS.values()], -1)


def _text(settings: LanguageNetSettings) -> nn.Module:
    if settings.text == "small":
        return SmallText(settings.text_dim, settings.stages, settings.heads)
    from scenegraph_track.language.hub_text import HubText

    return HubText(settings.text, settings.stages)

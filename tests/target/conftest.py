"""A stand-in for networks of target models, and images to follow targets in."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import avg_pool2d

from scenegraph_track.target.heads import Response
from scenegraph_track.target.predictor import Filters, MemoryTokens


class Colours:
    """A target is the mean colour of its middle in the memory, its size that of its box."""

    stride, unit = 4, 64.0
    settings = SimpleNamespace(view=64, sigma=0.9, sees_current=False)

    def __init__(self) -> None:
        self.predicted, self.looked_at = 0, []
        self.tower = SimpleNamespace(at=lambda filters, features, cells: filters)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        self.looked_at.append(tuple(images.shape))
        return avg_pool2d(images, 4)

    def filters(self, memory: MemoryTokens, current: torch.Tensor | None = None) -> Filters:
        self.predicted += len(memory)
        weight = memory.labels[:, :1].pow(4)
        weight = weight / weight.sum((-1, -2), keepdim=True)
        colour = (memory.features[:, 0] * weight).sum((-1, -2))
        return Filters(colour, (memory.ltrb[:, 0] * weight).sum((-1, -2)))

    def scores(self, filters: Filters, features: torch.Tensor) -> torch.Tensor:
        away = (features - filters.classification[:, :, None, None]).square().sum(1)
        return avg_pool2d((-8 * away).exp(), 3, 1, 1)

    def respond(self, filters: Filters, features: torch.Tensor, prior: torch.Tensor | None) -> Response:
        score = self.scores(filters, features)
        return Response(score, (score if prior is None else score * prior).flatten(1).argmax(1), filters.box)


@pytest.fixture
def colours() -> Colours:
    """A network that counts what is asked of it."""
    return Colours()


@pytest.fixture
def scene() -> Callable[..., torch.Tensor]:
    """Images (1, 3, 96, 128): a red square of 12 pixels at x (and y), and a blue one that stands still, on grey."""

    def made(x: float, red: bool = True, y: int = 40) -> torch.Tensor:
        image = torch.full((1, 3, 96, 128), 0.5)
        if red:
            image[0, :, y : y + 12, round(x) : round(x) + 12] = torch.tensor([1.0, 0, 0])[:, None, None]
        image[0, :, 60:76, 90:106] = torch.tensor([0.0, 0, 1])[:, None, None]
        return image

    return made

"""The smallest stage there is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from scenegraph_track.training.batches import ordered_batches
from scenegraph_track.training.stage import Stage

KILL_AT, INTERRUPT_AT, TERMINATE_AT = "TINY_STAGE_KILL_AT", "TINY_STAGE_INTERRUPT_AT", "TINY_STAGE_TERMINATE_AT"
"""Environment variables with the number of a batch."""


class TinyData(BaseModel):
    model_config = ConfigDict(extra="forbid")
    batch_size: int = 8
    noise: float = 0.1
    workers: int = 0


class TinySettings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    data: TinyData = TinyData()
    dropout: float = 0.0
    nan_at: int | None = None
    explode_at: int | None = None
    batches: int | None = None
    collapse_below: float | None = None


class TinyBatches(IterableDataset):
    """For one worker."""

    def __init__(self, stage: TinyStage, *place: int) -> None:
        self.stage, self.place = stage, place

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, int]]:
        return self.stage.drawn(*self.place)


class TinyStage(Stage):
    """Linear regression behind a linear embedding; the batch of all ranks is dealt out in turn."""

    Settings: ClassVar = TinySettings

    def __init__(self, settings: TinySettings, seed: int) -> None:
        super().__init__(settings, seed)
        self.embed, self.head = nn.Linear(4, 6), nn.Linear(6, 1)
        self.dropout = nn.Dropout(settings.dropout)

    def modules(self) -> dict[str, nn.Module]:
        return {"embed": self.embed, "head": self.head}

    def learning_rate_factors(self) -> dict[str, float]:
        return {"head": 0.5}

    def draw(self, *key: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(key)
        x = rng.normal(size=(self.settings.data.batch_size, 4))
        y = x @ [1.0, -2.0, 0.5, 0.0] + rng.normal(scale=self.settings.data.noise, size=len(x))
        return torch.from_numpy(x).float(), torch.from_numpy(y).float()

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        if self.settings.data.workers:
            return ordered_batches(TinyBatches(self, rank, world_size, start), self.settings.data.workers, 2)
        return self.drawn(rank, world_size, start)

    def drawn(self, rank: int, world_size: int, start: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        k = start
        while self.settings.batches is None or k < self.settings.batches:
            x, y = self.draw(self.seed, 0, k)
            yield x[rank::world_size], y[rank::world_size], k
            k += 1

    def loss(self, batch: tuple[Tensor, Tensor, int], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        x, y, k = batch
        if k == int(os.environ.get(KILL_AT, -1)):
            os.kill(os.getpid(), signal.SIGKILL)
        if k == int(os.environ.get(INTERRUPT_AT, -1)):
            os.kill(os.getpid(), signal.SIGINT)
        if k == int(os.environ.get(TERMINATE_AT, -1)):
            os.killpg(os.getpid(), signal.SIGTERM)  # refused but in a group of one's own
            time.sleep(0.3)  # torch tells of a worker that died
        assert x.dtype == torch.float32  # also under mixed precision
        error = self.head(self.dropout(self.embed(x)))[:, 0] - y
        loss = (error**2).mean()
        if step == self.settings.nan_at:
            loss = loss * float("nan")
        if step == self.settings.explode_at:  # a finite loss whose gradient is infinite
            loss = loss + torch.sqrt(loss * 0)
        return loss, {"error": error.abs().mean()}

    def validate(self) -> dict[str, float]:
        x, y = self.draw(self.seed, 1)
        found = self.head(self.dropout(self.embed(x.to(self.device))))[:, 0]
        return {"error": (found - y.to(self.device)).abs().mean().item()}

    def collapse(self, metrics: dict[str, float]) -> str | None:
        limit = self.settings.collapse_below
        return "the error is too small to be true" if limit and metrics.get("error", limit) < limit else None

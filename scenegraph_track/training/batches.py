"""Endless batches from a function of the batch's number, in worker processes or not, always in order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from scenegraph_track.training.interrupts import leave_signals_to_parent

Item = dict[str, torch.Tensor]

_BEGIN = "fork" if sys.platform == "linux" else None
"""How data workers begin: the server of forks, which newer Pythons take, does not outlive the signals that they do."""


def ordered_batches(dataset: IterableDataset, workers: int, prefetch: int) -> Iterator[Any]:
    """The batches of a dataset, in order; processes that prepare them outlive the signals that this one gets too.

    Args:
        dataset: Gives whole batches; in worker k of n every n-th from number k on.
        workers: Processes that prepare batches; 0: this one.
        prefetch: Batches that each of them prepares ahead.
    """
    return iter(
        DataLoader(
            dataset,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=prefetch if workers else None,
            in_order=True,
            multiprocessing_context=_BEGIN if workers else None,
            worker_init_fn=leave_signals_to_parent,
        )
    )


class _Numbered(IterableDataset):
    def __init__(self, make: Callable[[np.random.Generator], Item], seed: int, numbers: range, start: int) -> None:
        super().__init__()
        self.make, self.seed, self.numbers, self.start = make, seed, numbers, start

    def __iter__(self) -> Iterator[Item]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        if info is not None:
            cv2.setNumThreads(0)  # 1 would wait for the threads of the parent, which a fork has not copied
        batch = self.start + first
        while True:
            items = [self.make(np.random.default_rng((self.seed, batch, number))) for number in self.numbers]
            yield {name: torch.cat([item[name] for item in items]) for name in items[0]}
            batch += step


def endless_batches(
    make: Callable[[np.random.Generator], Item],
    seed: int,
    items: int,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    start: int = 0,
) -> Iterator[Any]:
    """Batches of items, each item drawn by a generator that follows from (seed, batch, number of the item).

    Args:
        make: Gives tensors by name, with the samples of the item along the first axis.
        seed: Of the run.
        items: In a batch over all ranks; this rank makes every ``world_size``-th.
        workers: Processes that prepare batches; 0: this one.
        rank: This process.
        world_size: Number of processes that train.
        start: Number of the first batch.
    """
    dataset = _Numbered(make, seed, range(rank, items, world_size), start)
    return ordered_batches(dataset, workers, prefetch=4)

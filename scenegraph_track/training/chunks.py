"""Items that are costly to make, made once and kept in a folder, a few in a file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import cv2
import numpy as np
import torch

from scenegraph_track.files import atomic_write

CHUNK = 32
"""Items in a file."""

_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Stored(Protocol):
    """Settings of items that are kept: ``folder``, number of ``scenes`` (items) and ``workers`` (processes)."""

    folder: str
    scenes: int
    workers: int

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """All settings by name."""
        ...


Settings = TypeVar("Settings", bound=Stored)
Make = Callable[[int, Settings], dict[str, np.ndarray]]


def chunk_path(settings: Stored, number: int, name: str) -> Path:
    """Named for what the items depend on, so that those of other settings are not taken for them."""
    told = settings.model_dump(mode="json", exclude={"folder", "workers", "scenes"})
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    count = min(CHUNK, settings.scenes - number * CHUNK)
    part = "" if count == CHUNK else f"-{count}"
    return Path(settings.folder) / f"{name}-{digest}-{number:05d}{part}.npz"


def _make_chunk(number: int, settings: Settings, make: Make[Settings], name: str) -> None:
    path = chunk_path(settings, number, name)
    if path.exists():
        return
    numbers = range(number * CHUNK, min((number + 1) * CHUNK, settings.scenes))
    items = [make(index, settings) for index in numbers]
    with atomic_write(path, "wb") as file:
        np.savez(file, **{key: np.stack([item[key] for item in items]) for key in items[0]})


def one_thread() -> None:
    """Let this process compute in one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes of one thread each."""
    before = {variable: os.environ.get(variable) for variable in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # read when a new process loads its numerical libraries
    try:
        with ProcessPoolExecutor(workers, get_context("spawn"), one_thread) as pool:
            yield pool
    finally:
        for variable, value in before.items():
            os.environ.pop(variable, None) if value is None else os.environ.update({variable: value})


def make_chunks(settings: Settings, make: Make[Settings], name: str, share: range | None = None) -> None:
    """Make the files that are not there yet, in several processes.

    Args:
        settings: What to make.
        make: Makes the item of a number; arrays of the same shape for all numbers.
        name: Of the files.
        share: Numbers of the files to make; None: all.
    """
    chunks = range(-(-settings.scenes // CHUNK)) if share is None else share
    wanted = [number for number in chunks if not chunk_path(settings, number, name).exists()]
    if not wanted:
        return
    Path(settings.folder).mkdir(parents=True, exist_ok=True)
    with worker_pool(settings.workers) as pool:
        for _ in pool.map(partial(_make_chunk, settings=settings, make=make, name=name), wanted):
            pass


class Chunks(Generic[Settings]):
    """All items in memory, by name, one row each.

    Args:
        settings: What was made; files that are missing are made first.
        make: See `make_chunks`.
        name: Of the files.
        few: Make two items in memory and no file, to try a stage.
        rank: This process of several that train together: it begins with its own share of the missing files, then
            makes what no other has made.  None waits for another.
        world_size: Number of these processes.
    """

    def __init__(
        self,
        settings: Settings,
        make: Make[Settings],
        name: str,
        few: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if few:
            items = [make(index, settings) for index in range(2)]
            parts = [{key: value[None] for key, value in item.items()} for item in items]
        else:
            files = range(-(-settings.scenes // CHUNK))
            if world_size > 1:
                make_chunks(settings, make, name, files[rank::world_size])
            make_chunks(settings, make, name)
            parts = [dict(np.load(chunk_path(settings, number, name))) for number in files]
        self.arrays: dict[str, np.ndarray] = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def rows(self, chosen: Any) -> Iterator[dict[str, np.ndarray]]:
        """Some of the items."""
        for index in chosen:
            yield {key: values[index] for key, values in self.arrays.items()}

"""Endless batches: the same in the same order, whoever prepares them."""

from __future__ import annotations

import os
import signal
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from scenegraph_track.training import batches
from scenegraph_track.training.batches import Item, endless_batches


def draw(rng: np.random.Generator) -> Item:
    return {"x": torch.from_numpy(rng.random((2, 3)))}


def first(count: int, **options: int) -> list[torch.Tensor]:
    """Batches of four items of two samples each."""
    return [batch["x"] for batch in islice(endless_batches(draw, 7, 4, **{"workers": 0, **options}), count)]


def test_items_follow_from_seed_batch_and_number() -> None:
    for k, batch in enumerate(first(3)):
        items = [draw(np.random.default_rng((7, k, number)))["x"] for number in range(4)]
        assert torch.equal(batch, torch.cat(items))


@pytest.mark.parametrize("workers", [1, 2])
def test_order_does_not_depend_on_workers(workers: int) -> None:
    assert all(torch.equal(a, b) for a, b in zip(first(7), first(7, workers=workers), strict=True))


def test_a_later_start_goes_on() -> None:
    assert all(torch.equal(a, b) for a, b in zip(first(5)[2:], first(3, start=2), strict=True))


def test_ranks_share_a_batch() -> None:
    whole, parts = first(2), [first(2, rank=rank, world_size=2) for rank in (0, 1)]
    for k in (0, 1):
        items = whole[k].view(4, 2, 3)
        assert torch.equal(parts[0][k].view(2, 2, 3), items[::2])
        assert torch.equal(parts[1][k].view(2, 2, 3), items[1::2])


def test_a_worker_outlives_signals_and_ends_with_its_reader() -> None:
    def own_number(rng: np.random.Generator) -> Item:
        return {"pid": torch.tensor([os.getpid()])}

    reader = endless_batches(own_number, 7, 1, workers=1)
    worker = int(next(reader)["pid"])
    assert worker != os.getpid()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker, number)
    assert {int(batch["pid"]) for batch in islice(reader, 12)} == {worker}
    del reader
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_all_stages_have_their_batches_from_here() -> None:
    modules = Path(batches.__file__).parent.glob("*.py")
    assert [path.name for path in modules if "DataLoader(" in path.read_text()] == ["batches.py"]

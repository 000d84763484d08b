"""One function over many items, in this process or in several; the results are the same."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from scenegraph_track.cli.crew import Crew, Died, Tick, execute
from scenegraph_track.errors import UserError

Item, Result = TypeVar("Item"), TypeVar("Result")


def spread(function: Callable[[Item], Result], items: Sequence[Item], workers: int | Crew) -> Iterator[Result]:
    """Results of a function for each item, in their order, each on one thread.

    Args:
        function: It and what it gives can be sent to another process.
        items: What it is called with.
        workers: Processes, 1 stays in this one; or who else works.

    Raises:
        UserError: The process that worked on an item died every time.
    """
    crew = workers if isinstance(workers, Crew) else Crew(workers)
    found: dict[int, Result] = {}
    following = 0
    for told in execute(_Without(function), items, crew):
        if isinstance(told, Died):
            if told.given_up:
                raise UserError(f"the process that worked on a sequence died {told.deaths} times (out of memory?)")
            continue
        found[told.index] = told.result
        while following in found:
            yield found.pop(following)
            following += 1


@dataclass(frozen=True)
class _Without(Generic[Item, Result]):
    """A function that tells nothing of its progress."""

    function: Callable[[Item], Result]

    def __call__(self, item: Item, tick: Tick) -> Any:
        return self.function(item)


def use_one_thread() -> None:
    """Sums by several threads may differ in their last digit with the number of threads."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def end_with_parent() -> None:
    """Wait for the parent in a thread, and end this process when it ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""One function over many items, in this process or in several; the results are the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from scenegraph_track.errors import UserError

Item, Result = TypeVar("Item"), TypeVar("Result")


def spread(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Results of a function for each item, in their order, each on one thread.

    Args:
        function: It and what it gives can be sent to another process.
        items: What it is called with.
        workers: Processes; 1 stays in this one.

    Raises:
        UserError: A process died.
    """
    workers = min(workers, len(items))
    if workers < 2:
        use_one_thread()
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
    try:
        yield from pool.map(function, items)
    except BrokenProcessPool:
        raise UserError("a process that worked on a sequence died (out of memory?)") from None
    finally:
        pool.shutdown(cancel_futures=True)


def use_one_thread() -> None:
    """Sums by several threads may differ in their last digit with the number of threads."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _start_worker() -> None:
    """Prepare a process: it leaves Ctrl-C to its parent and ends when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    use_one_thread()


def end_with_parent() -> None:
    """Wait for the parent in a thread, and end this process when it ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

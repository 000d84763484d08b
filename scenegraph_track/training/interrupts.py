"""Ctrl-C and SIGTERM as a wish to stop after the step in progress."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class TrainingInterrupted(KeyboardInterrupt):
    """The run was asked to stop, has written a checkpoint, and says so in one sentence."""


class StopWish:
    """Whether somebody asked the run to stop."""

    wished: bool = False


@contextmanager
def stop_signals() -> Iterator[StopWish]:
    """Turn the first SIGINT or SIGTERM into a wish while the block runs; the second one acts as it always does.

    Outside of the main thread, where Python has no signal handlers, nothing changes.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        wish.wished = True
        signal.signal(number, before[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handle) or signal.SIG_DFL
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_signals_to_parent(worker: int) -> None:
    """Let a data worker ignore SIGINT and SIGTERM (``worker_init_fn`` of a `DataLoader`).

    Terminals and schedulers send them to every process of a run: the one that trains ends its step with the batches of
    its workers, writes a checkpoint, and tells them itself that they are done.

    Args:
        worker: Its number.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

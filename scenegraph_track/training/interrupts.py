"""Ctrl-C and SIGTERM as a wish to stop after the step in progress."""

from __future__ import annotations

import os
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

    Outside of the main thread, where Python has no signal handlers, nothing changes.  Forked workers of a data loader
    inherit the handlers: a Ctrl-C, which the terminal sends to them too, leaves them alone, and SIGTERM ends them.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before: dict[int, Any] = {}
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        wish.wished = True
        signal.signal(number, before[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handle) or signal.SIG_DFL
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

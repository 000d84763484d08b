"""Items of work spread over processes of this machine; one that dies costs nothing but what it was at."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from scenegraph_track.cli.crew import Died, Ended, Tick
from scenegraph_track.cli.progress import DRAW_SECONDS
from scenegraph_track.cli.spread import end_with_parent, use_one_thread


def execute_in_processes(
    function: Callable[[Any, Tick], Any],
    items: Sequence[Any],
    number: int,
    tick: Tick,
    warn: Callable[[str], None],
) -> Iterator[Ended | Died]:
    """See `crew.execute`; a dead process is replaced by a new one."""
    context = multiprocessing.get_context("spawn")
    todo, deaths = deque(range(len(items))), Counter[int]()
    at: dict[Connection, tuple[BaseProcess, int]] = {}

    def give(link: Connection, process: BaseProcess) -> None:
        at[link] = process, todo.popleft()
        with contextlib.suppress(OSError):  # it died just now, which is seen when its answer is read
            link.send(items[at[link][1]])

    try:
        while todo or at:
            while todo and len(at) < number:
                link, end = context.Pipe()
                process = context.Process(target=_serve, args=(function, end))
                process.start()
                end.close()
                give(link, process)
            for link in wait(list(at)):
                process, index = at[link]
                try:
                    kind, value = link.recv()
                except (EOFError, OSError):
                    del at[link]
                    _end(link, process)
                    deaths[index] += 1
                    died = Died(index, deaths[index])
                    if not died.given_up:
                        todo.append(index)
                    yield died
                    continue
                if kind == "frames":
                    tick(value)
                elif kind == "warning":
                    warn(value)
                elif kind == "error":
                    raise value
                else:
                    del at[link]
                    if todo:
                        give(link, process)
                    else:
                        _end(link, process)
                    yield Ended(index, value)
    finally:
        for link in at:
            link.close()
        for link, (process, _) in at.items():
            _end(link, process)


def _end(link: Connection, process: BaseProcess) -> None:
    """A process ends when nobody is at the other end of its line."""
    link.close()
    process.join()


class _Stopped(BaseException):
    """The parent has given up; like an interrupt, so that nothing unfinished is left."""


class _Forward(logging.Handler):
    """Sends warnings to the parent."""

    def __init__(self, link: Connection) -> None:
        super().__init__(logging.WARNING)
        self.link = link

    def emit(self, record: logging.LogRecord) -> None:
        """Send one."""
        self.link.send(("warning", record.getMessage()))


def _serve(function: Callable[[Any, Tick], Any], link: Connection) -> None:
    """Work on what comes until nothing does; Ctrl-C is left to the parent, and the end of it is one's own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("scenegraph_track").handlers[:] = [_Forward(link)]
    threading.Thread(target=end_with_parent, daemon=True).start()
    use_one_thread()
    frames, told = 0, time.monotonic()

    def tick(more: int) -> None:
        nonlocal frames, told
        frames += more
        if time.monotonic() - told > DRAW_SECONDS:
            if link.poll():  # while one works nothing comes but the end of the line
                raise _Stopped
            link.send(("frames", frames))
            frames, told = 0, time.monotonic()

    try:
        while True:
            item = link.recv()
            try:
                result = function(item, tick)
            except Exception as error:
                error.add_note(traceback.format_exc())
                link.send(("error", error))
                return
            link.send(("frames", frames))
            frames = 0
            link.send(("ended", result))
    except (EOFError, OSError, _Stopped):
        return

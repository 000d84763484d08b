"""Items of work spread over a Ray cluster: this machine's own, or one of many machines with the same files."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from scenegraph_track.cli.crew import Crew, Died, Ended, Tick
from scenegraph_track.cli.spread import use_one_thread
from scenegraph_track.errors import UserError

_STORE_BYTES = 100_000_000  # settings and reports are all that passes through a cluster of this machine
_PATIENCE = 10  # seconds for what is unfinished to put itself in order


def execute_on_ray(
    function: Callable[[Any, Tick], Any],
    items: Sequence[Any],
    crew: Crew,
    tick: Tick,
    warn: Callable[[str], None],
) -> Iterator[Ended | Died]:
    """See `crew.execute`; each item is a task of one CPU, and all machines find the same files at the same paths.

    Progress is told when an item ends.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # as fast as processes of this machine
    try:
        import ray
    except ImportError:
        raise UserError('--workers ray: Ray is not installed: pip install "scenegraph-track[ray]"') from None

    started = _connect(ray, crew)
    work = ray.remote(num_cpus=1, max_retries=0)(_work)
    sent, folder = ray.put(pickle.dumps(function)), str(Path.cwd())
    todo, deaths, running = deque(range(len(items))), Counter[int](), {}
    try:
        while todo or running:
            while todo and len(running) < crew.number:
                index = todo.popleft()
                running[work.remote(sent, items[index], folder)] = index
            (ready,), _ = ray.wait(list(running))
            index = running.pop(ready)
            try:
                frames, warnings, result, error = ray.get(ready)
            except ray.exceptions.RayTaskError as wrong:
                raise UserError(f"--workers ray: {str(wrong).strip().splitlines()[-1]}") from wrong
            except ray.exceptions.RayError:
                deaths[index] += 1
                died = Died(index, deaths[index])
                if not died.given_up:
                    todo.append(index)
                yield died
                continue
            for text in warnings:
                warn(text)
            tick(frames)
            if error is not None:
                raise error
            yield Ended(index, result)
    finally:
        for task in running:
            ray.cancel(task)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=_PATIENCE)
        if started:
            ray.shutdown()


def _connect(ray: Any, crew: Crew) -> bool:
    """Reach the cluster or start one; whether it has to be left afterwards."""
    if ray.is_initialized():
        return False
    address = crew.cluster or os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address and address != "local":
            ray.init(address=address, **quiet)
        else:
            ray.init("local", num_cpus=crew.number, include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet)
    except Exception as wrong:  # Ray raises plain ones, as where its processes take long to start
        ray.shutdown()
        raise UserError(f"--workers {crew}: cannot reach Ray ({' '.join(str(wrong).split())})") from None
    return True


class _Kept(logging.Handler):
    """Keeps warnings for the caller."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.texts.append(record.getMessage())


@lru_cache(maxsize=1)
def _loaded(sent: bytes) -> Callable[[Any, Tick], Any]:
    """The function, once a process, with what it keeps (networks)."""
    return pickle.loads(sent)


def _work(sent: bytes, item: Any, folder: str) -> tuple[int, list[str], Any, Exception | None]:
    """One task: frames, warnings, and what the function gave or raised."""
    use_one_thread()
    kept, frames, result, error = _Kept(), 0, None, None
    logging.getLogger("scenegraph_track").handlers[:] = [kept]

    def tick(more: int) -> None:
        nonlocal frames
        frames += more

    try:
        with contextlib.chdir(folder):
            result = _loaded(sent)(item, tick)
    except Exception as wrong:
        error = wrong
    return frames, kept.texts, result, error

"""Many sequences, one after the other or in several processes; the results are the same bytes either way."""

from __future__ import annotations

import logging
import multiprocessing
import queue
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geometry.errors import GeometryError
from scenegraph_track.cli.console import sentence
from scenegraph_track.cli.progress import DRAW_SECONDS, Bar, progress_bar
from scenegraph_track.cli.spread import end_with_parent, use_one_thread
from scenegraph_track.config import Config
from scenegraph_track.data.sequences import Sequence
from scenegraph_track.errors import UserError
from scenegraph_track.tracking.outputs import Outputs
from scenegraph_track.tracking.run import RunOptions, RunReport, Tick, recipe, run_sequence

Outcome = RunReport | str
"""The report of a run, or the sentence that says why it failed."""


@dataclass(frozen=True)
class Batch:
    """What all sequences of one call share.

    Args:
        config: Settings.
        folder: Where the results go.
        options: What is wanted.
        workers: Number of processes; 1 stays in this one.
        quiet: Show no progress.
    """

    config: Config
    folder: Path
    options: RunOptions
    workers: int = 1
    quiet: bool = False

    def finished(self, sequence: Sequence, overwrite: bool = False) -> bool:
        """Whether there is nothing left to do; see :meth:`Outputs.finished` for what it refuses."""
        outputs = Outputs(self.folder, sequence.name)
        return outputs.finished(recipe(sequence, self.config, self.options), self.options.suffixes, overwrite)

    def run(self, sequences: list[Sequence]) -> Iterator[tuple[Sequence, Outcome]]:
        """Run the sequences and yield what became of each, as they end."""
        passes = 2 if self.options.horizon and self.options.save_video else 1
        lengths = [sequence.length for sequence in sequences]
        frames = None if None in lengths else passes * sum(length or 0 for length in lengths)
        workers = min(self.workers, len(sequences))
        with progress_bar(frames, len(sequences), self.quiet) as bar:
            for ended in self._here(sequences, bar) if workers < 2 else self._spread(sequences, workers, bar):
                bar.ended()
                yield ended

    def one(self, sequence: Sequence, tick: Tick) -> Outcome:
        """Run one sequence in this process."""
        try:
            return run_sequence(sequence, self.config, self.folder, self.options, tick)
        except (UserError, GeometryError, OSError) as error:
            return sentence(error)

    def _here(self, sequences: list[Sequence], bar: Bar) -> Iterator[tuple[Sequence, Outcome]]:
        use_one_thread()
        for sequence in sequences:
            yield sequence, self.one(sequence, bar.advance)

    def _spread(self, sequences: list[Sequence], workers: int, bar: Bar) -> Iterator[tuple[Sequence, Outcome]]:
        context = multiprocessing.get_context("spawn")
        news, stop = context.Queue(), context.Event()
        with ProcessPoolExecutor(workers, context, _start_worker, (news, stop)) as pool:
            jobs: dict[Future[Outcome], Sequence] = {pool.submit(_work, self, s): s for s in sequences}
            waiting = set(jobs)
            try:
                while waiting:
                    done, waiting = wait(waiting, timeout=DRAW_SECONDS, return_when=FIRST_COMPLETED)
                    _pass_on(news, bar)
                    for job in done:
                        try:
                            yield jobs[job], job.result()
                        except BrokenProcessPool:
                            yield jobs[job], f"{jobs[job].path}: the process that worked on it died (out of memory?)"
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)


def _pass_on(news: multiprocessing.Queue[Any], bar: Bar) -> None:
    """Show the frames and warnings that the workers have told since the last time."""
    while True:
        try:
            item = news.get_nowait()
        except queue.Empty:
            return
        if isinstance(item, int):
            bar.advance(item)
        else:
            logging.getLogger(__name__).warning("%s", item)


class _Stopped(BaseException):
    """The parent has given up; like an interrupt, so that nothing unfinished is left."""


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Send a warning to the parent."""
        _news.put(record.getMessage())


_news: multiprocessing.Queue[Any]  # of a worker, to its parent: numbers of frames, and warnings
_stop: threading.Event  # set by the parent


def _start_worker(news: multiprocessing.Queue[Any], stop: threading.Event) -> None:
    """Prepare a process: it leaves Ctrl-C to its parent, tells it its news, and ends when it ends."""
    global _news, _stop
    _news, _stop = news, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("scenegraph_track").handlers[:] = [_Forward(logging.WARNING)]
    threading.Thread(target=end_with_parent, daemon=True).start()
    use_one_thread()


def _work(batch: Batch, sequence: Sequence) -> Outcome:
    frames, told = 0, time.monotonic()

    def tick(more: int) -> None:
        nonlocal frames, told
        frames += more
        if time.monotonic() - told > DRAW_SECONDS:
            if _stop.is_set():
                raise _Stopped
            _news.put(frames)
            frames, told = 0, time.monotonic()

    outcome = batch.one(sequence, tick)
    _news.put(frames)
    return outcome

"""The progress bar over all sequences of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from scenegraph_track.cli.console import err

DRAW_SECONDS = 0.1
"""Least time between two drawings."""


@dataclass
class Bar:
    """Frames and sequences that are done; quick to tell, seldom drawn.

    Args:
        progress: What draws it.
        task: Its line there.
        sequences: Number of sequences.
    """

    progress: Progress
    task: TaskID
    sequences: int
    _frames: int = 0
    _ended: int = 0
    _drawn: float = field(default_factory=time.monotonic)

    def advance(self, frames: int) -> None:
        """Some more frames are done."""
        self._frames += frames
        if time.monotonic() - self._drawn > DRAW_SECONDS:
            self._draw()

    def ended(self) -> None:
        """One more sequence is done."""
        self._ended += 1
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self.progress.update(self.task, advance=self._frames, description=f"{self._ended}/{self.sequences} sequences")
        self._frames = 0


@contextmanager
def progress_bar(frames: int | None, sequences: int, quiet: bool = False) -> Iterator[Bar]:
    """Show a bar on standard error while the block runs, if that is a terminal.

    Args:
        frames: Number of frames of all sequences, or None where only their ends tell.
        sequences: Number of sequences.
        quiet: Show nothing.
    """
    console = err()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(),
    )
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=hidden) as progress:
        yield Bar(progress, progress.add_task(f"0/{sequences} sequences", total=frames), sequences)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Frames per second of the last half minute."""
        return Text("" if task.speed is None else f"{task.speed:.0f} frames/s")

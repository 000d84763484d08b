"""What a run shows and writes down: a bar on the console, a log with a line of JSON an entry, TensorBoard."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from scenegraph_track.files import atomic_write

LOG = "log.jsonl"


class Means:
    """Means of metrics since they were last taken, over steps, batches and processes."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Take in the metrics of one batch, without waiting for the device."""
        for name, value in metrics.items():
            value = torch.as_tensor(value).detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1

    def take(self, fabric: Fabric) -> dict[str, float]:
        """The means over all processes, the loss first; starts anew."""
        names = sorted(self._sums, key=lambda name: (name != "loss", name))
        sums = torch.stack([self._sums[name].to(fabric.device) for name in names])
        means = fabric.all_reduce(sums / self._count, reduce_op="mean").tolist()
        self._sums, self._count = {}, 0
        return dict(zip(names, means, strict=True))


class Monitor:
    """The console, the log and TensorBoard (where it is installed) of one run; only the first process has them.

    Args:
        out: Folder of the run.
        name: Of the stage.
        steps: Of the whole run.
        start: Step from which the run goes on; later entries of the log are dropped.
        enabled: False in all processes but the first.
    """

    def __init__(self, out: Path, name: str, steps: int, start: int, enabled: bool) -> None:
        self.path, self.steps, self.enabled = out / LOG, steps, enabled
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
        )
        shown = enabled and self._console.is_terminal
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not shown)
        self._task = self._bar.add_task(name, total=steps, completed=start, figures="")
        self._since = time.perf_counter(), start
        self._board: Any = None
        if enabled:
            self._drop_entries_after(start)
            if importlib.util.find_spec("tensorboard"):
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._board is not None:
            self._board.close()

    def advance(self, step: int) -> None:
        """A step is done."""
        self._bar.update(self._task, completed=step)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """One entry: metrics after ``step`` updates, and the steps per second since the entry before."""
        if not self.enabled:
            return
        now = time.perf_counter()
        speed = (step - self._since[1]) / max(now - self._since[0], 1e-9)
        self._since = now, step
        figures = f"{describe(metrics)}  {speed:.3g} it/s"
        self._bar.update(self._task, figures=figures)
        if not self._console.is_terminal:
            self.say(f"step {step}/{self.steps}  {figures}")
        self._write(step, metrics | {"steps_per_second": speed})

    def validation(self, step: int, metrics: dict[str, float]) -> None:
        """One entry with the metrics of a validation; the time it took does not count as the steps'."""
        if self.enabled:
            self._since = time.perf_counter(), step
            self.say(f"step {step}/{self.steps}  {describe(metrics)}")
            self._write(step, metrics)

    def say(self, text: str) -> None:
        """One line on the console, above the bar."""
        if self.enabled:
            self._console.print(text, markup=False)

    def _write(self, step: int, metrics: dict[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")
        if self._board is not None:
            for name, value in metrics.items():
                self._board.add_scalar(name if "/" in name else f"train/{name}", value, step)

    def _drop_entries_after(self, step: int) -> None:
        if self.path.is_file():
            kept = [entry for entry in read_log(self.path) if entry["step"] <= step]
            with atomic_write(self.path) as file:
                file.writelines(json.dumps(entry) + "\n" for entry in kept)


def read_log(path: Path) -> list[dict[str, float]]:
    """The entries of a log; a last line that was cut off when the run was killed is left out."""
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def describe(metrics: dict[str, float]) -> str:
    """Metrics on one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())

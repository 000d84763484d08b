"""Who works on many items: this process, processes of this machine, or a Ray cluster; the results are the same."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import typer

Item, Result = TypeVar("Item"), TypeVar("Result")

Tick = Callable[[int], None]
"""Called with the number of frames that are done since the last call."""

RETRIES = 2
"""So often an item is begun anew after the worker that had it died."""


@dataclass(frozen=True)
class Crew:
    """How many work, and where.

    Args:
        number: Workers, an item each at a time.
        cluster: None: processes of this machine (this one where there is one worker); else the address of a Ray
            cluster, empty for the one that ``RAY_ADDRESS`` names, or one of this machine's own where it names none.
    """

    number: int = 1
    cluster: str | None = None

    def __str__(self) -> str:
        where = "" if self.cluster is None else "ray:"
        return f"{where}{self.number}" + (f"@{self.cluster}" if self.cluster else "")


ALONE = Crew()
"""This process."""


@dataclass(frozen=True)
class Ended:
    """One item has its result.

    Args:
        index: Of the item.
        result: What the function gave.
    """

    index: int
    result: Any


@dataclass(frozen=True)
class Died:
    """The worker that had an item is gone.

    Args:
        index: Of the item.
        deaths: How many workers died on it so far.
    """

    index: int
    deaths: int

    @property
    def given_up(self) -> bool:
        """Whether it is not begun anew."""
        return self.deaths > RETRIES


def parse_crew(text: Any) -> Crew:
    """A crew from ``4``, ``ray:4`` or ``ray:4@ADDRESS``.

    Raises:
        typer.BadParameter: It is none of these.
    """
    found = re.fullmatch(r"(ray:)?0*([1-9]\d{0,4})(?:@(\S+))?", str(text))
    if found is None or (found[3] and not found[1]):
        raise typer.BadParameter(f"expected a number, ray:NUMBER or ray:NUMBER@ADDRESS, found {text}")
    return Crew(int(found[2]), (found[3] or "") if found[1] else None)


def workers_option(what: str, **panel: Any) -> Any:
    """The option ``--workers`` of a command; ``what`` says what each of them does."""
    return typer.Option(
        parser=parse_crew,
        metavar="N|ray:N[@ADDRESS]",
        help=f"{what} ray:N: on Ray, a cluster's at ADDRESS or one of this machine (pip install "
        '"scenegraph-track\\[ray]").',
        **panel,
    )


def warn(text: str) -> None:
    """Log a warning, as what works in this process does by itself."""
    logging.getLogger(__name__).warning("%s", text)


def execute(
    function: Callable[[Item, Tick], Result], items: Sequence[Item], crew: Crew, tick: Tick = lambda frames: None
) -> Iterator[Ended | Died]:
    """Call a function for each item, each on one thread, and tell as they end, in any order.

    An item whose worker died (killed, out of memory) is begun anew, `RETRIES` times at most.  What the function raises
    is raised here, and its warnings are logged here.  Where this is left before its end, what is unfinished is stopped
    at its next tick.

    Args:
        function: It, the items and what it gives can be sent to another process.
        items: What it is called with, and a function to tell of progress.
        crew: Who works.
        tick: Is told of the progress of all items.

    Raises:
        UserError: Ray is wanted and not installed, or its cluster cannot be reached.
    """
    if crew.cluster is not None:
        from scenegraph_track.cli.ray_cluster import execute_on_ray

        return execute_on_ray(function, items, crew, tick, warn)
    if min(crew.number, len(items)) > 1:
        from scenegraph_track.cli.processes import execute_in_processes

        return execute_in_processes(function, items, crew.number, tick, warn)
    return _here(function, items, tick)


def _here(function: Callable[[Item, Tick], Result], items: Sequence[Item], tick: Tick) -> Iterator[Ended | Died]:
    from scenegraph_track.cli.spread import use_one_thread

    use_one_thread()
    for index, item in enumerate(items):
        yield Ended(index, function(item, tick))

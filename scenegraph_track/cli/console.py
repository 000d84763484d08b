"""What the command line says: results on standard output; errors, warnings and progress on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from rich.console import Console

from scenegraph_track.errors import FormatError, UserError

FAILED, USAGE = 1, 2
"""Exit codes of what goes wrong.

2: the command is wrong: an option that does not exist, a bad value, a path that is not there, a file that would be
overwritten.  1: the work failed: a file does not hold what it should, a disk is full, some of many sequences could not
be done.
"""

_ENDLESS = 10_000
"""Columns of what is no terminal."""


class BadUsage(UserError):
    """The command line asks for something that is not there or makes no sense: exit code `USAGE`."""


class Failed(Exception):
    """The command has said what went wrong already.

    Args:
        code: `FAILED` or `USAGE`.
    """

    def __init__(self, code: int = FAILED) -> None:
        super().__init__()
        self.code = code


class Interrupted(Exception):
    """The command was asked to stop, and has done so in good order; its text says how to go on."""


def out() -> Console:
    """Standard output as it is now; where it is no terminal nothing is cut to a width."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _ENDLESS
    return console


def err() -> Console:
    """Standard error as it is now."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line of results."""
    out().print(text, markup=False)


def note(text: str) -> None:
    """One line that is no result: what was left out, what is assumed."""
    err().print(text, markup=False, style="dim")


def complain(text: str) -> None:
    """One error, as a sentence on one line."""
    console = err()
    console.print("error: ", style="bold red", end="")
    console.print(" ".join(text.split()), markup=False)


def for_people(error: Exception) -> bool:
    """Whether an error is written for the person who reads it."""
    geometry = sys.modules.get("geometry.errors")  # which would load torch; not loaded, it has raised nothing
    return isinstance(error, (UserError, OSError)) or (
        geometry is not None and isinstance(error, geometry.GeometryError)
    )


def sentence(error: Exception) -> str:
    """What an error says to a person; the operating system's errors without their numbers."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def wrong_usage(error: Exception) -> bool:
    """Whether an error says that the command is wrong, where it comes from what the command was given."""
    return isinstance(error, ValueError) and for_people(error) and not isinstance(error, FormatError)


@contextmanager
def usage() -> Iterator[None]:
    """Errors inside are mistakes in the command line, unless a file does not fit its format (see `wrong_usage`)."""
    try:
        yield
    except ValueError as error:
        if not wrong_usage(error):
            raise
        raise BadUsage(str(error)) from error


def choose(option: str, value: str | None, known: Collection[str]) -> None:
    """Refuse a value that is not known; None, the default, always is.

    Args:
        option: As it is written.
        value: What was given.
        known: What could be.

    Raises:
        BadUsage: The value is none of them.
    """
    if value is not None and value not in known:
        raise BadUsage(f"{option} {value}: expected one of {', '.join(known)}")


class Once(logging.Handler):
    """Shows every warning of the package once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record that was not shown before."""
        text = record.getMessage()
        if text not in self._shown:
            self._shown.add(text)
            console = err()
            console.print("warning: ", style="yellow", end="")
            console.print(text, markup=False)


def listen_to_logs() -> None:
    """Bring the warnings of the package to standard error."""
    logging.getLogger("scenegraph_track").handlers[:] = [Once()]

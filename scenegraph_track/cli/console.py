"""What the command line says: results on standard output; errors, warnings and progress on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from rich.console import Console

from scenegraph_track.errors import FormatError, UserError

USAGE = 2
"""Exit code of a command that was called wrongly."""


class BadUsage(UserError):
    """The command line asks for something that is not there or makes no sense."""


class Failed(Exception):
    """The command has said what went wrong already."""


class Interrupted(Exception):
    """The command was asked to stop, and has done so in good order; its text says how to go on."""


def out() -> Console:
    """Standard output as it is now."""
    return Console(highlight=False, soft_wrap=True)


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


@contextmanager
def usage() -> Iterator[None]:
    """Errors inside are mistakes in the command line, unless a file does not fit its format."""
    try:
        yield
    except FormatError:
        raise
    except ValueError as error:
        if not for_people(error):
            raise
        raise BadUsage(str(error)) from error


def choose(option: str, value: str | None, known: Collection[str], prefix: str = "") -> None:
    """Refuse a value that is not known; None, the default, always is.

    Args:
        option: As it is written.
        value: What was given.
        known: What could be, to which ``prefix`` is written too.
        prefix: Before the value as it was written.

    Raises:
        BadUsage: The value is none of them.
    """
    if value is not None and value not in known:
        raise BadUsage(f"{option} {prefix}{value}: expected one of {', '.join(prefix + name for name in known)}")


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

"""Errors that are written for the person who reads them: one clear sentence, no traceback on the command line."""

from __future__ import annotations

from pathlib import Path


class UserError(ValueError):
    """Something the user can put right: a wrong path, a bad value, a file that does not fit."""


class FormatError(UserError):
    """A file that does not hold what its format promises, as ``file:line: what was expected``.

    Args:
        path: The file as the user named it.
        line: 1-based line number, or None where the whole file is meant.
        expected: What should have stood there.
        found: What stood there instead (shortened to 80 characters), or None.
    """

    def __init__(self, path: str | Path, line: int | None, expected: str, found: str | None = None) -> None:
        self.path, self.line, self.expected, self.found = Path(path), line, expected, found
        where = f"{path}:{line}" if line is not None else str(path)
        tail = "" if found is None else f", found {found if len(found) <= 80 else found[:77] + '...'!s}"
        super().__init__(f"{where}: expected {expected}{tail}")

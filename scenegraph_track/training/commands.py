"""What the modules that are run by ``python -m`` have in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_write


@contextmanager
def told_plainly() -> Iterator[None]:
    """End the program with the sentence of a user's mistake."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")


def write_json(path: Path | None, values: Any) -> None:
    """Write plain values, whole or not at all; None: nowhere."""
    if path is not None:
        with atomic_write(path) as file:
            json.dump(values, file, indent=1)

"""What became of each sequence of a folder of results: a JSON line each, whole whenever it is read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scenegraph_track.files import atomic_write

NAME = "manifest.jsonl"
WAITING, DONE, FAILED = "waiting", "done", "failed"
_WRITE_SECONDS = 1.0


class Manifest:
    """The lines of one folder, those of earlier calls included.

    A line has ``sequence``, ``state`` (`WAITING`, which includes what is worked on, `DONE` or `FAILED`) and ``retried``
    (how many workers died on it); what is done has ``frames``, what failed has ``error``, a sentence.

    Args:
        folder: Where it stands.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.lines = {line["sequence"]: line for line in read_manifest(self.path)}
        self._written = -_WRITE_SECONDS

    def begin(self, sequences: Iterable[str], finished: Mapping[str, int]) -> None:
        """Some are waiting now, and some are finished already, of so many frames."""
        for name in sequences:
            self.lines[name] = {"sequence": name, "state": WAITING, "retried": 0}
        for name, frames in finished.items():  # whoever did them may have been killed before it could say so
            retried = self.lines.get(name, {}).get("retried", 0)
            self.lines[name] = {"sequence": name, "state": DONE, "retried": retried, "frames": frames}
        self.write()

    def tell(self, sequence: str, **values: Any) -> None:
        """Something became of a sequence; it is written at once, or within a second's next one, or at the end."""
        self.lines[sequence] |= values
        if time.monotonic() - self._written >= _WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        """Write all lines, by the names of the sequences."""
        with atomic_write(self.path) as file:
            for name in sorted(self.lines):
                file.write(json.dumps(self.lines[name]) + "\n")
        self._written = time.monotonic()


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """The lines of a manifest; none where there is no such file, or it is no manifest."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return []
    return [line for line in lines if isinstance(line, dict) and isinstance(line.get("sequence"), str)]

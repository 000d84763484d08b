"""The files that one run leaves for a sequence: whole or not there, with a record of how they were made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_write

RESULT, VIDEO, GRAPH, RECORD = ".txt", ".mp4", ".graph.jsonl", ".run.json"
"""What stands behind the name of a sequence."""


@dataclass(frozen=True)
class Outputs:
    """The results of one sequence in a folder.

    Files are made in the hidden folder ``.<name>.unfinished`` and moved to their names together; the record comes
    last.  So whatever is killed when, the next run sees what is whole: a record means that the files it names are, and
    the hidden folder without a record means that they were just being moved.

    Args:
        folder: Folder of all results.
        name: Name of the sequence.
    """

    folder: Path
    name: str

    def path(self, suffix: str) -> Path:
        """The file with one of the suffixes ``RESULT``, ``VIDEO``, ``GRAPH``, ``RECORD``."""
        return self.folder / (self.name + suffix)

    @property
    def unfinished(self) -> Path:
        """The folder in which the files are made."""
        return self.folder / f".{self.name}.unfinished"

    def finished(self, recipe: Mapping[str, Any], suffixes: tuple[str, ...], overwrite: bool = False) -> bool:
        """Whether the files are there and were made in just this way.

        Args:
            recipe: Everything that the results depend on, as JSON values.
            suffixes: The files that are wanted.
            overwrite: Make them again in any case.

        Raises:
            UserError: Files of these names were made in another way, or nobody knows how, and must not be overwritten.
        """
        if overwrite:
            return False
        record = self._record()
        there = [suffix for suffix in suffixes if self.path(suffix).exists()]
        if record is None and self.unfinished.is_dir():
            return False
        foreign = [suffix for suffix in there if record is None or suffix not in record["files"]]
        if foreign:
            raise UserError(
                f"{self.path(foreign[0])} exists already, and this command has not made it: "
                "add --overwrite to replace it, or choose another --out"
            )
        if record is None or not there:
            return False
        changed = _changed(record["recipe"], recipe)
        if changed:
            raise UserError(
                f"{self.path(there[0])} was made differently (another {changed}): "
                "add --overwrite to replace it, or choose another --out"
            )
        return len(there) == len(suffixes)

    @contextmanager
    def making(self, recipe: Mapping[str, Any], facts: dict[str, Any]) -> Iterator[Path]:
        """Give an empty folder to make the files in; when the block ends well, they get their names.

        Args:
            recipe: What the results depend on, for the record.
            facts: What the run found out, for the record; it may be filled inside the block.
        """
        work = self.unfinished
        shutil.rmtree(work, ignore_errors=True)
        try:
            work.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"{self.folder}: cannot write into the folder ({error.strerror})") from None
        try:
            yield work
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        old = self._record()
        made = sorted(path.name.removeprefix(self.name) for path in work.iterdir())
        files = {*made}
        if old is not None and not _changed(old["recipe"], recipe):
            files |= {suffix for suffix in old["files"] if self.path(suffix).exists()}
        with atomic_write(work / self.path(RECORD).name) as file:
            json.dump({"sequence": self.name, "files": sorted(files), "recipe": recipe, **facts}, file, indent=1)
            file.write("\n")
        self.path(RECORD).unlink(missing_ok=True)
        for suffix in set(old["files"] if old else ()) - files:
            self.path(suffix).unlink(missing_ok=True)
        for suffix in (*made, RECORD):
            (work / self.path(suffix).name).replace(self.path(suffix))
        shutil.rmtree(work, ignore_errors=True)

    @property
    def frames(self) -> int:
        """Number of frames by the record; 0 where there is none."""
        return int((self._record() or {}).get("frames", 0))

    def _record(self) -> dict[str, Any] | None:
        """The record that is there, or None; one that this package has not written counts as none."""
        try:
            record = json.loads(self.path(RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        known = isinstance(record, dict) and isinstance(record.get("recipe"), dict)
        return record if known and isinstance(record.get("files"), list) else None


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Names of what differs between two recipes, or nothing."""
    return " and ".join(key for key in new if old.get(key) != new[key])

"""Figures of a long comparison, kept as soon as they are there, so that a run that was killed goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.evaluation.tally import write_figures
from scenegraph_track.files import read_text
from scenegraph_track.model_card import shipped_files
from scenegraph_track.version import __version__

Figures = dict[str, float | None]


class Manifest:
    """Figures by key in a JSON file, which is whole after each of them; nothing is kept where there is no file.

    Args:
        path: The file; None: nothing is kept.
        about: What the figures depend on besides the package and its weights, as JSON values.
        weights: Names of the weights that ship (see `shipped_files`) and are used.

    Raises:
        UserError: The file holds figures of other options, another version or other weights.
        FormatError: It is no manifest.
    """

    def __init__(self, path: Path | None, about: Mapping[str, Any], weights: Iterable[str] = ()) -> None:
        self.path = path
        self.about = json.loads(json.dumps({"version": __version__, "weights": _digest(weights), **about}))
        self.figures: dict[str, Figures] = {}
        if path is None or not path.exists():
            return
        try:
            held = json.loads(read_text(path))
            found, self.figures = held["about"], dict(held["figures"])
        except (json.JSONDecodeError, KeyError, TypeError, ValueError):
            raise FormatError(path, None, "a manifest: about, figures") from None
        if found != self.about:
            other = next(key for key in {**self.about, **found} if found.get(key) != self.about.get(key))
            raise UserError(f"{path}: its figures are of another {other}: remove the file, or name another one")

    def figure(self, key: str, make: Callable[[], Figures]) -> Figures:
        """The figures of a key, made if they are not there yet."""
        if key not in self.figures:
            made = make()
            self.figures[key] = {name: None if value != value else value for name, value in made.items()}
            if self.path is not None:
                write_figures({"about": self.about, "figures": self.figures}, self.path)
        return self.figures[key]

    def __contains__(self, key: str) -> bool:
        return key in self.figures


def _digest(names: Iterable[str]) -> dict[str, str]:
    """Digests of weights that ship, by name."""
    files = shipped_files()
    return {name: hashlib.sha256(files[name].read_bytes()).hexdigest()[:16] for name in names}

"""Trackers saved to a folder or the Hugging Face hub, and loaded from there: `Tracker.from_pretrained`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin, snapshot_download

from scenegraph_track.config import SAVED, load_config, named_configs
from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_folder
from scenegraph_track.saved import write_folder
from scenegraph_track.tracking.tracker import Tracker

EMBEDDED = "embedded"
"""What ships with the package, with the settings of the same name."""

READ = ("*.yaml", "*.json", "*.txt", "*.md", "*.safetensors")
"""Files that are fetched from the hub: nothing that would have to be unpickled or run."""


class TrackerRelease(ModelHubMixin, library_name="scenegraph-track", license="apache-2.0"):
    """A tracker on its way to the hub or from it.

    Args:
        tracker: With all weights in files that it names.
    """

    def __new__(cls, *arguments: Any, **named: Any) -> TrackerRelease:
        """Without what the mixin does here: it would write the arguments into config.json."""
        return object.__new__(cls)

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def _save_pretrained(self, save_directory: Path) -> None:
        if self.tracker.geometry is not None:
            raise UserError("a tracker whose geometry was given in Python cannot be saved: name it in the settings")
        write_folder(self.tracker.config, save_directory)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        overrides: Iterable[str] = (),
        **more: Any,
    ) -> TrackerRelease:
        folder = snapshot_download(
            model_id,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            allow_patterns=list(READ),
        )
        return cls(from_folder(folder, overrides))


def load(name: str | Path, overrides: Iterable[str], options: dict[str, Any]) -> Tracker:
    """See `Tracker.from_pretrained`."""
    if str(name) == EMBEDDED:
        return Tracker(load_config(EMBEDDED, overrides)).loaded()
    if Path(name).expanduser().exists():
        return from_folder(Path(name).expanduser(), overrides)
    if str(name).count("/") != 1 or str(name).startswith((".", "/", "~")):
        hint = f"; Tracker.from_config({str(name)!r}) takes a configuration" if str(name) in named_configs() else ""
        raise UserError(
            f"{name}: expected {EMBEDDED}, a folder that save_pretrained wrote, or a hub id owner/name{hint}"
        )
    try:
        return TrackerRelease.from_pretrained(str(name), overrides=tuple(overrides), **options).tracker
    except UserError:
        raise
    except Exception as error:  # of the library, of the connection, of the disk
        raise UserError(f"{name}: no such folder, and not to be had from the hub: {_brief(error)}") from error


def from_folder(folder: str | Path, overrides: Iterable[str] = ()) -> Tracker:
    """The tracker of a folder, with everything loaded.

    Raises:
        UserError: There are no settings in it, or weights are missing or do not fit.
    """
    if not (Path(folder) / SAVED).is_file():
        raise UserError(f"{folder}: expected a folder that save_pretrained wrote, found no {SAVED}")
    return Tracker(load_config(folder, overrides)).loaded()


def save(tracker: Tracker, folder: str | Path, overwrite: bool) -> None:
    """See `Tracker.save_pretrained`."""
    with atomic_folder(folder, overwrite) as made:
        TrackerRelease(tracker).save_pretrained(made)


def push(tracker: Tracker, repo_id: str, options: dict[str, Any]) -> str:
    """See `Tracker.push_to_hub`."""
    try:
        return str(TrackerRelease(tracker).push_to_hub(repo_id, **options))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{repo_id}: cannot be pushed to the hub: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    """The first line of a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]

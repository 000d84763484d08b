"""Files that a command leaves: what stands there already is refused before anything is done, and how they are written.

A command takes them as one group of options, see `eval_groups.grouped`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenegraph_track.cli.console import BadUsage, say, usage
from scenegraph_track.files import refuse_no_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

TO = "Output"
"""Panel of the options in the help."""

PICTURED = 6
"""Sequences in a picture."""

COMBINED = "COMBINED"
PICTURES = (".jpg", ".jpeg", ".png")

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that are there already.", rich_help_panel=TO)
]


def refuse_standing(files: Mapping[str, Path | None], overwrite: bool) -> None:
    """Refuse files that must not be written.

    Args:
        files: What is to be written, by the option that names it.
        overwrite: They may replace others.

    Raises:
        BadUsage: A file that holds something is there already and must not be replaced, or something that is no file.
    """
    for option, path in files.items():
        if path is None:
            continue
        with usage():
            refuse_no_file(path)
        if path.exists() and path.stat().st_size and not overwrite:
            raise BadUsage(f"{path} exists already: add --overwrite to replace it, or choose another {option}")


class Written:
    """A group of options that name files, and ``overwrite``; made only where these files may be written."""

    overwrite: bool

    def __post_init__(self) -> None:
        files = {f"--{name}": value for name, value in vars(self).items() if isinstance(value, Path)}
        refuse_standing(files, self.overwrite)


@dataclass(frozen=True)
class Files(Written):
    """Where figures go besides the screen."""

    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all figures as JSON.", rich_help_panel=TO)
    ] = None
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write all figures as CSV, a row a sequence.", rich_help_panel=TO),
    ] = None

    def finish(
        self,
        figures: Mapping[str, Any],
        rows: Mapping[str, Mapping[str, Any]],
        about: Mapping[str, Any],
        protocol: Sequence[str],
    ) -> None:
        """Say how was measured, and write the files.

        Args:
            figures: Of all sequences together.
            rows: Of each, for the CSV.
            about: What else is said in the JSON.
            protocol: How was measured, in sentences.
        """
        from scenegraph_track.evaluation.tally import write_figures, write_rows

        for line in protocol:
            say(line)
        if self.json:
            write_figures({**figures, **about, "protocol": list(protocol)}, self.json)
        if self.csv:
            write_rows({**rows, COMBINED: figures}, self.csv)


@dataclass(frozen=True)
class Tables(Files):
    """Figures alone."""

    overwrite: Overwrite = False


@dataclass(frozen=True)
class Output(Files):
    """Figures and a picture of the first sequences."""

    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the first sequences (.jpg or .png).", rich_help_panel=TO),
    ] = None
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        if self.picture is not None and self.picture.suffix.lower() not in PICTURES:
            raise BadUsage(f"--picture {self.picture}: expected a file ending in .jpg or .png")
        super().__post_init__()

    @property
    def rows(self) -> int:
        """Number of sequences that are drawn."""
        return PICTURED if self.picture else 0

    def draw(self, picture: Callable[[], NDArray]) -> None:
        """Write the picture, if one is wanted."""
        from scenegraph_track.visualize.geometry import write_picture

        if self.picture:
            write_picture(picture(), self.picture)

"""Options that the evaluations share, in groups; a command takes a group as one parameter, see `grouped`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from scenegraph_track.cli.crew import Crew, workers_option

WHERE, WHAT = "Measured on", "Measured"
Folder = Annotated[
    Path | None,
    typer.Argument(
        metavar="FOLDER",
        help="A recording of an RGB-D camera in place of worlds: rgb_registered/ or rgb/, depth/ (16 bit, mm), "
        "poses/poses.txt (TUM, camera to world), intrinsics/K.txt.",
        show_default=False,
    ),
]
Weights = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Weights of a network for flow, depth or pose in place of those that ship; may be given several times.",
        rich_help_panel=WHAT,
    ),
]
Workers = Annotated[Crew, workers_option("Processes; the figures do not depend on it, but for times.")]
Scale = Annotated[bool, typer.Option("--scale/--no-scale", help="Whether the scale of the results is free.")]


@dataclass(frozen=True)
class Clips:
    """What is measured on: worlds, unless there is a folder."""

    preset: Annotated[str, typer.Option(metavar="NAME", help="Kind of worlds.", rich_help_panel=WHERE)] = "standard"
    split: Annotated[
        str | None,
        typer.Option(help="Part of the worlds: train, val or test.  [default: test]", rich_help_panel=WHERE),
    ] = None
    sequences: Annotated[
        int | None, typer.Option(min=1, help="How many worlds.  [default: 40]", rich_help_panel=WHERE)
    ] = None
    frames: Annotated[
        int | None, typer.Option(min=6, help="Frames of each; the preset decides otherwise.", rich_help_panel=WHERE)
    ] = None
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Image size of the worlds.  [default: 128x128]", rich_help_panel=WHERE),
    ] = None

    def source(self, folder: Path | None, **makers: Any) -> Any:
        """The clips of worlds or of a folder; ``makers`` are ``worlds`` and ``recorded`` of `choose_source`."""
        from scenegraph_track.cli.measuring import choose_source

        return choose_source(folder, self.preset, self.split, self.sequences, self.frames, self.size, **makers)


@dataclass(frozen=True)
class Networks:
    """Which flow and which networks are used."""

    flow: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Optical flow: dis_fast, dis_half, dis_sparse, dis_fine or embedded (the network).  [default: embedded"
            " if it is there, else dis_fine]",
            rich_help_panel=WHAT,
        ),
    ] = None
    depth: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Single-image network: embedded, none, or a depth model of transformers by its hub id or folder.  "
            "[default: embedded if it is there, else none]",
            rich_help_panel=WHAT,
        ),
    ] = None
    config: Annotated[
        str | None,
        typer.Option(
            metavar="CONFIG",
            help="Take flow and depth from the section geometry of a YAML file where they are not given here.",
            rich_help_panel=WHAT,
        ),
    ] = None
    weights: Weights = None


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command in which every parameter that is a group is replaced by the options of the group.

    Args:
        command: Its groups are dataclasses whose fields are annotated as Typer wants it, with defaults.

    Returns:
        What Typer shows and calls: it makes the groups from the options.
    """
    groups: dict[str, Any] = {}
    options: list[Parameter] = []
    for name, given in signature(command, eval_str=True).parameters.items():
        if not is_dataclass(given.annotation):
            options.append(given.replace(kind=Parameter.KEYWORD_ONLY))
            continue
        groups[name], types = given.annotation, get_type_hints(given.annotation, include_extras=True)
        options += [
            Parameter(one.name, Parameter.KEYWORD_ONLY, default=one.default, annotation=types[one.name])
            for one in fields(given.annotation)
        ]

    @wraps(command)
    def called(**values: Any) -> None:
        made = {name: kind(**{one.name: values.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()}
        command(**values, **made)

    called.__signature__ = Signature(options)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in options}
    return called

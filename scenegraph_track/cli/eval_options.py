"""Options that the evaluations of geometry share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WHERE, WHAT, TO = "Measured on", "Measured", "Output"
Folder = Annotated[
    Path | None,
    typer.Argument(
        metavar="FOLDER",
        help="A recording of an RGB-D camera in place of worlds: rgb_registered/ or rgb/, depth/ (16 bit, mm), "
        "poses/poses.txt (TUM, camera to world), intrinsics/K.txt.",
        show_default=False,
    ),
]
Preset = Annotated[str, typer.Option("--worlds", metavar="PRESET", help="Kind of worlds.", rich_help_panel=WHERE)]
Split = Annotated[
    str | None,
    typer.Option(help="Part of the worlds: train, val or test.  [default: test]", rich_help_panel=WHERE),
]
Sequences = Annotated[
    int | None, typer.Option(min=1, help="How many worlds.  [default: 40]", rich_help_panel=WHERE)
]  # fmt: skip
Frames = Annotated[
    int | None, typer.Option(min=6, help="Frames of each; the preset decides otherwise.", rich_help_panel=WHERE)
]
Size = Annotated[
    str | None,
    typer.Option(metavar="WxH", help="Image size of the worlds.  [default: 128x128]", rich_help_panel=WHERE),
]
Weights = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Weights of a network for flow, depth or pose in place of those that ship; may be given several times.",
        rich_help_panel=WHAT,
    ),
]
Flow = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Optical flow: dis_fast, dis_sparse, dis_fine or embedded (the network).  [default: embedded if it is "
        "there, else dis_fine]",
        rich_help_panel=WHAT,
    ),
]
Depth = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Single-image network: embedded, none, or a depth model of transformers by its hub id or folder.  "
        "[default: embedded if it is there, else none]",
        rich_help_panel=WHAT,
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        metavar="CONFIG",
        help="Take flow and depth from the section geometry of a YAML file where they are not given here.",
        rich_help_panel=WHAT,
    ),
]
Workers = Annotated[int, typer.Option(min=1, help="Processes; the figures do not depend on it, but for times.")]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write all figures as JSON.", rich_help_panel=TO)
]
Csv = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write all figures as CSV, a row a sequence.", rich_help_panel=TO),
]
Picture = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw the first sequences (.jpg or .png).", rich_help_panel=TO),
]
Scale = Annotated[bool, typer.Option("--scale/--no-scale", help="Whether the scale of the results is free.")]

"""The commands put together, and what becomes of their errors."""

from __future__ import annotations

import os
import warnings
from typing import Annotated

import typer

from scenegraph_track.cli.console import (
    FAILED,
    USAGE,
    BadUsage,
    Failed,
    Interrupted,
    complain,
    for_people,
    listen_to_logs,
    say,
    sentence,
)
from scenegraph_track.cli.demo import demo
from scenegraph_track.cli.eval import app as eval_app
from scenegraph_track.cli.info import info
from scenegraph_track.cli.points import points
from scenegraph_track.cli.synth import synth
from scenegraph_track.cli.track import track
from scenegraph_track.cli.train import TrainCommand, train
from scenegraph_track.version import __version__

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

DEBUG = "SCENEGRAPH_TRACK_DEBUG"
"""Environment variable; anything but 0 or nothing shows the traceback of an error."""

_UsageError = typer.BadParameter.__mro__[1]  # Click's, which new versions of Typer carry inside themselves

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(track)
app.command()(points)
app.add_typer(eval_app, name="eval")
app.command()(demo)
app.command()(synth)
app.command(cls=TrainCommand)(train)
app.command()(info)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"scenegraph-track {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Track the objects of videos, keep a scene graph of them, and keep each identity while its object is hidden.

    Exit codes: 0 done; 1 the work failed; 2 the command is wrong; 130 interrupted.
    """


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code: 0, or `FAILED`, `USAGE` or `INTERRUPTED`."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\b")
    listen_to_logs()
    command = typer.main.get_command(app)
    try:
        code = command.main(arguments or ["--help"], prog_name="scenegraph-track", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Failed as failed:
        return failed.code
    except Interrupted as stopped:
        complain(str(stopped))
        return INTERRUPTED
    except Exception as error:
        known = isinstance(error, _UsageError) or for_people(error)
        if not known or os.environ.get(DEBUG, "0") not in ("", "0"):
            raise
        complain(error.format_message() if isinstance(error, _UsageError) else sentence(error))
        return USAGE if isinstance(error, BadUsage | _UsageError) else FAILED
    if code == INTERRUPTED:
        complain("interrupted; what is finished is whole and kept, and the same command begins the rest anew")
    return code if isinstance(code, int) else 0

"""Groups of options: a command shows and takes their fields, and is called with the groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from scenegraph_track.cli.eval_groups import Clips, grouped


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(min=1, help="Columns.")] = 3
    height: Annotated[int | None, typer.Option(help="Rows.")] = None


@dataclass(frozen=True)
class Tall(Size):
    height: Annotated[int, typer.Option("--rows", help="Rows.")] = 9


@pytest.mark.parametrize(
    ("kind", "arguments", "wanted"),
    [
        (Size, "in", ("in", Size(3, None), 1)),
        (Size, "in --height 4 --workers 2", ("in", Size(3, 4), 2)),
        (Tall, "in --width 5", ("in", Tall(5, 9), 1)),
        (Tall, "in --rows 2", ("in", Tall(3, 2), 1)),
    ],
)
def test_options_become_groups(kind: Any, arguments: str, wanted: tuple[Any, ...]) -> None:
    # Also those of a group that changes an option of another one.
    called = []

    def command(source: str, *, size: Any, workers: int = 1) -> None:
        """What it does."""
        called.append((source, size, workers))

    command.__annotations__["size"] = kind
    app = typer.Typer()
    app.command()(grouped(command))
    done = CliRunner().invoke(app, arguments.split())
    assert done.exit_code == 0, done.output
    assert called == [wanted] and type(called[0][1]) is kind


def test_rules_and_texts_of_the_options_stay() -> None:
    @grouped
    def command(clips: Clips) -> None:
        """What it does."""
        raise AssertionError

    app = typer.Typer()
    app.command()(command)
    shown = CliRunner().invoke(app, ["--help"], env={"TERMINAL_WIDTH": "160", "COLUMNS": "160"}).output
    assert "What it does." in shown and "Measured on" in shown and "Kind of worlds." in shown
    assert CliRunner().invoke(app, ["--frames", "5"]).exit_code == 2  # before the command is called

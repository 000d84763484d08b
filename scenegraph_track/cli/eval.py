"""``scenegraph-track eval``: figures of results against ground truth, of this tracker or any other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from scenegraph_track.cli import eval_geometry, eval_objects
from scenegraph_track.cli.console import out, usage
from scenegraph_track.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from scenegraph_track.data.sequences import Sequence
    from scenegraph_track.evaluation.mot import Evaluation
    from scenegraph_track.evaluation.sources import TruthSource

DEFAULT = "mot"
"""The evaluation that is meant where none is named."""


class DefaultGroup(TyperGroup):
    """A group of commands in which ``eval SPLIT ...`` means ``eval mot SPLIT ...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front of what names no command."""
        args = args or ["--help"]
        named = args[0] in self.commands or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if named else [DEFAULT, *args])


app = typer.Typer(
    cls=DefaultGroup,
    help="Judge results against ground truth. **eval SOURCE --results DIR** is short for "
    "**eval mot SOURCE --results DIR**.",
)


@app.callback()
def _eval() -> None: ...


for command in (eval_geometry.flow, eval_geometry.depth, eval_geometry.pose, eval_objects.objects):
    app.command()(command)


@app.command()
def mot(
    source: Annotated[
        str, typer.Argument(help="A sequence with ground truth, or a folder of them (a split).", show_default=False)
    ],
    results: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Folder with <sequence>.txt in MOTChallenge format, by whatever tracker; a file where SOURCE is one "
            "sequence.",
            show_default=False,
        ),
    ],
    benchmark: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Which boxes count: auto (MOT17's rules where the ground truth has classes, else all), none, MOT15, "
            "MOT16, MOT17, MOT20.",
        ),
    ] = "auto",
    no_preproc: Annotated[
        bool, typer.Option("--no-preproc", help="The same as --benchmark none: every box counts.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures as flat JSON, name: value.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write all figures as CSV, a row a sequence.")
    ] = None,
) -> None:
    """HOTA, CLEAR and Identity figures of multi-object tracking, per sequence and combined.

    The figures are those of TrackEval: percent and counts of matches at an overlap of 0.5, HOTA over all overlaps.
    """
    from scenegraph_track.data.sequences import find_sequences
    from scenegraph_track.evaluation.preprocessing import BENCHMARKS
    from scenegraph_track.evaluation.report import print_table, write_csv, write_json

    with usage():
        if benchmark not in BENCHMARKS:
            raise UserError(f"--benchmark {benchmark}: expected one of {', '.join(BENCHMARKS)}")
        sequences = [s for s in find_sequences(source) if s.truth is not None and s.kind in ("mot", "kitti")]
        if not sequences:
            raise UserError(f"{source}: expected sequences with ground truth (gt/gt.txt), found none")
        files = _result_files(sequences, results)
    evaluation = evaluate_files(sequences, files, "none" if no_preproc else benchmark)
    print_table(evaluation, out())
    if json_file:
        write_json(evaluation, json_file)
    if csv_file:
        write_csv(evaluation, csv_file)


def _result_files(sequences: list[Sequence], results: Path) -> dict[str, Path]:
    """The result file of each sequence; TrackEval's folder ``data`` in between is accepted."""
    if results.is_file() and len(sequences) == 1:
        return {sequences[0].name: results}
    if not results.is_dir():
        raise UserError(f"{results}: expected a folder with <sequence>.txt for {len(sequences)} sequences")
    files = {s.name: (results / f"{s.name}.txt", results / "data" / f"{s.name}.txt") for s in sequences}
    found = {name: next((path for path in paths if path.is_file()), None) for name, paths in files.items()}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise UserError(f"{results}: expected {missing[0]}.txt{more}, found no such file")
    return {name: path for name, path in found.items() if path is not None}


def evaluate_files(sequences: list[Sequence], files: dict[str, Path], benchmark: str = "auto") -> Evaluation:
    """Judge result files.

    Args:
        sequences: Sequences with ground truth.
        files: Result file of each, by its name.
        benchmark: See ``evaluation.preprocessing.BENCHMARKS``.

    Raises:
        FormatError: A file holds no such rows.
    """
    from scenegraph_track.data.mot import read_rows
    from scenegraph_track.evaluation.mot import evaluate
    from scenegraph_track.evaluation.sources import ResultSource

    truths = {s.name: _truth(s) for s in sequences}
    found = {name: ResultSource(read_rows(path), path, _lines(path)) for name, path in files.items()}
    return evaluate(truths, found, benchmark)


def _truth(sequence: Sequence) -> TruthSource:
    from scenegraph_track.data.mot import read_rows
    from scenegraph_track.evaluation.sources import TruthSource

    if sequence.kind == "mot":
        rows, lines = read_rows(sequence.truth), _lines(sequence.truth)
    else:  # KITTI: every labelled object counts, whatever its class
        rows, lines = sequence.read_truth().tracks.to_mot()[:, :6], None
    frames = sequence.length or int(rows[:, 0].max(initial=0))
    return TruthSource(rows, sequence.truth, lines, frames=frames)


def _lines(path: Path) -> np.ndarray:
    """The 1-based line of each row of a table; blank lines are none."""
    import numpy as np

    from scenegraph_track.files import read_text

    lines = enumerate(read_text(path).split("\n"), 1)
    return np.array([number for number, line in lines if line.strip(",; \t")], dtype=np.int64)

"""``scenegraph-track eval``: figures of results against ground truth, of this tracker or any other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from scenegraph_track.cli import eval_geometry, eval_language, eval_objects, eval_occlusion, eval_points, eval_single
from scenegraph_track.cli.console import choose, out, usage
from scenegraph_track.cli.crew import ALONE, Crew
from scenegraph_track.cli.eval_groups import Workers, grouped
from scenegraph_track.cli.output_files import Tables
from scenegraph_track.cli.result_files import annotated_sequences, read_result, read_truth, result_files

if TYPE_CHECKING:
    from scenegraph_track.data.sequences import Sequence
    from scenegraph_track.evaluation.mot import Evaluation, SequenceResult

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


for command in (
    eval_geometry.flow,
    eval_geometry.depth,
    eval_geometry.pose,
    eval_objects.objects,
    eval_occlusion.occlusion,
    eval_points.points,
    eval_single.single,
    eval_language.language,
):
    app.command()(command)


@app.command()
@grouped
def mot(
    source: Annotated[
        str, typer.Argument(help="A sequence with ground truth, or a folder of them (a split).", show_default=False)
    ],
    results: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Folder with SEQUENCE.txt in MOTChallenge format, by whatever tracker; a file where SOURCE is one "
            "sequence.",
            show_default=False,
        ),
    ],
    *,
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
    workers: Workers = ALONE,
    files: Tables,
) -> None:
    """HOTA, CLEAR and Identity figures of multi-object tracking, per sequence and combined.

    The figures are those of TrackEval: percent and counts of matches at an overlap of 0.5, HOTA over all overlaps.
    """
    from scenegraph_track.evaluation.preprocessing import BENCHMARKS
    from scenegraph_track.evaluation.report import print_table, write_csv, write_json

    choose("--benchmark", benchmark, BENCHMARKS)
    with usage():
        sequences = annotated_sequences(source)
        found = result_files(sequences, results)
    evaluation = evaluate_files(sequences, found, "none" if no_preproc else benchmark, workers)
    print_table(evaluation, out())
    if files.json:
        write_json(evaluation, files.json)
    if files.csv:
        write_csv(evaluation, files.csv)


def evaluate_files(
    sequences: list[Sequence], files: dict[str, Path], benchmark: str = "auto", workers: Crew = ALONE
) -> Evaluation:
    """Judge result files.

    Args:
        sequences: Sequences with ground truth.
        files: Result file of each, by its name.
        benchmark: See ``evaluation.preprocessing.BENCHMARKS``.
        workers: Who judges.

    Raises:
        FormatError: A file holds no such rows.
    """
    from scenegraph_track.cli.spread import spread
    from scenegraph_track.evaluation.mot import Evaluation, combine

    pairs = [(sequence, files[sequence.name]) for sequence in sequences]
    names = [sequence.name for sequence in sequences]
    found = dict(zip(names, spread(_Judge(benchmark), pairs, workers), strict=True))
    return Evaluation(found, combine(found))


@dataclass(frozen=True)
class _Judge:
    """Judges one result file, in whatever process."""

    benchmark: str

    def __call__(self, given: tuple[Sequence, Path]) -> SequenceResult:
        """Figures of a sequence and its result file."""
        from scenegraph_track.evaluation.mot import evaluate_sequence
        from scenegraph_track.evaluation.preprocessing import Preprocessing

        sequence, path = given
        truth = read_truth(sequence)
        return evaluate_sequence(truth, read_result(path), preprocess=Preprocessing.choose(truth, self.benchmark))

"""``scenegraph-track eval occlusion``: identities through occlusion, of results of any trackers side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenegraph_track.cli.console import note, out, say, usage

if TYPE_CHECKING:
    from scenegraph_track.data.sequences import Sequence


def occlusion(
    source: Annotated[
        str, typer.Argument(help="A sequence with ground truth, or a folder of them (a split).", show_default=False)
    ],
    results: Annotated[
        list[Path],
        typer.Option(
            metavar="DIR",
            help="Folder with <sequence>.txt in MOTChallenge format, by whatever tracker; a file where SOURCE is one "
            "sequence. May be given several times.",
            show_default=False,
        ),
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures as JSON, by result.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the curves (.png, .svg or .pdf; needs matplotlib)."),
    ] = None,
) -> None:
    """Identities kept, switched and lost by how long and how much objects were hidden, and false re-identifications."""
    from scenegraph_track.cli.result_files import annotated_sequences, result_files
    from scenegraph_track.evaluation.occlusion_report import PROTOCOL, check_picture, draw_occlusion, print_occlusion
    from scenegraph_track.evaluation.tally import write_figures

    with usage():
        if plot:
            check_picture(plot)
        sequences = annotated_sequences(source)
        files = [result_files(sequences, folder) for folder in results]
    assumed = [s for s in sequences if not s.frame_rate_known]
    if assumed:
        which = assumed[0].name if len(assumed) == 1 else f"{len(assumed)} sequences"
        note(f"{which}: nothing tells the frame rate; {assumed[0].frame_rate:g} per second is assumed (seqinfo.ini)")
    figures = {name: judge_occlusion(sequences, found) for name, found in zip(_names(results), files, strict=True)}
    print_occlusion(figures, out())
    for line in PROTOCOL:
        say(line)
    if json_file:
        write_figures({"results": figures, "protocol": list(PROTOCOL)}, json_file)
    if plot:
        draw_occlusion(figures, plot)


def judge_occlusion(sequences: list[Sequence], files: dict[str, Path]) -> dict[str, Any]:
    """The ``occlusion_figures`` of result files.

    Args:
        sequences: Sequences with ground truth.
        files: Result file of each, by its name.

    Raises:
        FormatError: A file holds no such rows.
    """
    from scenegraph_track.cli.result_files import read_result, read_truth
    from scenegraph_track.evaluation.matched import match_truth
    from scenegraph_track.evaluation.occlusion import occlusion_figures

    return occlusion_figures(match_truth(read_truth(s), read_result(files[s.name]), s.frame_rate) for s in sequences)


def _names(results: list[Path]) -> list[str]:
    """The last parts of the paths, or the whole paths where the last parts are not unique."""
    names = [path.absolute().stem if path.is_file() else path.absolute().name for path in results]
    return names if len(set(names)) == len(names) else [str(path) for path in results]

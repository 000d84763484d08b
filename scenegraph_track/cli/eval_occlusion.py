"""``scenegraph-track eval occlusion``: identities through occlusion, of results of any trackers side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenegraph_track.cli.console import BadUsage, choose, note, out, say, usage
from scenegraph_track.cli.crew import ALONE, Crew, workers_option
from scenegraph_track.cli.eval_groups import grouped
from scenegraph_track.cli.output_files import TO, Overwrite, Written

if TYPE_CHECKING:
    from scenegraph_track.data.sequences import Sequence


_WORLDS = "Worlds, where there is no SOURCE"


@dataclass(frozen=True)
class _Output(Written):
    json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write all figures as JSON, by result.", rich_help_panel=TO),
    ] = None
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the curves of results (.png, .svg or .pdf; needs matplotlib).",
            rich_help_panel=TO,
        ),
    ] = None
    overwrite: Overwrite = False


@grouped
def occlusion(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A sequence with ground truth, or a folder of them (a split), to judge results of trackers. Without "
            "it, the visible parts that OccuSolver tells are judged on held-out worlds.",
            show_default=False,
        ),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Folder with SEQUENCE.txt in MOTChallenge format, by whatever tracker; a file where SOURCE is one "
            "sequence. May be given several times.",
            show_default=False,
        ),
    ] = None,
    *,
    preset: Annotated[str, typer.Option(metavar="NAME", help="Kind of worlds.", rich_help_panel=_WORLDS)] = "standard",
    split: Annotated[
        str, typer.Option(help="Part of the worlds: train, val or test.", rich_help_panel=_WORLDS)
    ] = "test",
    sequences: Annotated[int, typer.Option(min=1, help="How many worlds.", rich_help_panel=_WORLDS)] = 60,
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Image size of the worlds.", rich_help_panel=_WORLDS)
    ] = "192x192",
    workers: Annotated[
        Crew, workers_option("Processes for worlds; the figures do not depend on it.", rich_help_panel=_WORLDS)
    ] = ALONE,
    files: _Output,
) -> None:
    """Identities kept and lost through occlusion, of any tracker's results; or how well visible parts are told.

    With SOURCE: identities kept, switched and lost by how long and how much objects were hidden, and false
    re-identifications. Without: errors of the visible part of objects, on worlds, beside simpler ways to tell it.
    """
    if source is None:
        if results or files.plot:
            raise BadUsage("eval occlusion: --results and --plot need the SOURCE that the results are of")
        _visible_parts(preset, split, sequences, size, workers, files.json)
        return
    if not results:
        raise BadUsage("eval occlusion SOURCE: expected --results DIR, the folder with a tracker's results")
    _judge_results(source, results, files.json, files.plot)


def _judge_results(source: str, results: list[Path], json_file: Path | None, plot: Path | None) -> None:
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


@dataclass(frozen=True, eq=False)
class _Job:
    """What all worlds of one call share."""

    source: Any

    def __call__(self, number: int) -> tuple[Any, dict[str, Any]] | None:
        from scenegraph_track.evaluation.object_visibility import visibility_methods
        from scenegraph_track.occlusion.embedded import point_network, solver_network, surface_network

        clip = self.source.clip(number)
        if clip is None:
            return None
        points = point_network()
        methods = visibility_methods(points, solver_network(points), surface_network(), target=True)
        return clip, {name: method(clip) for name, method in methods.items()}


def _visible_parts(preset: str, split: str, count: int, size: str, workers: Crew, json_file: Path | None) -> None:
    """Judge the visible parts of objects on worlds."""
    from scenegraph_track.cli.geometry_report import show
    from scenegraph_track.cli.progress import progress_bar
    from scenegraph_track.cli.spread import spread
    from scenegraph_track.cli.synth import parse_size
    from scenegraph_track.data.worlds import PRESETS, SPLITS
    from scenegraph_track.errors import UserError
    from scenegraph_track.evaluation.object_visibility import PROTOCOL, SURFACE, VisibilityWorlds, visibility_figures
    from scenegraph_track.evaluation.tally import write_figures
    from scenegraph_track.occlusion.embedded import point_network, solver_network, surface_network

    choose("--preset", preset, PRESETS)
    choose("--split", split, SPLITS)
    with usage():
        source = VisibilityWorlds(preset, split, count, parse_size(size))
        solver_network(point_network()), surface_network()
    found = []
    with progress_bar(None, count) as bar:
        for one in spread(_Job(source), range(count), workers):
            found += [] if one is None else [one]
            bar.ended()
    if not found:
        raise UserError(f"{preset}: expected objects that can be seen, found none in {count} worlds")
    methods = {name: visibility_figures((clip, told[name]) for clip, told in found) for name in found[0][1]}
    show("visible part of objects", methods)
    for line in PROTOCOL:
        say(line)
    if json_file:
        figures = {f"visibility_{name}": value for name, value in methods[SURFACE].items()}
        others = {
            f"visibility_{name}_{method}": value
            for method, row in methods.items()
            if method != SURFACE
            for name, value in row.items()
        }
        write_figures({**figures, **others, "worlds": len(found), "protocol": list(PROTOCOL)}, json_file)


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

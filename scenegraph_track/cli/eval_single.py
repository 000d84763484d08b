"""``scenegraph-track eval single``: one target followed through worlds or real sequences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from scenegraph_track.cli.console import BadUsage, choose, note, usage
from scenegraph_track.cli.crew import ALONE, Crew
from scenegraph_track.cli.eval_groups import WHAT, WHERE, Workers, grouped
from scenegraph_track.cli.geometry_report import show
from scenegraph_track.cli.output_files import TO, Files, Overwrite
from scenegraph_track.errors import UserError

if TYPE_CHECKING:
    from scenegraph_track.evaluation.single import Pixels
    from scenegraph_track.evaluation.single_clips import SingleSource
    from scenegraph_track.evaluation.single_report import Found
    from scenegraph_track.evaluation.single_runs import Measured, SingleJob


@dataclass(frozen=True)
class _Clips:
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Kind of worlds.  [default: standard]", rich_help_panel=WHERE),
    ] = None
    sequences: Annotated[
        int | None,
        typer.Option(min=1, help="How many worlds; two targets of each.  [default: 24]", rich_help_panel=WHERE),
    ] = None
    split: Annotated[
        str | None,
        typer.Option(help="Part of the worlds: train, val or test.  [default: test]", rich_help_panel=WHERE),
    ] = None
    frames: Annotated[int | None, typer.Option(min=2, help="Frames of each.  [default: 60]", rich_help_panel=WHERE)] = (
        None
    )
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Image size of the worlds.  [default: 192x144]", rich_help_panel=WHERE),
    ] = None

    def source(self, data: Path | None) -> SingleSource:
        from scenegraph_track.cli.synth import parse_size
        from scenegraph_track.data.worlds import PRESETS, SPLITS
        from scenegraph_track.evaluation.single_clips import SingleFolder, SingleWorlds

        given = {name: value for name, value in vars(self).items() if value is not None}
        if data is not None:
            if given:
                raise BadUsage(f"--{next(iter(given))}: goes with worlds, not with real sequences")
            source = SingleFolder(data)
            len(source)
            return source
        choose("--preset", self.preset, PRESETS)
        choose("--split", self.split, SPLITS)
        if self.size is not None:
            given["size"] = parse_size(self.size)
        return SingleWorlds(**given)


@dataclass(frozen=True)
class _Judging:
    results: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Boxes of another tracker, judged beside the methods: a folder with SEQUENCE.txt, left, top, width, "
            "height a line. May be given several times.",
            rich_help_panel=WHAT,
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Weights of the target model: a file, or embedded.  [default: embedded, if they ship]",
            rich_help_panel=WHAT,
        ),
    ] = None
    text: Annotated[
        bool,
        typer.Option(
            "--text",
            help="Compare the target model by the first box (BBox, the row target), by box and sentence (NL+BBox) and "
            "by the sentence alone (NL), on targets with a sentence; no baselines.",
            rich_help_panel=WHAT,
        ),
    ] = False
    language: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="Weights of the language network: a file, or embedded.", rich_help_panel=WHAT
        ),
    ] = "embedded"
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Figures that are shown: otb, lasot, got10k, tnl2k (each by its own rules), or vot: runs from anchors "
            "with accuracy, robustness and EAO.  [default: all but vot]",
            rich_help_panel=WHAT,
        ),
    ] = None
    pixels: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How boxes cover pixels: continuous or inclusive.  [default: continuous; vot: inclusive]",
            rich_help_panel=WHAT,
        ),
    ] = None


@dataclass(frozen=True)
class _Output(Files):
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw success and precision (.png, .svg or .pdf; needs matplotlib).",
            rich_help_panel=TO,
        ),
    ] = None
    overwrite: Overwrite = False


@grouped
def single(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="Real sequences in place of worlds, one or a folder of them: OTB, LaSOT, GOT-10k, TNL2K, VOT and the "
            "like (groundtruth.txt, groundtruth_rect.txt), or DAVIS (masks).",
            show_default=False,
        ),
    ] = None,
    *,
    clips: _Clips,
    judging: _Judging,
    workers: Workers = ALONE,
    files: _Output,
) -> None:
    """Single targets: our target model beside constant position and velocity, correlation, MIL, KCF and CSRT.

    Success AUC, precision, AO and success rates of runs from the first frame, or VOT's figures of runs from anchors.
    """
    from scenegraph_track.evaluation.occlusion_report import check_picture
    from scenegraph_track.evaluation.single import PIXELS
    from scenegraph_track.evaluation.single_report import PROTOCOLS, VOT
    from scenegraph_track.evaluation.single_runs import SingleJob

    choose("--protocol", judging.protocol, PROTOCOLS)
    choose("--pixels", judging.pixels, PIXELS)
    vot = judging.protocol == VOT
    if vot and (judging.results or files.plot):
        option = "--results" if judging.results else "--plot"
        raise BadUsage(f"{option}: goes with runs from the first frame, not with --protocol vot")
    with usage():
        if files.plot:
            check_picture(files.plot)
        source = clips.source(data)
        results = _named(judging.results or [])
        _say_what_is_missing(judging.weights)
        if judging.text:
            _check_language(judging)
    pixels = cast("Pixels", judging.pixels or ("inclusive" if vot else "continuous"))
    job = SingleJob(source, judging.weights, pixels, vot, results, judging.language if judging.text else None)
    found = _measure(job, workers)
    if not any(found.values()):
        raise UserError("there is nothing to measure: no target in images that could be followed, and no results")
    _show(found, judging.protocol, job, files)
    if files.plot:
        _draw(found, files.plot)


def _named(folders: list[Path]) -> tuple[tuple[str, Path], ...]:
    """Folders of results by their last parts.

    Raises:
        UserError: One is no folder, or has the name of another or of a method.
    """
    from scenegraph_track.evaluation.single_methods import TARGET, baseline_methods

    taken = {TARGET, *baseline_methods()}
    for folder in folders:
        name = folder.absolute().name
        if not folder.is_dir():
            raise UserError(f"{folder}: expected a folder with <sequence>.txt")
        if name in taken:
            raise UserError(f"{folder}: there is another {name} already; give the folder another name")
        taken.add(name)
    return tuple((folder.absolute().name, folder) for folder in folders)


def _say_what_is_missing(weights: str | None) -> None:
    from scenegraph_track.evaluation.single_baselines import opencv_methods
    from scenegraph_track.evaluation.single_methods import target_method

    if target_method(weights) is None:
        note("no trained target model ships with this version: the baselines alone are measured")
    missing = opencv_methods()[1]
    if missing:
        note(
            f"this OpenCV has no {' and no '.join(missing)}: opencv-contrib-python, in place of opencv-python, has them"
        )


def _check_language(judging: _Judging) -> None:
    """Load what reads sentences, so that what is wrong with it is said first."""
    from scenegraph_track.evaluation.single_methods import language_methods

    if judging.protocol == "vot":
        raise BadUsage("--text: goes with runs from the first frame, not with --protocol vot")
    language_methods("", judging.weights, judging.language)


def _measure(job: SingleJob, workers: Crew) -> dict[str, dict[str, Measured]]:
    from scenegraph_track.cli.progress import progress_bar
    from scenegraph_track.cli.spread import spread

    found: dict[str, dict[str, Measured]] = {}
    with progress_bar(len(job.source), len(job.source)) as bar:
        for clips in spread(job.measure, range(len(job.source)), workers):
            found |= clips
            bar.advance(1)
            bar.ended()
    left_out = [name for name, methods in found.items() if not methods]
    if left_out:
        note(f"nothing can be followed in {len(left_out)} sequences ({left_out[0]} ...): they are left out")
    return {name: methods for name, methods in found.items() if methods}


def _show(found: Found, protocol: str | None, job: SingleJob, files: Files) -> None:
    """Print the table, a row a method, and write the files."""
    from scenegraph_track.evaluation import single_report as report
    from scenegraph_track.evaluation.single_baselines import opencv_methods

    figures, shown, times = report.method_figures(found), report.shown_figures(protocol), report.times(found)
    table = {name: {**{one: row[one] for one in shown}, "ms": times[name]} for name, row in figures.items()}
    show(f"single targets: {len(found)} of {job.source}", table)
    apart = report.sequence_figures(found)
    about = {
        "measured_on": str(job.source),
        "pixels": job.pixels,
        "not_in_this_opencv": opencv_methods()[1],
        "sequences": {name: report.flat_figures(rows) for name, rows in apart.items()},
    }
    rules = report.rules(protocol, job.pixels, report.interval_of(found) if job.anchored else None)
    files.finish(report.flat_figures(figures), apart, about, rules)


def _draw(found: Found, path: Path) -> None:
    from scenegraph_track.evaluation.single import ERRORS, NORMALISED, OVERLAPS
    from scenegraph_track.evaluation.single_report import method_curves
    from scenegraph_track.visualize.single import plot_single

    plot_single(method_curves(found), (OVERLAPS, ERRORS, NORMALISED), path)

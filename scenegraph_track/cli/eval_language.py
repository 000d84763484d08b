"""``scenegraph-track eval language``: which object a sentence means, on held-out worlds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from scenegraph_track.cli.console import choose, out, say, usage
from scenegraph_track.cli.crew import ALONE, Crew
from scenegraph_track.cli.eval_groups import WHAT, WHERE, Workers, grouped
from scenegraph_track.cli.geometry_report import show
from scenegraph_track.cli.output_files import Tables


@dataclass(frozen=True)
class _Clips:
    preset: Annotated[str, typer.Option(metavar="NAME", help="Kind of worlds.", rich_help_panel=WHERE)] = "standard"
    sequences: Annotated[int, typer.Option(min=1, help="How many worlds.", rich_help_panel=WHERE)] = 60
    split: Annotated[str, typer.Option(help="Part of the worlds: train, val or test.", rich_help_panel=WHERE)] = "test"
    frames: Annotated[int, typer.Option(min=2, help="Frames of each.", rich_help_panel=WHERE)] = 24
    size: Annotated[str, typer.Option(metavar="WxH", help="Image size of the worlds.", rich_help_panel=WHERE)] = (
        "192x144"
    )


@dataclass(frozen=True)
class _Judging:
    weights: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="Weights of the language network: a file, or embedded.", rich_help_panel=WHAT
        ),
    ] = "embedded"
    sentences: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Sentences to read instead, one a line (NAME, a tab, SENTENCE): what of each is known. Nothing is "
            "measured then.",
            rich_help_panel=WHAT,
        ),
    ] = None


@grouped
def language(*, clips: _Clips, judging: _Judging, workers: Workers = ALONE, files: Tables) -> None:
    """Right object chosen by its sentence among all in view, beside chance and the largest; swapped sentences."""
    from scenegraph_track.cli.synth import parse_size
    from scenegraph_track.data.worlds import PRESETS, SPLITS
    from scenegraph_track.evaluation.language import PROTOCOL, LanguageJob, figures
    from scenegraph_track.evaluation.tally import Tally
    from scenegraph_track.language.reading import Reader

    choose("--preset", clips.preset, PRESETS)
    choose("--split", clips.split, SPLITS)
    with usage():
        Reader.load(judging.weights)
        if judging.sentences:
            _read(judging.sentences, judging.weights, files.json)
            return
        job = LanguageJob(clips.preset, clips.split, parse_size(clips.size), clips.frames, judging.weights)
    tallies = _measure(job, clips.sequences, workers)
    found = figures(Tally.join(tallies.values()))
    _show(found)
    about = {"measured_on": f"{clips.sequences} {clips.split} worlds ({clips.preset})", "weights": judging.weights}
    rows = {name: figures(tally) for name, tally in tallies.items()}
    files.finish(found, rows, about, PROTOCOL)


def _measure(job: Any, sequences: int, workers: Crew) -> dict[str, Any]:
    from scenegraph_track.cli.progress import progress_bar
    from scenegraph_track.cli.spread import spread

    tallies = {}
    with progress_bar(sequences, sequences) as bar:
        for seed, tally in enumerate(spread(job.measure, range(sequences), workers)):
            tallies[f"{job.preset}-{job.split}-{seed}"] = tally
            bar.advance(1)
            bar.ended()
    return tallies


def _show(found: Mapping[str, float]) -> None:
    """Print the figures in percent, ours beside chance and the largest object, then by attribute."""
    percent = {name: 100 * value for name, value in found.items() if name not in ("queries", "pairs")}
    ours = {name: value for name, value in percent.items() if "/" not in name and name not in ("chance", "largest")}
    others = {
        name: {"first_frame": percent[key]} for name, key in (("chance", "chance"), ("largest object", "largest"))
    }
    title = f"which object a sentence means, percent: {found['queries']:.0f} sentences, {found['pairs']:.0f} pairs"
    show(title, {"language": ours, **others}, digits=1)
    by = {name.removeprefix("by/"): value for name, value in percent.items() if name.startswith("by/")}
    show("right, of the sentences that name", {"language": by}, digits=1)


def _read(path: Path, weights: str, json_file: Path | None) -> None:
    """Say what of each sentence is known, and look for each in a grey image, which must not fail."""
    import torch

    from scenegraph_track.evaluation.tally import write_figures
    from scenegraph_track.files import read_text
    from scenegraph_track.language.questions import question
    from scenegraph_track.language.reading import Reader

    reader = Reader.load(weights)
    look = reader.look(torch.full((3, 96, 128), 0.5))
    table: dict[str, Any] = {}
    for number, line in enumerate(line for line in read_text(path).splitlines() if line.strip()):
        name, tab, text = line.partition("\t")
        name, text = (name, text) if tab else (str(number), line)
        places = reader.places(look, text)
        asked, reading = question(text)
        out().print(f"{name}: {text}", markup=False, highlight=False)
        unknown = ", ".join(reading.unknown) or "-"
        known = ", ".join(f"{key} {value}" for key, value in asked.looks.items()) or "-"
        say(f"  unknown words: {unknown}; looks: {known}")
        table[name] = {"sentence": text, "unknown": list(reading.unknown), "places": len(places)}
    if json_file:
        write_figures({"sentences": table}, json_file)

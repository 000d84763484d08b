"""``scenegraph-track track``: from videos or sequences with detections to tracks, annotated videos and scene graphs."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenegraph_track.cli.console import FAILED, BadUsage, Failed, complain, note, say, usage
from scenegraph_track.cli.crew import ALONE, Crew, workers_option

if TYPE_CHECKING:
    from scenegraph_track.cli.batch import Batch
    from scenegraph_track.config import Config
    from scenegraph_track.data.sequences import Sequence

_FILES = "Files"
_RUN = "Running"
_TARGETS = "Targets"


def track(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A video, a folder or glob of images, a sequence (MOTChallenge, KITTI, DAVIS, single-object "
            "benchmarks), or a folder of many of them.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A named configuration or a YAML file.")
    ] = "reference",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one setting, as tracker.life.hidden_seconds=2; repeatable."
        ),
    ] = None,
    init: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="Follow what this box holds: left, top, width and height in pixels; repeatable. Nothing has to be "
            "detected then. The target models that ship follow it, or those of target.weights.",
            rich_help_panel=_TARGETS,
        ),
    ] = None,
    frame: Annotated[
        list[int] | None,
        typer.Option(
            metavar="K",
            min=0,
            help="The frame, from 0, that the boxes are in: one for all, or one for each --init.  [default: 0]",
            rich_help_panel=_TARGETS,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="SENTENCE",
            help='Follow what a sentence means, as "the green striped disk behind the pillar": from the first frame in '
            "which it is found, or from the box of --init, which it then helps to keep.",
            rich_help_panel=_TARGETS,
        ),
    ] = None,
    detections: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|FOLDER",
            help="Detections in MOTChallenge format: one file, or a folder with SEQUENCE.txt or "
            "SEQUENCE/det/det.txt; otherwise those beside the sequence.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for SEQUENCE.txt (MOTChallenge results), .mp4, .graph.jsonl and .run.json (how they were "
            "made).",
            rich_help_panel=_FILES,
        ),
    ] = Path("out"),
    save_video: Annotated[
        bool,
        typer.Option(
            "--save-video",
            help="Write SEQUENCE.mp4: the tracks drawn on the frames, or on an empty ground where there are none.",
            rich_help_panel=_FILES,
        ),
    ] = False,
    save_graph: Annotated[
        bool,
        typer.Option(
            "--save-graph",
            help="Write SEQUENCE.graph.jsonl, the scene graph of a frame a line.",
            rich_help_panel=_FILES,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Make everything again. Without it, finished sequences are skipped, and files that another command "
            "or configuration made are left alone.",
            rich_help_panel=_FILES,
        ),
    ] = False,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Link tracks over gaps and fill them once a whole sequence is known.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    horizon: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="The same with what comes up to so long after each frame: 0 is online (the default).",
            rich_help_panel=_RUN,
        ),
    ] = None,
    no_images: Annotated[
        bool,
        typer.Option(
            "--no-images",
            help="Track by the boxes alone although there are frames; --save-video still draws on them.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    frame_rate: Annotated[
        float | None,
        typer.Option(
            metavar="FPS",
            min=0.01,
            max=10_000,
            help="Frames per second, in place of what the sequence says (30 where it says nothing).",
            rich_help_panel=_RUN,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help="A device: auto, cpu, cuda, cuda:1, mps. Checked only: all computes on the CPU so far.",
            rich_help_panel=_RUN,
        ),
    ] = "auto",
    workers: Annotated[
        Crew,
        workers_option("Processes, a sequence each; the results do not depend on it.", rich_help_panel=_RUN),
    ] = ALONE,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings as YAML and leave.", rich_help_panel=_RUN)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Track the objects of one video or of many sequences.

    Given again after a kill, the same command keeps finished sequences and begins the others anew. Where a sequence
    fails, the others are done all the same.
    """
    from scenegraph_track.config import dump_config, load_config

    with usage():
        loaded = load_config(config, settings or ())
        boxes = _boxes(init or [], frame or [], no_images)
        loaded = _reading(loaded, text, no_images) if text is not None else loaded
        loaded = _following(loaded) if boxes or text else loaded
    if print_config:
        say(dump_config(loaded).rstrip())
        return
    if source is None:
        raise BadUsage("track: expected a SOURCE: a video, a folder or glob of images, a sequence or a folder of them")

    from scenegraph_track.cli.batch import Batch
    from scenegraph_track.cli.devices import choose_device
    from scenegraph_track.tracking.run import GivenTarget, RunOptions

    with usage():
        choose_device(device)
        sequences = _sequences(source, detections, frame_rate, quiet)
        if boxes and len(sequences) > 1:
            raise BadUsage(f"--init: expected one sequence, found {len(sequences)} in {source}")
        targets = tuple(GivenTarget(number, box) for number, box in boxes)
        wanted = RunOptions(_horizon(offline, horizon), save_video, save_graph, not no_images, targets)
        batch = Batch(loaded, out, wanted, workers, quiet)
        done = {s.name: batch.finished(s, overwrite) for s in sequences}
    finished = [s for s in sequences if done[s.name]]
    if finished and not quiet:
        note(f"{len(finished)} of {len(sequences)} sequences are finished already and skipped")
    _run(batch, [s for s in sequences if not done[s.name]], finished, quiet)


def _boxes(inits: list[str], frames: list[int], no_images: bool) -> list[tuple[int, tuple[float, float, float, float]]]:
    """Frames and boxes (left, top, right, bottom) that are given."""
    if no_images and inits:
        raise BadUsage("track: expected --init or --no-images, found both")
    if len(frames) not in {0, 1, len(inits)} or (frames and not inits):
        raise BadUsage(f"--frame: expected one, or one for each of {len(inits)} --init, found {len(frames)}")
    frames = frames * len(inits) if len(frames) == 1 else frames or [0] * len(inits)
    return [(frame, _box(text)) for frame, text in zip(frames, inits)]


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        left, top, width, height = (float(part) for part in text.split(","))
    except ValueError:
        left = top = width = height = math.nan
    if not (math.isfinite(left + top + width + height) and width > 0 and height > 0):
        raise BadUsage(f"--init {text}: expected left,top,width,height in pixels, as 120,80,40,60")
    return left, top, left + width, top + height


def _following(config: Config) -> Config:
    """The settings, with the target models that ship where they name none."""
    if config.target.weights != "none":
        return config
    return config.model_copy(update={"target": config.target.model_copy(update={"weights": "embedded"})})


def _reading(config: Config, text: str, no_images: bool) -> Config:
    """The settings with a sentence, and the language network that ships where they name none."""
    from scenegraph_track.language.reading import Reader, unknown_words

    if no_images:
        raise BadUsage("track: expected --text or --no-images, found both")
    settings = config.language.model_copy(update={"text": text.strip()})
    if settings.weights == "none":
        settings = settings.model_copy(update={"weights": "embedded"})
    reader = Reader.load(settings.weights)
    if unknown := unknown_words(reader, text):
        note(f"--text: nothing is known of {', '.join(unknown)}")
    if not text.strip() or not reader.tells(text):
        raise BadUsage(f'--text "{text}": expected words of looks, place or motion, found none that are known')
    return config.model_copy(update={"language": settings})


def _horizon(offline: bool, seconds: float | None) -> float:
    if seconds is None:
        return math.inf if offline else 0.0
    if offline:
        raise BadUsage("track: expected --offline or --horizon SECONDS, found both")
    if not seconds >= 0:
        raise BadUsage(f"--horizon: expected at least 0 seconds, found {seconds:g}")
    return seconds


def _sequences(source: str, detections: Path | None, frame_rate: float | None, quiet: bool) -> list[Sequence]:
    from scenegraph_track.data.sequences import find_sequences, override_detections

    sequences = find_sequences(source)
    if detections is not None:
        sequences = override_detections(sequences, detections)
    if frame_rate is not None:
        sequences = [replace(s, frame_rate=frame_rate, frame_rate_known=True) for s in sequences]
    assumed = [s for s in sequences if not s.frame_rate_known and s.video is None]
    if assumed and not quiet:
        which = assumed[0].name if len(assumed) == 1 else f"{len(assumed)} sequences"
        note(f"{which}: nothing tells the frame rate; {assumed[0].frame_rate:g} per second is assumed (--frame-rate)")
    return sequences


def _run(batch: Batch, sequences: list[Sequence], finished: list[Sequence], quiet: bool) -> None:
    from scenegraph_track.cli.batch import Failure

    started, frames, failures = time.perf_counter(), 0, []
    for sequence, outcome in batch.run(sequences, finished):
        if isinstance(outcome, Failure):
            failures.append(outcome)
            continue
        frames += outcome.frames
        if not quiet:
            unreadable = sum(broken.index < outcome.frames for broken in outcome.broken)
            broken = f", {unreadable} of them unreadable" if unreadable else ""
            note(f"{sequence.name}: {outcome.frames} frames{broken}, {outcome.frames / outcome.seconds:.0f} per second")
    done, seconds = len(sequences) - len(failures), time.perf_counter() - started
    if done and not quiet:
        say(f"{done} sequence{'s' * (done != 1)}, {frames} frames in {seconds:.1f} s: {batch.folder}")
    for failure in failures:
        complain(failure.text)
    if failures:
        raise Failed(FAILED if done else min(failure.code for failure in failures))

"""Run the tracker over one sequence: read, step, write."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from scenegraph_track.config import Config, SceneSettings
from scenegraph_track.data.measured import measured_files
from scenegraph_track.data.mot import DetectionFile, write_results
from scenegraph_track.data.sequences import Sequence
from scenegraph_track.data.video import BrokenFrame, warn_if_broken_off
from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_write
from scenegraph_track.graph.export import read_jsonl, to_json_line
from scenegraph_track.structures import Frame, SceneGraph, Tracks
from scenegraph_track.tracking import scene_model
from scenegraph_track.tracking.annotate import AnnotatedVideo, drawable_scene, drawable_tracks
from scenegraph_track.tracking.correction import EMBEDDED
from scenegraph_track.tracking.emission import weights_path
from scenegraph_track.tracking.frames import SequenceFrames
from scenegraph_track.tracking.offline import Names, refine
from scenegraph_track.tracking.offline_graph import refined_scenes
from scenegraph_track.tracking.outputs import GRAPH, RESULT, VIDEO, Outputs
from scenegraph_track.tracking.targets import cut_at_image
from scenegraph_track.tracking.tracker import Tracker, tracks_of
from scenegraph_track.version import __version__

logger = logging.getLogger(__name__)

Tick = Callable[[int], None]
"""Called with the number of frames that are done since the last call."""


@dataclass(frozen=True)
class GivenTarget:
    """What a user wants followed.

    Args:
        frame: 0-based, the one in which it is shown.
        box: Where, left, top, right, bottom, pixels.
    """

    frame: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class RunOptions:
    """What is wanted of a run besides its result file.

    Args:
        horizon: Seconds that a frame may wait for what comes after it: linking, interpolation and what is shown are
            decided then.  0: at once; infinite: once the whole sequence is known.
        save_video: Write the frames with the tracks drawn on them.
        save_graph: Write the scene graph of every frame.
        images: Let the tracker look at the images where the sequence has some.
        targets: What is to be followed besides what is detected.
    """

    horizon: float = 0.0
    save_video: bool = False
    save_graph: bool = False
    images: bool = True
    targets: tuple[GivenTarget, ...] = ()

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the files that are wanted."""
        return (RESULT, *((VIDEO,) if self.save_video else ()), *((GRAPH,) if self.save_graph else ()))


@dataclass(frozen=True)
class RunReport:
    """What happened in a run.

    Args:
        sequence: Name of the sequence.
        frames: Number of frames.
        seconds: Time from the first to the last line of the run.
        files: What was written.
        broken: Frames that could not be read; they were tracked by their detections alone.
    """

    sequence: str
    frames: int
    seconds: float
    files: tuple[Path, ...]
    broken: tuple[BrokenFrame, ...]


def run_sequence(
    sequence: Sequence,
    config: Config,
    folder: str | Path,
    options: RunOptions = RunOptions(),
    tick: Tick = lambda frames: None,
    tracker: Tracker | None = None,
) -> RunReport:
    """Track one sequence and write ``folder/<name>.txt`` and what else is wanted; files appear whole or not at all.

    Files of the same names are replaced; ask :meth:`Outputs.finished` first.

    Args:
        sequence: What to track.
        config: Settings.
        folder: Where the results go; it is made if need be.
        options: What is wanted.
        tick: Is told of the progress.
        tracker: Of :func:`tracker_of`, for those who run many sequences; None: made here.

    Raises:
        UserError: There are no detections, or there is no frame in which a target is given, or no place in it.
        FormatError: A file of the sequence does not fit its format.
    """
    started = time.perf_counter()
    outputs = Outputs(Path(folder), sequence.name)
    detections = _detections(sequence, config, options)
    sees = _sees(sequence, config, options)
    decode = sees or (options.save_video and _has_images(sequence))
    least = 0 if detections is None else detections.length
    frames = SequenceFrames(sequence, decode, least, sees and config.geometry.measured)
    _refuse_targets(options.targets, frames, sequence)
    if isinstance(sequence.video, Path) and not decode:
        warn_if_broken_off(sequence.video)
    if detections is not None and frames.length is not None and least > frames.length:
        logger.warning(
            "%s: detections after frame %d, the last of the sequence, are left out", detections.path, frames.length
        )
    facts: dict[str, Any] = {}
    with outputs.making(recipe(sequence, config, options), facts) as work:
        result, graph = work / outputs.path(RESULT).name, work / outputs.path(GRAPH).name
        with ExitStack() as files:
            lines = files.enter_context(atomic_write(graph)) if options.save_graph else None
            video = None
            if options.save_video:
                size = frames.size or ((640, 480) if detections is None else _extent(detections))
                video = AnnotatedVideo(work / outputs.path(VIDEO).name, size, frames.frame_rate)
                files.enter_context(video)
            live = None if options.horizon else video
            tracker = tracker or tracker_of(config, options)
            tracks = tracks_of(_steps(tracker, frames, detections, options.targets, sees, lines, live, tick))
            _refuse_late(options.targets, frames.count, sequence)
            if options.horizon:
                tracks, names = refine(tracks, frames.frame_rate, frames.size, config.tracker, options.horizon)
                if video is not None:
                    _draw(tracks, frames, video, tick)
        if options.horizon and options.save_graph:
            _refine_graph(graph, tracks, names)
        write_results(result, tracks)
        facts |= {"frames": frames.count, "broken": [[b.index, b.reason] for b in frames.broken]}
    made = tuple(outputs.path(suffix) for suffix in options.suffixes)
    return RunReport(sequence.name, frames.count, time.perf_counter() - started, made, frames.broken)


def recipe(sequence: Sequence, config: Config, options: RunOptions) -> dict[str, Any]:
    """Everything that the results of a run depend on, as JSON values; where the files lie is no part of it."""
    frames: dict[str, Any] = {"rate": sequence.frame_rate, "length": sequence.length, "size": sequence.size}
    if _sees(sequence, config, options):
        files = sequence.images or (Path(str(sequence.video)),)
        listing = "".join(f"{path.name} {path.stat().st_size if path.is_file() else 0}\n" for path in files)
        frames["images"] = hashlib.sha256(listing.encode()).hexdigest()
        if config.geometry.measured and sequence.measured is not None:
            sums = "".join(f"{path.name} {_digest(path)}\n" for path in measured_files(sequence.measured))
            frames["measured"] = hashlib.sha256(sums.encode()).hexdigest()
    values = {
        "version": __version__,
        "configuration": config.model_dump(),
        "rules": _digest(weights_path()),
        "weights": _weights(config),
        "mode": "offline" if math.isinf(options.horizon) else options.horizon or "online",
        "detections": sequence.detections and _digest(sequence.detections),
        "targets": [asdict(target) for target in options.targets],
        "frames": frames,
    }
    return json.loads(json.dumps(values))


def tracker_of(config: Config, options: RunOptions) -> Tracker:
    """The tracker of a run, without the learned scene graph where nothing is written that it changes."""
    scene_model.learned_scene(config.tracker.scene)  # what is missing or does not fit is said, needed or not
    if options.save_graph or options.save_video:
        return Tracker(config)
    without = config.tracker.model_copy(update={"scene": SceneSettings()})
    return Tracker(config.model_copy(update={"tracker": without}))


def _weights(config: Config) -> dict[str, str]:
    """Digests of the weights in use, those that ship and those that are files."""
    from detectors.embedded import SHIPPED
    from geometry.weights import embedded_weights
    from scenegraph_track.language import embedded as language
    from scenegraph_track.target import embedded as target

    graph = config.tracker.graph.weights
    files = {"graph": str(EMBEDDED) if graph == "embedded" else graph}
    scene = config.tracker.scene.weights
    files["scene"] = str(scene_model.EMBEDDED) if scene == "embedded" else scene
    files["target"] = str(target.SHIPPED) if config.target.weights == "embedded" else config.target.weights
    files["language"] = str(language.SHIPPED) if config.language.weights == "embedded" else config.language.weights
    for name, named in (("flow", config.geometry.flow), ("depth", config.geometry.depth)):
        files[name] = str(embedded_weights(name)) if named == "embedded" else named
    if config.detector.kind == "slots":
        files["detector"] = str(SHIPPED) if config.detector.weights == "embedded" else config.detector.weights
    return {name: _digest(Path(file)) for name, file in files.items() if Path(file).is_file()}


def _steps(
    tracker: Tracker,
    frames: Iterable[Frame],
    detections: DetectionFile | None,
    targets: Iterable[GivenTarget],
    sees: bool,
    lines: IO[str] | None,
    video: AnnotatedVideo | None,
    tick: Tick,
) -> Iterator[SceneGraph]:
    """Scene after scene, written as soon as it is there."""
    state = tracker.start()
    for frame in frames:
        seen = frame if sees else Frame(frame.index, frame.timestamp, size=frame.size)
        for target in targets:
            if target.frame == frame.index:
                state, _ = tracker.add_target(state, seen, target.box)
        state, scene = tracker.step(state, seen, None if detections is None else detections.frame(frame.index))
        if lines is not None:
            lines.write(to_json_line(scene) + "\n")
        if video is not None:
            video.write(frame, drawable_scene(scene, video.size))
        tick(1)
        yield scene
    text = tracker.config.language.text
    if text and state.targets is None:
        logger.warning('nothing in these frames matches "%s": no target is followed', text)


def _draw(tracks: Tracks, frames: Iterable[Frame], video: AnnotatedVideo, tick: Tick) -> None:
    seen: dict[int, float] = {}
    for frame in frames:
        video.write(frame, drawable_tracks(tracks.at(frame.index), seen, frame.timestamp))
        tick(1)


def _refine_graph(path: Path, tracks: Tracks, names: Names) -> None:
    with atomic_write(path) as lines:
        for scene in refined_scenes(read_jsonl(path), tracks, names):
            lines.write(to_json_line(scene) + "\n")


def _refuse_late(targets: Iterable[GivenTarget], length: int | None, sequence: Sequence) -> None:
    late = max((target.frame for target in targets), default=-1)
    if length is not None and late >= length:
        raise UserError(f"{sequence.path}: a target is given in frame {late}, the last one is {length - 1} (from 0)")


def _refuse_targets(targets: Iterable[GivenTarget], frames: SequenceFrames, sequence: Sequence) -> None:
    if sequence.video is None:
        _refuse_late(targets, frames.length, sequence)
    for target in targets:
        assert frames.size is not None  # it is seen
        if cut_at_image(target.box, frames.size) is None:
            left, top, right, bottom = target.box
            raise UserError(
                f"--init {left:g},{top:g},{right - left:g},{bottom - top:g}: expected left,top,width,height of a box "
                f"inside the image of {frames.size[0]} x {frames.size[1]} pixels"
            )


def _detections(sequence: Sequence, config: Config, options: RunOptions) -> DetectionFile | None:
    """The detections beside a sequence; None where the detector of the settings finds them, or targets are followed."""
    follows = bool(options.targets) or bool(config.language.text)
    if follows and not (options.images and _has_images(sequence)):
        raise UserError(f"{sequence.path}: there are no images to follow a target in")
    if _discovers(sequence, config, options):
        return None
    if config.target.alone and not follows:
        raise UserError(f"{sequence.path}: this configuration follows given targets only: add --init x,y,w,h or --text")
    if follows and (config.target.alone or sequence.detections is None):
        return None
    if sequence.detections is None:
        raise UserError(
            f"{sequence.path}: there are no detections beside it; give them "
            "with --detections FILE (lines frame,-1,left,top,width,height,score, frames from 1) or FOLDER "
            f"(with {sequence.name}.txt), or let --config embedded find the objects in the images"
        )
    detections = sequence.read_detections()
    if not len(detections):
        logger.warning("%s: there are no detections in this file", detections.path)
    return detections


def _discovers(sequence: Sequence, config: Config, options: RunOptions) -> bool:
    return config.detector.kind != "none" and options.images and sequence.detections is None and _has_images(sequence)


def _has_images(sequence: Sequence) -> bool:
    return sequence.images is not None or sequence.video is not None


def _sees(sequence: Sequence, config: Config, options: RunOptions) -> bool:
    """Whether the tracker looks at images."""
    uses = config.tracker.motion.camera or config.geometry.measured or config.geometry.flow != "none"
    uses = uses or bool(options.targets) or bool(config.language.text)
    return (options.images and uses and _has_images(sequence)) or _discovers(sequence, config, options)


def _extent(detections: DetectionFile) -> tuple[int, int]:
    """(W, H) that holds all boxes, where nothing tells the size of the images."""
    if not len(detections):
        return 640, 480
    ends = (detections.rows[:, 2:4] + detections.rows[:, 4:6]).max(0)
    return tuple(max(16, math.ceil(end)) for end in ends)  # type: ignore[return-value]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

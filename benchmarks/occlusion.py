"""Identity through occlusion on held-out sequences ``long_occlusion``, beside the peers on the same boxes.

    python benchmarks/occlusion.py [--worlds 8] [--weights graph.safetensors] [--plot occlusion.png] [--json FILE]

Detection streams and, if wanted, rendered worlds of the split test; all trackers get boxes alone.  Each runs at its
default memory of hidden objects (a second) and once more with a longer one.  The peers are those of the package
``trackers`` (the extra ``bench``) at their other defaults; their thresholds are made for scores in [0, 1], so they get
the surenesses that the reference tracker makes of raw scores (``--raw-scores``: the scores as they stand).  With
``--out`` the sequences and results stay there, for ``scenegraph-track eval occlusion``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402

from scenegraph_track.cli.eval_occlusion import judge_occlusion  # noqa: E402
from scenegraph_track.config import load_config  # noqa: E402
from scenegraph_track.data.mot import write_results  # noqa: E402
from scenegraph_track.data.sequences import Sequence, find_sequences  # noqa: E402
from scenegraph_track.data.streams import simulate, write_mot  # noqa: E402
from scenegraph_track.data.worlds.export import synthesise  # noqa: E402
from scenegraph_track.errors import UserError  # noqa: E402
from scenegraph_track.evaluation.occlusion_report import (  # noqa: E402
    PROTOCOL,
    check_picture,
    draw_occlusion,
    print_occlusion,
)
from scenegraph_track.evaluation.tally import write_figures  # noqa: E402
from scenegraph_track.structures import Tracks  # noqa: E402
from scenegraph_track.tracking.run import RunOptions, run_sequence  # noqa: E402
from scenegraph_track.tracking.scores import remember, surenesses  # noqa: E402

Runner = Callable[[Sequence, Path], object]
PRESET, SPLIT = "long_occlusion", "test"
PEERS = {
    "SORT": ("SORTTracker", {}),
    "ByteTrack": ("ByteTrackTracker", {}),
    "OC-SORT": ("OCSORTTracker", {}),
    "C-BIoU": ("CBIoUTracker", {}),
    "BoT-SORT": ("BoTSORTTracker", {"enable_cmc": False}),
}
BUFFER_RATE = 30.0
"""Frames a second in which the peers count their memory, whatever the video's rate."""


def ours(settings: list[str]) -> Runner:
    """The reference tracker with some settings changed."""
    config = load_config("reference", settings)
    return lambda sequence, folder: run_sequence(sequence, config, folder, RunOptions(images=False))


def peer(kind: str, options: dict[str, object], raw: bool) -> Runner:
    """A tracker of the package ``trackers``."""
    import supervision
    import trackers

    def run(sequence: Sequence, folder: Path) -> None:
        tracker = getattr(trackers, kind)(frame_rate=sequence.frame_rate, **options)
        frames, held = [], []
        for index, (boxes, scores) in enumerate(stream(sequence, raw)):
            found = supervision.Detections(
                xyxy=boxes.astype(np.float32),
                confidence=scores.astype(np.float32),
                class_id=np.zeros(len(boxes), dtype=int),
            )
            tracked = tracker.update(found)
            if tracked.tracker_id is not None:
                held.append(tracked[tracked.tracker_id >= 0])
                frames.append(np.full(len(held[-1]), index))
        ids = np.concatenate([[], *(part.tracker_id for part in held)])
        boxes = np.concatenate([np.zeros((0, 4)), *(part.xyxy for part in held)])
        write_results(
            folder / f"{sequence.name}.txt", Tracks.from_arrays(np.concatenate([[], *frames]), ids + 1, boxes)
        )

    return run


def stream(sequence: Sequence, raw: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Boxes (N, 4) and scores (N,) of every frame, the scores as they stand or as surenesses."""
    detections, size = sequence.read_detections(), load_config("reference").tracker.scores.memory
    memory, last = np.zeros((0, 2)), (np.zeros((0, 4)), np.zeros(0))
    for index in range(sequence.length or detections.length):
        found = detections.frame(index)
        boxes, scores = found.boxes.numpy(), found.scores.numpy()
        memory = remember(memory, *last, boxes, size)
        last = boxes, scores
        yield boxes, scores if raw else surenesses(scores, memory)


def runners(weights: list[Path], raw: bool, seconds: float | None) -> dict[str, Runner]:
    """All trackers by name, with their own memory of hidden objects (None) or one of so many seconds."""
    life = [] if seconds is None else [f"tracker.life.hidden_seconds={seconds:g}"]
    buffer = {} if seconds is None else {"lost_track_buffer": round(seconds * BUFFER_RATE)}
    made = {"reference": ours(life)}
    made |= {f"graph {path.stem}": ours([*life, f"tracker.graph.weights={path}"]) for path in weights}
    try:
        made |= {name: peer(kind, {**options, **buffer}, raw) for name, (kind, options) in PEERS.items()}
    except ImportError:
        print('no peers: pip install -e ".[bench]"')
    return made if seconds is None else {f"{name}, {seconds:g} s": runner for name, runner in made.items()}


def make_sequences(folder: Path, arguments: argparse.Namespace) -> dict[str, list[Sequence]]:
    """The held-out sequences, streams and worlds apart."""
    for seed in range(arguments.seeds):
        write_mot(simulate(PRESET, seed, SPLIT, arguments.frames), folder / "streams", overwrite=True)
    if arguments.worlds:
        synthesise(folder / "worlds", PRESET, SPLIT, 0, arguments.worlds, size=(160, 120), overwrite=True)
    return {kind: find_sequences(folder / kind) for kind in ("streams", "worlds") if (folder / kind).is_dir()}


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run all trackers over all sequences; print, draw and return the figures."""
    console, figures = Console(), {}
    kinds = make_sequences(folder / "data", arguments)
    usual = runners(arguments.weights, arguments.raw_scores, None)
    all_runners = usual | runners(arguments.weights, arguments.raw_scores, arguments.hidden_seconds)
    for kind, sequences in kinds.items():
        figures[kind] = {}
        for name, runner in all_runners.items():
            results = folder / "results" / kind / name
            results.mkdir(parents=True, exist_ok=True)
            for sequence in sequences:
                runner(sequence, results)
            files = {sequence.name: results / f"{sequence.name}.txt" for sequence in sequences}
            figures[kind][name] = judge_occlusion(sequences, files)
        console.print(f"\n{kind}: {len(sequences)} sequences {PRESET}, split {SPLIT}\n")
        print_occlusion(figures[kind], console)
        if arguments.plot:
            path = arguments.plot
            draw_occlusion(
                figures[kind], path if kind == "streams" else path.with_stem(f"{path.stem}-{kind}"), len(usual)
            )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=24, help="detection streams")
    parser.add_argument("--frames", type=int, default=600, help="frames of each")
    parser.add_argument("--worlds", type=int, default=0, help="rendered worlds of 64 frames, 160x120")
    parser.add_argument("--hidden-seconds", type=float, default=6.0, help="the longer memory")
    parser.add_argument(
        "--weights", type=Path, action="append", default=[], help="weights of a graph tracker; may be repeated"
    )
    parser.add_argument("--raw-scores", action="store_true", help="give the peers the scores as they stand")
    parser.add_argument("--out", type=Path, help="leave sequences and results in this folder")
    parser.add_argument("--plot", type=Path, help="draw the curves (.png, .svg or .pdf); worlds as <name>-worlds")
    parser.add_argument("--json", type=Path, help="write all figures as JSON")
    arguments = parser.parse_args()
    if arguments.seeds < 1 or arguments.worlds < 0:
        parser.error("expected at least one stream, and no negative number of worlds")
    for path in arguments.weights:
        if not path.is_file():
            parser.error(f"--weights {path}: no such file")
    try:
        if arguments.plot:
            check_picture(arguments.plot)
        with TemporaryDirectory() as temporary:
            figures = measure(arguments, arguments.out or Path(temporary))
        if arguments.json:
            write_figures({**figures, "protocol": list(PROTOCOL)}, arguments.json)
    except UserError as error:
        parser.error(str(error))
    print(*PROTOCOL, sep="\n")


if __name__ == "__main__":
    main()

"""Association alone: frames per second beside the peers on the same boxes, and growth with the number of objects.

    python benchmarks/association.py --data DIR [--plot growth.png] [--json figures.json]

``--data`` is a folder of MOTChallenge sequences.  One core, CPU time, the boxes already in memory.  The peers
are those of the package ``trackers`` (the extra ``bench``) at their defaults.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from scenegraph_track.config import load_config  # noqa: E402
from scenegraph_track.data.sequences import find_sequences  # noqa: E402
from scenegraph_track.structures import Detections, Frame  # noqa: E402
from scenegraph_track.tracking.reference import associate, start_state  # noqa: E402
from scenegraph_track.tracking.situation import prepare  # noqa: E402
from scenegraph_track.tracking.tracker import Tracker  # noqa: E402

Stream = list[tuple[np.ndarray, np.ndarray]]
COUNTS = (10, 20, 50, 100, 200, 300, 500)


def reference(stream: Stream, frame_rate: float) -> None:
    """The association of the reference tracker."""
    state, settings = start_state(), load_config("reference").tracker
    for index, (boxes, scores) in enumerate(stream):
        state, _ = associate(prepare(state, settings, index / frame_rate, boxes, scores))


def whole_step(stream: Stream, frame_rate: float) -> None:
    """The public tracker: association, emission rule and scene graph."""
    tracker = Tracker.from_config("reference")
    state = tracker.start()
    for index, (boxes, scores) in enumerate(stream):
        frame = Frame(index=index, timestamp=index / frame_rate)
        state, _ = tracker.step(state, frame, Detections.from_arrays(boxes, scores))


def peers() -> dict[str, Callable[[Stream, float], None]]:
    """The trackers of the package ``trackers``; none where it is not installed."""
    try:
        import supervision
        import trackers
    except ImportError:
        return {}

    def runner(kind: str, **options: object) -> Callable[[Stream, float], None]:
        def run(stream: Stream, frame_rate: float) -> None:
            tracker = getattr(trackers, kind)(frame_rate=frame_rate, **options)
            for boxes, scores in stream:
                found = supervision.Detections(
                    xyxy=boxes.astype(np.float32),
                    confidence=scores.astype(np.float32),
                    class_id=np.zeros(len(boxes), dtype=int),
                )
                tracker.update(found)

        return run

    kinds = ("SORTTracker", "ByteTrackTracker", "OCSORTTracker", "CBIoUTracker")
    return {kind.removesuffix("Tracker"): runner(kind) for kind in kinds} | {
        "BoTSORT": runner("BoTSORTTracker", enable_cmc=False)
    }


def crowd(objects: int, frames: int, seed: int = 0) -> Stream:
    """So many objects that walk on a plane whose area grows with them (the density stays), with misses and jitter."""
    rng = np.random.default_rng(seed)
    side = 200.0 * np.sqrt(objects)
    place, velocity = rng.uniform(0, side, (objects, 2)), rng.normal(0, 2.0, (objects, 2))
    size = rng.uniform(0.8, 1.2, (objects, 1)) * np.array([[40.0, 100.0]])
    stream = []
    for _ in range(frames):
        place = place + velocity
        velocity = np.where((place < 0) | (place > side), -velocity, velocity)
        seen = rng.random(objects) > 0.1
        centre = (place + rng.normal(0, 2.0, place.shape))[seen]
        boxes = np.concatenate([centre - size[seen] / 2, centre + size[seen] / 2], axis=1)
        stream.append((boxes, rng.uniform(0.3, 1.0, seen.sum())))
    return stream


def seconds_of(run: Callable[[Stream, float], None], streams: list[tuple[Stream, float]], repeats: int) -> float:
    """CPU seconds of one pass over the streams, the best of some repeats."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        for stream, frame_rate in streams:
            run(stream, frame_rate)
        best = min(best, time.process_time() - start)
    return float(best)


def sequences(folder: Path) -> list[tuple[Stream, float]]:
    """The detections of every sequence of a folder, as arrays a frame."""
    streams = []
    for sequence in find_sequences(folder):
        detections = sequence.read_detections()
        found = [detections.frame(k) for k in range(sequence.length or detections.length)]
        stream = [(d.boxes.double().numpy(), d.scores.double().numpy()) for d in found]
        streams.append((stream, sequence.frame_rate))
    return streams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of MOTChallenge sequences")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="write the growth as a picture (needs matplotlib)")
    parser.add_argument("--json", type=Path, help="write the figures as flat name: value")
    arguments = parser.parse_args()
    console = Console()
    figures: dict[str, float] = {}
    runs = {"reference": reference, "reference, with graph": whole_step} | peers()

    if arguments.data:
        streams = sequences(arguments.data)
        frames = sum(len(stream) for stream, _ in streams)
        table = Table("tracker", "frames/s", title=f"{arguments.data.name}: {frames} frames, one core")
        for name, run in runs.items():
            run(streams[0][0][:20], streams[0][1])
            rate = frames / seconds_of(run, streams, arguments.repeats)
            figures[f"fps/{name}"] = round(rate, 1)
            table.add_row(name, f"{rate:,.0f}")
        console.print(table)

    table = Table("objects", *runs, title="milliseconds a frame")
    growth: dict[str, list[float]] = {name: [] for name in runs}
    for count in COUNTS:
        stream = crowd(count, max(20, 2000 // count))
        for name, run in runs.items():
            cost = seconds_of(run, [(stream, 25.0)], arguments.repeats) / len(stream) * 1000
            growth[name].append(cost)
            figures[f"ms/{name}/{count}"] = round(cost, 3)
        table.add_row(str(count), *(f"{growth[name][-1]:.2f}" for name in runs))
    console.print(table)
    per_object = growth["reference"][-1] / COUNTS[-1] / (growth["reference"][0] / COUNTS[0])
    figures["cost_per_object_500_over_10"] = round(per_object, 3)
    console.print(f"reference: cost per object at {COUNTS[-1]} over that at {COUNTS[0]} objects: {per_object:.2f}")

    if arguments.plot:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(6, 4))
        for name, costs in growth.items():
            axes.loglog(COUNTS, costs, marker="o", label=name, linewidth=2.5 if name == "reference" else 1.2)
        line = [growth["reference"][0] * n / COUNTS[0] for n in COUNTS]
        axes.loglog(COUNTS, line, "k:", label="linear")
        axes.set(xlabel="objects", ylabel="ms a frame")
        axes.legend(fontsize=8)
        figure.tight_layout()
        figure.savefig(arguments.plot, dpi=120)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

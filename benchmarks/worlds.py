"""How fast the worlds are made, on one core: ``python benchmarks/worlds.py --json out.json``.

Rendered worlds are drawn from the preset "standard" with all ground truth (sampling included) and counted by CPU time,
after a warm-up that fills the cache of ground tiles as a long training run does; detection streams have 20 objects.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2

from scenegraph_track.data.worlds import iter_frames, sample_scene

TARGETS = {"rendered_128_fps": 200.0, "rendered_480_fps": 25.0, "streams_fps": 5000.0}


def rendered_fps(size: tuple[int, int], scenes: int, warm_up: int) -> float:
    """Frames per CPU second of ``scenes`` clips of the usual 24 frames."""
    for seed in range(warm_up):
        sample_scene("standard", "train", seed=10_000 + seed, size=size, frames=2)
    for _ in iter_frames(sample_scene("standard", "train", seed=9_999, size=size)):
        pass
    start, frames = time.process_time(), 0
    for seed in range(scenes):
        frames += sum(1 for _ in iter_frames(sample_scene("standard", "train", seed=seed, size=size)))
    return frames / (time.process_time() - start)


def streams_fps(streams: int = 12, frames: int = 400) -> float:
    """Frames per CPU second of detection streams with 20 objects."""
    from scenegraph_track.data.streams import simulate

    simulate(seed=1_000, frames=frames, objects=20)
    start = time.process_time()
    for seed in range(streams):
        simulate(seed=seed, frames=frames, objects=20)
    return streams * frames / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--scenes", type=int, default=40, help="clips of 24 frames to render at 128 x 128")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    figures = {
        "rendered_128_fps": rendered_fps((128, 128), options.scenes, 300),
        "rendered_480_fps": rendered_fps((480, 360), max(1, options.scenes // 4), 100),
        "streams_fps": streams_fps(),
    }
    for name, value in figures.items():
        print(f"{name:18s} {value:8.1f}   (target {TARGETS[name]:g})")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Speed of the point tracker on a stream of 256 x 256 pixels, with an untrained network of the default size.

    python benchmarks/points.py [--points 16 64 256] [--stride 4] [--threads 2] [--json FILE]

Wall time, and time of the processor over all threads: the latter tells more where other programs run beside.  Both are
milliseconds a frame, everything included: optical flow, features, and the looks at windows of frames.
"""

from __future__ import annotations

import argparse
import time
from itertools import cycle, islice
from pathlib import Path

import cv2
import torch
from rich.console import Console
from rich.table import Table

from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.evaluation.tally import write_figures
from scenegraph_track.occlusion.point_net import PointNet
from scenegraph_track.occlusion.point_tracker import PointTracker

SIDE = 256
WARM = 12
"""Frames before the time is taken."""

RENDERED = 6


def images(count: int) -> list[torch.Tensor]:
    """Frames (3, H, W) uint8 of the beginning of a held-out world, forward and backward in turn."""
    clip = render(sample_scene("standard", "test", seed=0, size=(SIDE, SIDE), frames=RENDERED))
    frames = [torch.from_numpy(frame.image.transpose(2, 0, 1).copy()) for frame in clip.frames]
    return list(islice(cycle(frames + frames[-2:0:-1]), count))


def measured(tracker: PointTracker, frames: list[torch.Tensor], points: int) -> dict[str, float]:
    """Milliseconds a frame, and frames a second."""
    given = SIDE * torch.rand(points, 2, generator=torch.Generator().manual_seed(0))
    state, wall, processor = tracker.start(), 0.0, 0.0
    for number, image in enumerate(frames):
        if number == WARM:
            wall, processor = time.perf_counter(), time.process_time()
        state, _ = tracker.step(state, image, given if number == 0 else None)
    count = len(frames) - WARM
    wall, processor = (time.perf_counter() - wall) / count, (time.process_time() - processor) / count
    return {"ms": 1000 * wall, "ms_processor": 1000 * processor, "frames_per_second": 1 / wall}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--stride", type=int, help="new frames that are looked at together (default: the network's)")
    parser.add_argument("--threads", type=int, help="default: as torch chooses")
    parser.add_argument("--frames", type=int, default=52)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
        cv2.setNumThreads(arguments.threads)
    torch.manual_seed(0)
    tracker = PointTracker(PointNet().eval().requires_grad_(False), stride=arguments.stride)
    frames = images(arguments.frames)
    figures = {str(points): measured(tracker, frames, points) for points in arguments.points}
    table = Table(
        title=f"{torch.get_num_threads()} threads, {SIDE} x {SIDE}, stride {tracker.stride}", title_justify="left"
    )
    for column in ("points", "ms a frame", "ms of the processor", "frames a second"):
        table.add_column(column, justify="right")
    for points, row in figures.items():
        table.add_row(points, *(f"{value:.1f}" for value in row.values()))
    Console().print(table)
    if arguments.json:
        write_figures({"threads": torch.get_num_threads(), "stride": tracker.stride, "points": figures}, arguments.json)


if __name__ == "__main__":
    main()

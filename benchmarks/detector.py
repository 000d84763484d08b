"""Milliseconds of finding the objects of a frame: backbone, slots, masks and boxes, with and without motion.

    python benchmarks/detector.py --json detector.json

Optical flow and camera motion are not in it (`scenegraph-track eval objects` prints them as ms_cues).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from detectors.embedded import slot_detector
from detectors.slot_detector import SlotDetector
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.discovery import DiscoveryState, discover, discovered_detections

SIZES = ((128, 128), (480, 360))


def milliseconds(net: SlotDetector, size: tuple[int, int], moving: bool, frames: int) -> float:
    """Median wall time of a frame of a rendered world; its exact flow stands in for flow and residual."""
    clip = render(sample_scene("standard", "test", seed=0, size=size, frames=4))
    shown = clip.frames[2]
    image = torch.from_numpy(np.ascontiguousarray(shown.image.transpose(2, 0, 1))).float() / 255
    flow = torch.from_numpy(np.ascontiguousarray(shown.flow_backward.transpose(2, 0, 1)))
    residual = flow - flow.flatten(1).median(1).values[:, None, None] if moving else None
    state, spent = DiscoveryState.start(), []
    for _ in range(frames + 3):
        start = time.perf_counter()
        state, found = discover(net, state, image, residual, flow)
        discovered_detections(found.objects)
        spent.append((time.perf_counter() - start) * 1000)
    return float(np.median(spent[3:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="in place of the detector that ships")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    net = slot_detector(options.weights)
    figures = {
        f"{width}x{height}{'' if moving else '_still'}_ms": milliseconds(net, (width, height), moving, options.frames)
        for width, height in SIZES
        for moving in (True, False)
    }
    for name, value in figures.items():
        print(f"{name:20} {value:8.1f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

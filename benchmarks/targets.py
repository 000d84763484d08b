"""Milliseconds a frame of the target models for 1, 10 and 100 targets, on one core.

    python benchmarks/targets.py --json targets.json

Targets share the features of whole frames of 256 x 256: the backbone runs once, all responses are one product, and
boxes are read round the peaks alone; a few targets get new filters in every frame.  Beside it: the same with memories
that never change, so that no filter is predicted, and each target in a view of its own, as ``track --init`` follows it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.target import embedded
from scenegraph_track.target.follow import follow, start_following
from scenegraph_track.target.followed import Followed, FollowSettings
from scenegraph_track.target.memory import MemoryRules
from scenegraph_track.target.network import TargetNetwork
from scenegraph_track.target.shared import follow_shared, start_shared

COUNTS = (1, 10, 100)
SURE = FollowSettings(memory=MemoryRules(not_found=-1e9, confident=-1e9, distractor=1e9))
"""Every view may be remembered, as often as any can be: the most that a frame can cost."""

BAR = 3.0
"""Cost of 100 targets over that of one, at most."""


def network_of(weights: Path | None) -> tuple[TargetNetwork, str]:
    """Trained target models, or random ones where none ship; how fast they are does not depend on it."""
    if weights is not None or embedded.SHIPPED.is_file():
        return embedded.target_network(weights), str(weights or "embedded")
    torch.manual_seed(0)
    network = TargetNetwork().eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last), "random weights: none ship"


def frames_of(count: int, side: int) -> list[Tensor]:
    clip = render(sample_scene("standard", "test", seed=0, size=(side, side), frames=count))
    images = [np.ascontiguousarray(frame.image.transpose(2, 0, 1)) for frame in clip.frames]
    return [torch.from_numpy(image)[None].float() / 255 for image in images]


def boxes_of(count: int, side: int) -> Tensor:
    """Boxes of 24 to 64 pixels anywhere."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(24, 64, (count, 2))
    corner = rng.uniform(0, side - sides)
    return torch.from_numpy(np.concatenate([corner, corner + sides], 1)).float()


def milliseconds(
    state: Followed, step: Callable[[Followed, Tensor], Followed], frames: list[Tensor], times: int
) -> float:
    """CPU time of a frame: the mean of a run, the least of several."""
    best = np.inf
    for _ in range(times):
        now, start = state, time.process_time()
        for image in frames:
            now = step(now, image)
        best = min(best, (time.process_time() - start) / len(frames))
    return 1000 * float(best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="in place of those that ship")
    parser.add_argument("--side", type=int, default=256, help="of the frames, pixels")
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, what = network_of(options.weights)
    first, *frames = frames_of(options.frames + 1, options.side)
    fixed = SURE.model_copy(update={"interval": 10**9})
    print(f"{what}; frames of {options.side} x {options.side}, CPU milliseconds a frame")
    figures: dict[str, float] = {}
    rows: dict[str, list[float]] = {"shared": [], "shared, fixed memories": [], "own views": []}
    for count in COUNTS:
        boxes = boxes_of(count, options.side)
        shared = start_shared(network, first, boxes)
        steps = {
            "shared": (shared, lambda state, image: follow_shared(network, SURE, state, image)),
            "shared, fixed memories": (shared, lambda state, image: follow_shared(network, fixed, state, image)),
            "own views": (
                start_following(network, SURE, first, boxes),
                lambda state, image: follow(network, SURE, state, image),
            ),
        }
        for name, (state, step) in steps.items():
            some = frames if name != "own views" or count < COUNTS[-1] else frames[: SURE.interval]
            rows[name].append(milliseconds(state, step, some, options.repeats))
    print(f"{'targets':24}" + "".join(f"{count:10d}" for count in COUNTS) + f"{COUNTS[-1]:8d} : 1")
    for name, costs in rows.items():
        ratio = costs[-1] / costs[0]
        print(f"{name:24}" + "".join(f"{cost:10.1f}" for cost in costs) + f"{ratio:12.2f}")
        key = name.replace(", ", "_").replace(" ", "_")
        figures |= {f"{key}/ms_{count}": round(cost, 2) for count, cost in zip(COUNTS, costs)}
        figures[f"{key}/ratio"] = round(ratio, 3)
    kept = "kept" if figures["shared/ratio"] <= BAR else "missed"
    print(f"{COUNTS[-1]} targets that share features cost at most {BAR:g} times as much as one: {kept}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

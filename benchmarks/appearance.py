"""What appearance adds to the tracker: none, colours, filters of target models, and both, on held-out worlds.

    python benchmarks/appearance.py [--worlds 4] [--weights FILE] [--strength K] [--json FILE]

First, how well two looks at objects tell whether they are of one object: area under the ROC curve of the similarity of
the same object against that of others, some time apart.  "response" is the highest response of the filter of the one
in and round the middle of the other, which target models give as well.  Then the tracker (``boxes.yaml``) with each
kind, on the same boxes: visible boxes of rendered worlds of the split test with noise, misses and their visible
fractions as scores.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from scenegraph_track import Tracker  # noqa: E402
from scenegraph_track.config import AppearanceSettings  # noqa: E402
from scenegraph_track.data.worlds import render, sample_scene  # noqa: E402
from scenegraph_track.evaluation.mot import evaluate_sequence  # noqa: E402
from scenegraph_track.evaluation.tally import write_figures  # noqa: E402
from scenegraph_track.structures import Detections, Frame  # noqa: E402
from scenegraph_track.tracking.appearance import unit  # noqa: E402
from scenegraph_track.tracking.looks import looks, middle_features, target_looks  # noqa: E402
from scenegraph_track.tracking.tracker import tracks_of  # noqa: E402

PRESETS = {"standard": 80, "long_occlusion": 100, "crowded": 60}
"""Kinds of worlds and their frames."""

KINDS = ("none", "colour", "target", "both")
RATE, SIZE = 10.0, (256, 192)
LEAST, MISSED, NOISE = 0.25, 0.07, 0.04
"""Visible fraction of what is detected, share of it that is missed, noise of a side in mean sides."""

GAPS = (1, 5, 20)
"""Frames between two looks."""


def world(preset: str, seed: int) -> list[dict[str, np.ndarray]]:
    """Images, truth and detections of a held-out world."""
    clip = render(sample_scene(preset, "test", seed=seed, size=SIZE, frames=PRESETS[preset], frame_rate=RATE))
    rng, frames = np.random.default_rng(seed), []
    for frame in clip.frames:
        seen = frame.visible_fraction > LEAST
        boxes, ids = frame.visible_boxes[seen].astype(float), frame.ids[seen]
        side = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))[:, None]
        found = boxes + rng.normal(0, NOISE, boxes.shape) * side
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 2)
        kept = (rng.random(len(ids)) >= MISSED) & (side[:, 0] > 6)
        scores = (0.5 + 0.5 * frame.visible_fraction[seen]).clip(0, 1)[kept]
        image = torch.from_numpy(frame.image).permute(2, 0, 1).float() / 255
        frames.append(
            {"image": image, "boxes": boxes, "ids": ids, "found": found[kept], "own": ids[kept], "scores": scores}
        )
    return frames


def area_under_curve(same: np.ndarray, other: np.ndarray) -> float:
    """Chance that one of ``same`` is larger than one of ``other``."""
    order = np.concatenate([same, other]).argsort().argsort()[: len(same)]
    return float((order.sum() - len(same) * (len(same) - 1) / 2) / (len(same) * len(other)))


def told_apart(worlds: list[list[dict]], kinds: dict[str, Callable], network) -> dict[str, float]:
    """Areas under the curve by kind and gap, and milliseconds of a frame by kind."""
    seen: dict[tuple[str, int], tuple[list, list]] = {}
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    for frames in worlds:
        for gap in GAPS:
            for start in range(0, len(frames) - gap, 20):
                pair = frames[start], frames[start + gap]
                same = pair[0]["own"][:, None] == pair[1]["own"][None]
                alike = {}
                for kind, look in kinds.items():
                    began = time.perf_counter()
                    first, second = (unit(look(one["image"], one["found"])) for one in pair)
                    spent[kind].append((time.perf_counter() - began) / 2 * 1e3)
                    alike[kind] = first @ second.T
                models = target_looks(network, pair[0]["image"], pair[0]["found"])
                around = middle_features(network, pair[1]["image"], pair[1]["found"])
                alike["response"] = np.einsum("nd,mcd->nmc", models, around).max(2)
                for kind, values in alike.items():
                    told = seen.setdefault((kind, gap), ([], []))
                    told[0].append(values[same])
                    told[1].append(values[~same])
    areas = {
        f"{kind}/auc_{gap / RATE:g}s": area_under_curve(*map(np.concatenate, told))
        for (kind, gap), told in sorted(seen.items())
    }
    return {**areas, **{f"{kind}/ms": float(np.mean(values)) for kind, values in spent.items()}}


def tracked(frames: list[dict], tracker: Tracker) -> dict[str, float]:
    """Figures of a tracker on one world."""
    state, scenes = tracker.start(), []
    for index, one in enumerate(frames):
        found = Detections.from_arrays(one["found"], one["scores"])
        state, scene = tracker.step(state, Frame(index, index / RATE, image=one["image"]), found)
        scenes.append(scene)
    tracks = tracks_of(scenes)
    boxes = tracks.boxes.double().numpy()
    whole = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    rows = np.c_[tracks.frames.numpy() + 1, tracks.ids.numpy(), *whole, tracks.scores.double().numpy()]
    numbers = np.repeat(np.arange(1, len(frames) + 1), [len(one["ids"]) for one in frames])
    boxes = np.concatenate([one["boxes"] for one in frames])
    ones = np.ones(len(boxes))
    ids = np.concatenate([one["ids"] for one in frames])
    truth = np.c_[numbers, ids, boxes[:, :2], boxes[:, 2:] - boxes[:, :2], ones, ones, ones]
    found = evaluate_sequence(truth, rows, len(frames))
    return {figure: float(found[figure]) for figure in ("HOTA", "AssA", "IDF1", "IDSW")}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--worlds", type=int, default=4, help="of each kind")
    parser.add_argument("--weights", default="embedded", help="of the target models: embedded or a file")
    parser.add_argument("--strength", type=float, help="of the graph tracker, in place of that of boxes.yaml")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    worlds = {preset: [world(preset, seed) for seed in range(options.worlds)] for preset in PRESETS}
    weights = [f"tracker.appearance.weights={options.weights}"]
    if options.strength is not None:
        weights.append(f"tracker.graph.strength={options.strength}")
    kinds = {kind: looks(AppearanceSettings(kind=kind, weights=options.weights)) for kind in KINDS[1:]}
    figures = told_apart([one for some in worlds.values() for one in some], kinds, kinds["target"].args[0])
    console = Console()
    table = Table("", *(f"{gap / RATE:g} s apart" for gap in GAPS), "ms a frame", title="Area under the ROC curve")
    for kind in (*kinds, "response"):
        areas = [f"{figures[f'{kind}/auc_{gap / RATE:g}s']:.3f}" for gap in GAPS]
        table.add_row(kind, *areas, f"{figures[f'{kind}/ms']:.1f}" if kind in kinds else "")
    console.print(table)
    table = Table("HOTA AssA IDF1 IDSW", *PRESETS, title="The tracker on the same boxes")
    rows = [("reference", "none", "reference"), *(("graph", kind, "boxes") for kind in KINDS)]
    for label, kind, config in rows:
        tracker = Tracker.from_config(config, [*weights[: 1 + (config == "boxes")], f"tracker.appearance.kind={kind}"])
        cells = []
        for preset, some in worlds.items():
            each = [tracked(frames, tracker) for frames in some]
            mean = {figure: float(np.mean([one[figure] for one in each])) for figure in each[0]}
            figures |= {f"{label}_{kind}/{preset}/{figure}": value for figure, value in mean.items()}
            cells.append(" ".join(f"{value:.1f}" for value in mean.values()))
        table.add_row(f"{label}, {kind}", *cells)
    console.print(table)
    if options.json:
        write_figures(figures, options.json)


if __name__ == "__main__":
    main()

"""What each part of the graph tracker is worth: the same held-out streams, with parts switched off.

``python -m scenegraph_track.training.graph_ablations --weights FILE`` prints the table; parts are switched off in the
trained network, so a part that it could learn to do without looks more important than it is.  ``--beside NAME=FILE``
adds networks that were trained without a part (``scenegraph-track train graph --set graph.recurrent=false``).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from scenegraph_track.config import TrackerSettings, load_config
from scenegraph_track.data.streams import PRESETS, simulate
from scenegraph_track.graph.features import EDGE_CUES, FrameFeatures
from scenegraph_track.graph.graph_tracker import GraphOutput, GraphTracker
from scenegraph_track.tracking.correction import GraphCost, graph_network
from scenegraph_track.tracking.learned import LearnedCost
from scenegraph_track.training.chunks import worker_pool
from scenegraph_track.training.commands import told_plainly, write_json
from scenegraph_track.training.graph import judged

FIGURES = ("HOTA", "AssA", "IDF1", "IDSW")

PRESETS_HELD_OUT = tuple(sorted(set(PRESETS) - {"mixed"}))


@dataclass(frozen=True)
class Variant:
    """A tracker of the table.

    Args:
        cost: What corrects the association, None: nothing.
        settings: Of the tracker.
    """

    cost: LearnedCost | None
    settings: TrackerSettings


class _Without:
    """A network that is not told one cue, in its place in `GraphCost`."""

    def __init__(self, network: GraphTracker, cue: str) -> None:
        self.network, self.width, self.remember = network, network.width, network.remember
        self.cue = list(EDGE_CUES).index(cue)
        self.begin = sum(len(names) for names in list(EDGE_CUES.values())[: self.cue])
        self.end = self.begin + len(EDGE_CUES[cue])

    def infer(self, features: FrameFeatures, memory: torch.Tensor) -> GraphOutput:
        """See `GraphTracker.infer`."""
        edges, available = features.edges.copy(), features.available.copy()
        edges[:, self.begin : self.end] = 0
        available[:, self.cue] = False
        offset = np.zeros_like(features.offset) if self.begin == 0 else features.offset  # motion stands first
        return self.network.infer(replace(features, edges=edges, available=available, offset=offset), memory)


def variants(weights: Path, beside: dict[str, Path], strength: float) -> dict[str, Variant]:
    """The trackers of the table by name."""
    settings = load_config("reference").tracker
    network = graph_network(weights)
    whole = GraphCost(network, strength)
    forgets = settings.model_copy(update={"life": settings.life.model_copy(update={"hidden_seconds": 0.0})})
    table = {
        "reference tracker": Variant(None, settings),
        "graph tracker": Variant(whole, settings),
        "half its correction": Variant(replace(whole, strength=strength / 2), settings),
        "no messages between competitors": Variant(
            replace(whole, network=_changed(network, competition=False)), settings
        ),
        "no memory": Variant(replace(whole, network=_changed(network, recurrent=False)), settings),
        "no permanence": Variant(whole, forgets),
    }
    table |= {f"no {cue}": Variant(GraphCost(_Without(network, cue), strength), settings) for cue in EDGE_CUES}
    for name, path in beside.items():
        table[name] = Variant(GraphCost(graph_network(path), strength), settings)
    return table


def _changed(network: GraphTracker, **changes: bool) -> GraphTracker:
    other = copy(network)
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def compare(
    weights: Path,
    beside: dict[str, Path],
    strength: float,
    presets: Iterable[str],
    seeds: int,
    frames: int,
    workers: int,
) -> dict[str, dict[str, float]]:
    """Means over held-out streams (split ``test``), each preset counting the same, by tracker.

    Args:
        weights: Of the graph tracker.
        beside: Further weights by name.
        strength: Factor of all corrections.
        presets: Kinds of streams.
        seeds: Streams of each.
        frames: Of each stream.
        workers: Processes.

    Raises:
        UserError: Weights are missing or do not fit.
    """
    names = list(variants(weights, beside, strength))
    jobs = [(preset, seed) for preset in presets for seed in range(seeds)]
    one: Callable[[tuple[str, int]], np.ndarray] = partial(
        _figures, weights=weights, beside=beside, strength=strength, frames=frames
    )
    if workers > 1:
        with worker_pool(workers) as pool:
            found = list(pool.map(one, jobs))
    else:
        found = [one(job) for job in jobs]
    means = np.mean(found, axis=0)
    return {name: dict(zip(FIGURES, map(float, row), strict=True)) for name, row in zip(names, means, strict=True)}


def _figures(job: tuple[str, int], weights: Path, beside: dict[str, Path], strength: float, frames: int) -> np.ndarray:
    stream = simulate(job[0], job[1], "test", frames)
    rows = []
    for variant in variants(weights, beside, strength).values():
        result = judged(stream, variant.cost, variant.settings)
        rows.append([result[name] for name in FIGURES])
    return np.array(rows)


def table(rows: dict[str, dict[str, float]]) -> Table:
    """The comparison for a console."""
    shown = Table("tracker", *FIGURES)
    for name, row in rows.items():
        shown.add_row(name, *(f"{row[figure]:.0f}" if figure == "IDSW" else f"{row[figure]:.2f}" for figure in FIGURES))
    return shown


def main() -> None:
    """Run the ablations from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="weights of the graph tracker")
    parser.add_argument("--beside", metavar="NAME=FILE", action="append", default=[], help="further weights")
    parser.add_argument("--strength", type=float, default=1.0, help="factor of all corrections")
    parser.add_argument("--presets", nargs="+", default=PRESETS_HELD_OUT, choices=PRESETS_HELD_OUT, metavar="PRESET")
    parser.add_argument("--seeds", type=int, default=2, help="streams of each preset")
    parser.add_argument("--frames", type=int, default=200, help="frames of each stream")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    asked = parser.parse_args()
    beside = dict(pair.partition("=")[::2] for pair in asked.beside)
    with told_plainly():
        paths = {name: Path(path) for name, path in beside.items()}
        rows = compare(asked.weights, paths, asked.strength, asked.presets, asked.seeds, asked.frames, asked.workers)
    write_json(asked.json, rows)
    Console(soft_wrap=True).print(table(rows))


if __name__ == "__main__":
    main()

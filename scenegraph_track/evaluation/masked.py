"""How well masked targets are followed: AO where 0, 30, 50 and 70 % of the target are hidden from the second frame on.

``python -m scenegraph_track.evaluation.masked --method shipped=embedded --method mine=runs/target/best.safetensors
--json FILE.json`` measures on held-out worlds and prints the figures beside what the published summary claims.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from rich.console import Console
from rich.table import Table

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.masked_clips import MaskedSource
from scenegraph_track.evaluation.single import Judged, judge_boxes, single_figures
from scenegraph_track.evaluation.single_baselines import ConstantPosition, SingleMethod
from scenegraph_track.evaluation.single_clips import SingleSource, SingleWorlds
from scenegraph_track.evaluation.single_methods import TARGET, target_method
from scenegraph_track.evaluation.single_runs import follow
from scenegraph_track.files import atomic_write

SHARES = (0.0, 0.3, 0.5, 0.7)
"""Of a target's box that are hidden."""

FIGURES = ("ao", "sr50", "sr75", "auc")
"""What is told of each share."""

CLAIMS = (
    "over 0.60 AO where 70 % are masked",
    "half of the gain is lost without OccuSolver",
    "about 0.04 AO less without the consistency loss (JEPA)",
)
"""What the summary of GOT-JEPA's paper says; of other data and a far larger network."""


def _target(weights: str) -> SingleMethod:
    method = target_method(weights)
    assert method is not None  # None only where no weights are asked for
    return method


def _with_occusolver(weights: str) -> SingleMethod:
    from scenegraph_track.occlusion.single import OcclusionAwareTracker
    from scenegraph_track.occlusion.visibility import VisibilityTracker

    return OcclusionAwareTracker(_target(weights), VisibilityTracker.from_pretrained(stride=1))  # type: ignore[arg-type]


def _with_surface(weights: str) -> SingleMethod:
    from scenegraph_track.occlusion.single import OcclusionAwareTracker
    from scenegraph_track.occlusion.surface_tracker import SurfaceTracker

    return OcclusionAwareTracker(_target(weights), SurfaceTracker.from_pretrained())  # type: ignore[arg-type]


FOLLOWERS: dict[str, Callable[[str], SingleMethod]] = {
    TARGET: _target,
    "occusolver": _with_occusolver,
    "surface": _with_surface,
    "constant": lambda _: ConstantPosition(),
}
"""Ways to follow a target, from weights; a switch such as OccuSolver is one more of them."""


@dataclass(frozen=True)
class MaskedMethod:
    """A method that is compared.

    Args:
        name: In the table.
        weights: A file, or "embedded".
        follower: One of `FOLLOWERS`.
    """

    name: str
    weights: str = "embedded"
    follower: str = TARGET

    @classmethod
    def parsed(cls, text: str) -> MaskedMethod:
        """From ``NAME=[FOLLOWER:]WEIGHTS``.

        Raises:
            UserError: It has no name or no weights.
        """
        name, _, given = text.partition("=")
        follower, colon, weights = given.partition(":")
        if not colon or follower not in FOLLOWERS:
            follower, weights = TARGET, given
        if not name or not weights:
            raise UserError(f"--method {text}: expected NAME=[FOLLOWER:]WEIGHTS, followers {', '.join(FOLLOWERS)}")
        return cls(name, weights, follower)

    def load(self) -> SingleMethod:
        """The method, ready.

        Raises:
            UserError: The weights are missing or do not fit.
        """
        return FOLLOWERS[self.follower](self.weights)


Figures = dict[str, dict[str, dict[str, float]]]
"""Figures by the names of methods, then by shares as text, then by their own names."""


def measure_masked(
    source: SingleSource,
    methods: Mapping[str, SingleMethod],
    shares: Sequence[float] = SHARES,
    told: Callable[[int], None] | None = None,
) -> Figures:
    """Figures of methods on the clips of a source with masked targets.

    Args:
        source: Of clips with images.
        methods: By name.
        shares: Of the targets' boxes that are hidden.
        told: Called with the number of each group that is done.
    """
    judged: dict[str, dict[float, list[Judged]]] = {name: {share: [] for share in shares} for name in methods}
    for k in range(len(source)):
        clips = source.single_clips(k)
        for share in shares:
            for clip in MaskedSource(_Group(clips, k), share).single_clips(k):
                assert clip.images is not None
                for name, run in follow(methods, clip.images, range(len(clip)), clip.boxes[0]).items():
                    judged[name][share].append(judge_boxes(clip.boxes, run.boxes, clip.absent, clip.size))
        if told is not None:
            told(k)
    return {name: {f"{share:g}": _told(some) for share, some in rows.items()} for name, rows in judged.items()}


@dataclass(frozen=True)
class _Group:
    """One group of clips that were read already."""

    clips: list
    number: int

    def __len__(self) -> int:
        return self.number + 1

    def single_clips(self, k: int) -> list:
        return self.clips


def _told(judged: list[Judged]) -> dict[str, float]:
    figures = single_figures(judged)
    return {name: figures[name] for name in FIGURES}


def masked_table(figures: Figures) -> Table:
    """AO for a console, a row a method."""
    shares = list(next(iter(figures.values())))
    shown = Table("AO, masked", *(f"{100 * float(share):.0f} %" for share in shares))
    for name, rows in figures.items():
        shown.add_row(name, *(f"{rows[share]['ao']:.3f}" for share in shares))
    return shown


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", action="append", default=[], metavar="NAME=[FOLLOWER:]WEIGHTS", help="repeatable")
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES), help="of a target's box")
    parser.add_argument("--preset", default="standard", help="kind of worlds")
    parser.add_argument("--split", default="test", help="part of the worlds: val or test")
    parser.add_argument("--worlds", type=int, default=12, help="how many; two targets of each")
    parser.add_argument("--frames", type=int, default=40, help="of each")
    parser.add_argument("--json", type=Path, help="all figures")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        chosen = [MaskedMethod.parsed(text) for text in asked.method] or [MaskedMethod("target")]
        methods = {"constant position": FOLLOWERS["constant"](""), **{one.name: one.load() for one in chosen}}
        source = SingleWorlds(asked.preset, asked.split, asked.worlds, frames=asked.frames)
        figures = measure_masked(source, methods, asked.shares)
    except UserError as error:
        sys.exit(f"error: {error}")
    if asked.json:
        write_masked(asked.json, str(source), figures)
    console = Console()
    console.print(masked_table(figures))
    console.print(f"{source}. The published summary claims: {'; '.join(CLAIMS)}.", highlight=False)


def write_masked(path: Path, source: str, figures: Any) -> None:
    """Write figures, what they were measured on and the published claims as JSON."""
    with atomic_write(path) as file:
        json.dump({"measured_on": source, "figures": figures, "published_claims": list(CLAIMS)}, file, indent=1)


if __name__ == "__main__":
    main()

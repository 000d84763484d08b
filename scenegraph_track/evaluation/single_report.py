"""Figures of single targets put together: of all sequences and of each, for the table, JSON and CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.evaluation import single, vot
from scenegraph_track.evaluation.single import Judged, Pixels, mean_curves, single_figures
from scenegraph_track.evaluation.single_methods import TARGET
from scenegraph_track.evaluation.single_runs import Measured
from scenegraph_track.evaluation.tally import flat
from scenegraph_track.evaluation.vot import AnchorRuns, choose_interval, vot_figures

VOT = "vot"
"""The protocol of runs from anchors; all others run once, from the first frame."""

PROTOCOLS = (*single.SHOWN, VOT)

Found = Mapping[str, Mapping[str, Measured]]
"""What methods are worth on sequences, by the names of sequences, then of methods."""

Figures = dict[str, dict[str, float]]
"""Figures by the name of the method."""


def method_figures(found: Found) -> Figures:
    """The figures of each method over all sequences on which it was measured."""
    names = dict.fromkeys(name for methods in found.values() for name in methods)
    return {name: _figures([methods[name] for methods in found.values() if name in methods], found) for name in names}


def sequence_figures(found: Found) -> dict[str, Figures]:
    """The figures of each method on each sequence."""
    return {
        sequence: {name: _figures([one], found) for name, one in methods.items()} for sequence, methods in found.items()
    }


def interval_of(found: Found) -> tuple[int, int]:
    """The lengths over which the expected average overlap is averaged."""
    worths = [one.worth for methods in found.values() for one in methods.values()]
    return choose_interval([one for one in worths if isinstance(one, AnchorRuns)])


def _figures(measured: list[Measured], found: Found) -> dict[str, float]:
    once = [one.worth for one in measured if isinstance(one.worth, Judged)]
    if once:
        return single_figures(once)
    return vot_figures([one.worth for one in measured if isinstance(one.worth, AnchorRuns)], interval_of(found))


def times(found: Found) -> dict[str, float]:
    """Milliseconds of CPU time a frame of each method, median over sequences; they are in no file."""
    names = dict.fromkeys(name for methods in found.values() for name in methods)
    return {name: float(np.median([m[name].ms for m in found.values() if name in m])) for name in names}


def method_curves(found: Found) -> dict[str, tuple[NDArray, NDArray, NDArray]]:
    """Success, precision and normalised precision curves of each method, mean over sequences."""
    curves: dict[str, list[Judged]] = {}
    for methods in found.values():
        for name, one in methods.items():
            assert isinstance(one.worth, Judged)
            curves.setdefault(name, []).append(one.worth)
    return {name: mean_curves(judged) for name, judged in curves.items()}


def shown_figures(protocol: str | None) -> tuple[str, ...]:
    """The figures of a protocol; None for all of runs from the first frame."""
    return vot.FIGURES if protocol == VOT else single.SHOWN.get(protocol or "", single.FIGURES)


def rules(protocol: str | None, pixels: Pixels, interval: tuple[int, int] | None) -> list[str]:
    """How was measured, in sentences."""
    if interval is None:
        return single.protocol_of(shown_figures(protocol), pixels)
    low, high = interval
    usual = interval == vot.INTERVAL
    of = (
        "VOT2020 to VOT2022" if usual else f"no run is longer than {vot.INTERVAL[0]} frames: all lengths that there are"
    )
    return [
        *vot.RULES,
        f"eao: mean of the expected overlap at lengths {low} to {high} ({of}).",
        vot.PIXEL_RULES[pixels],
    ]


def flat_figures(figures: Figures) -> dict[str, Any]:
    """Figures as ``<method>/<figure>``; those of our target model as ``<figure>``."""
    return {**figures.get(TARGET, {}), **flat({name: row for name, row in figures.items() if name != TARGET})}

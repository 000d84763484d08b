"""Success and precision plots of single-target tracking."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from numpy.typing import NDArray

from scenegraph_track.files import atomic_path


def plot_single(
    curves: Mapping[str, tuple[NDArray, NDArray, NDArray]],
    thresholds: tuple[NDArray, NDArray, NDArray],
    path: Path,
    colours: int = 10,
) -> None:
    """Draw success, precision and normalised precision curves side by side, the best method first in each legend.

    Args:
        curves: By the name of the method: its three curves, shares of frames at each threshold.
        thresholds: Of the three curves: overlap, pixels, and shares of the target's size.
        path: A file that matplotlib knows the ending of (.png, .svg, .pdf); it appears whole or not at all.
        colours: So many methods are solid lines of different colours (10 at most); the next ones have the same colours
            again and are dashed, then dotted.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.6), layout="constrained")
    panels = zip(
        figure.subplots(1, 3),
        ("success", "precision", "normalised precision"),
        ("overlap threshold", "error of the centre, pixels", "error of the centre, target sizes"),
        ("area {:.3f}", "at 20 px {:.3f}", "at .2 {:.3f}"),
        strict=True,
    )
    for index, (axes, title, below, legend) in enumerate(panels):
        worth = {name: float(three[0].mean() if index == 0 else three[index][20]) for name, three in curves.items()}
        styles = {name: (f"C{k % colours}", ("-", "--", ":")[min(k // colours, 2)]) for k, name in enumerate(curves)}
        for name in sorted(curves, key=lambda one: -worth[one]):
            colour, line = styles[name]
            label = f"{name}: {legend.format(worth[name])}"
            axes.plot(thresholds[index], curves[name][index], line, color=colour, label=label)
        axes.set(title=title, xlabel=below, ylabel="share of frames", xlim=(0, thresholds[index][-1]), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)

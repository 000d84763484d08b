"""Success and precision plots."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from scenegraph_track.visualize.single import plot_single

THRESHOLDS = (np.linspace(0, 1, 21), np.arange(51.0), np.arange(51) / 100)


def test_plot(tmp_path: Path) -> None:
    # A picture that names every method with its figure, also of more methods than there are colours; same bytes twice.
    pytest.importorskip("matplotlib")
    curves = {
        f"method{k}": (np.linspace(1, 0, 21) * k / 12, np.linspace(0, 1, 51), np.linspace(0, 1, 51)) for k in range(12)
    }
    for name in ("a.png", "b.png"):
        plot_single(curves, THRESHOLDS, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert cv2.imread(str(tmp_path / "a.png")).std() > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_legend_is_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The best first, by what each panel says: area, share at 20 pixels, share at .2.
    figure = pytest.importorskip("matplotlib.figure")
    made = []
    kept = figure.Figure.savefig
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *a, **k: (made.append(self), kept(self, *a, **k)))
    falling, rising = np.linspace(1, 0, 21), np.linspace(0, 1, 51)
    plot_single(
        {"a": (falling / 2, rising, rising), "b": (falling, rising / 2, rising)}, THRESHOLDS, tmp_path / "p.png"
    )
    texts = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in made[0].axes]
    assert texts[0] == ["b: area 0.500", "a: area 0.250"]
    assert texts[1] == ["a: at 20 px 0.400", "b: at 20 px 0.200"]
    assert texts[2] == ["a: at .2 0.400", "b: at .2 0.400"]

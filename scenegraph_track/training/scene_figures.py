"""Figures of the scene graph from rows of what was said and what is true (see `scene_report`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.structures import RELATIONS

SECONDS = {"0.25 s": (0.125, 0.375), "0.5 s": (0.375, 0.75), "1 s": (0.75, 1.5), "2 s": (1.5, 3.0), "all": (0.0, 1e9)}
"""Bins of the time since an object was last seen."""


def precision_figures(scores: NDArray, truth: NDArray[np.bool_]) -> dict[str, float]:
    """``ap``, ``f1`` at 0.5 and ``best_f1`` over all thresholds, in percent; NaN where nothing is true."""
    count = int(truth.sum())
    if not count:
        return dict.fromkeys(("ap", "f1", "best_f1"), float("nan"))
    order = np.argsort(-scores, kind="stable")
    ranked, last = truth[order], np.append(np.diff(scores[order]) != 0, True)
    right = np.cumsum(ranked)[last]
    precision, recall = right / (np.flatnonzero(last) + 1), right / count
    chosen = scores > 0.5
    return {
        "ap": 100 * float((precision * np.diff(recall, prepend=0)).sum()),
        "f1": 200 * float((chosen & truth).sum() / max(chosen.sum() + count, 1)),
        "best_f1": 100 * float((2 * precision * recall / np.maximum(precision + recall, 1e-9)).max()),
    }


def relation_figures(rows: dict[str, NDArray]) -> dict[str, Any]:
    """Average precision, F1 at 0.5 and F1 at the best threshold of each relation, by pairs and method."""
    found: dict[str, Any] = {}
    for pairs, chosen in (("both seen", rows["seen"]), ("one hidden", ~rows["seen"])):
        found[pairs] = {"pairs": int(chosen.sum())}
        for method in ("stated", "learned"):
            found[pairs][method] = {
                name: precision_figures(rows[method][chosen, k], rows["truth"][chosen, k])
                for k, name in enumerate(RELATIONS)
            }
    return found


def box_figures(rows: dict[str, NDArray]) -> dict[str, Any]:
    """By time hidden and method: mean ``iou`` in percent, ``within1`` and ``within2`` deviations, ``nll``."""
    found: dict[str, Any] = {}
    names = [name.removeprefix("iou ") for name in rows if name.startswith("iou ")]
    for label, (low, high) in SECONDS.items():
        chosen = (rows["away"] >= low) & (rows["away"] < high)
        found[label] = {"boxes": int(chosen.sum())}
        if not chosen.any():
            continue
        for name in names:
            figures = {"iou": 100 * float(rows[f"iou {name}"][chosen].mean())}
            if f"z {name}" in rows:
                z, deviation = rows[f"z {name}"][chosen], rows[f"log {name}"][chosen]
                figures |= {f"within{k}": 100 * float((np.abs(z) < k).mean()) for k in (1, 2)}
                figures["nll"] = float((0.5 * z**2 + deviation).mean())
            found[label][name] = figures
    return found


def left_figures(rows: dict[str, NDArray]) -> dict[str, Any]:
    """Right in percent: of the hidden, of those that left, and the mean of both, by time and method."""
    found: dict[str, Any] = {}
    methods = [name for name in rows if name not in ("away", "truth")]
    for label, (low, high) in {"up to 1 s": (0, 1.0), "longer": (1.0, 1e9), "all": (0, 1e9)}.items():
        chosen = (rows["away"] > low) & (rows["away"] <= high)
        truth = rows["truth"][chosen]
        found[label] = {"hidden": int((~truth).sum()), "left": int(truth.sum())}
        for name in methods:
            right = rows[name][chosen] == truth
            both = [100 * float(right[kind].mean()) if kind.any() else float("nan") for kind in (~truth, truth)]
            found[label][name] = {"hidden": both[0], "left": both[1], "mean": float(np.mean(both))}
    return found


def hider_figures(rows: dict[str, NDArray]) -> dict[str, Any]:
    """Precision, recall and F1 in percent of what is named as hiding an object."""
    truth = rows["truth"]
    found: dict[str, Any] = {"objects": len(truth), "hidden by an object": int((truth >= 0).sum())}
    for name in [name for name in rows if name != "truth"]:
        right = float(((rows[name] == truth) & (truth >= 0)).sum())
        precision, recall = right / max((rows[name] >= 0).sum(), 1), right / max((truth >= 0).sum(), 1)
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        found[name] = {"precision": 100 * precision, "recall": 100 * recall, "f1": 100 * f1}
    return found

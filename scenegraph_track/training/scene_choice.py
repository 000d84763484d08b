"""How far each learned relation is believed beside its stated rule: chosen on validation worlds, written into weights.

``python -m scenegraph_track.training.scene_choice --weights runs/scene/best.safetensors --out scene.safetensors``
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from safetensors.torch import load_file

from geometry.weights import read_metadata
from scenegraph_track.structures import RELATIONS
from scenegraph_track.tracking.scene_model import SceneModel, scene_model
from scenegraph_track.training.commands import told_plainly
from scenegraph_track.training.scene import scene_outputs
from scenegraph_track.training.scene_batches import collate, cues
from scenegraph_track.training.scene_courses import CourseSettings, make_course
from scenegraph_track.training.scene_data import SceneWorldSettings, scene_worlds
from scenegraph_track.training.scene_figures import precision_figures
from scenegraph_track.training.scene_report import add_options, asked_worlds
from scenegraph_track.training.weights import save_weights

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What is tried."""

NAME = "constructor.relations.strength"
"""Of the chosen numbers in the weights."""

Rows = tuple[NDArray, NDArray, NDArray]


def chosen_strengths(model: SceneModel, worlds: SceneWorldSettings) -> tuple[list[float], dict[str, Any]]:
    """The strength of each relation with the best average precision and F1, and these figures of all that were tried.

    What counts is the mean over pairs of which both are seen and of which one is hidden, with depth and without; those
    of which none has the relation say nothing.  A relation that no pair has keeps its rule: 0, without figures.

    Args:
        model: Trained; its strengths are not changed.
        worlds: Held-out ones that nothing is reported on.
    """
    tables: dict[str, list[Rows]] = {}
    for group, rows in _said(model, worlds):
        tables.setdefault(group, []).append(rows)
    joined = [tuple(map(np.concatenate, zip(*parts, strict=True))) for parts in tables.values()]
    strengths, figures = [], {}
    for k, name in enumerate(RELATIONS):
        groups = [(r[:, k], c[:, k], t[:, k]) for r, c, t in joined if t[:, k].any()]
        tried = {}
        for strength in STRENGTHS if groups else ():
            found = [precision_figures(1 / (1 + np.exp(-r - strength * c)), t) for r, c, t in groups]
            tried[strength] = float(np.mean([[one["ap"], one["f1"]] for one in found]))
        strengths.append(max(tried, key=tried.__getitem__, default=0.0))
        figures[name] = tried
    return strengths, figures


@torch.inference_mode()
def _said(model: SceneModel, worlds: SceneWorldSettings) -> Iterator[tuple[str, Rows]]:
    """Of each world and group of pairs: logits of the rules, their corrections, and the truth."""
    rows, heads = scene_worlds(worlds), model.constructor.relations
    kept = heads.strength.clone()
    for deep in (False, True):
        for number in range(len(rows)):
            rng = np.random.default_rng((number, deep, 19))
            settings = CourseSettings(camera=float(deep), gaps=0.0)
            course = make_course(rng, next(rows.rows([number])), worlds.size, settings)
            given = cues(rng, course, depth=deep)
            batch = collate([given])
            said = []
            for strength in (0.0, 1.0):
                heads.strength.fill_(strength)
                said.append(scene_outputs(model.constructor, model.evolving, batch)["relations"].double().numpy())
            heads.strength.copy_(kept)
            time, slot = np.nonzero(course.born)
            seen = course.seen[time, slot][given["edge_index"]].all(0)
            known = np.isfinite(given["relations"]).all(1)
            for pairs, which in (("both seen", seen), ("one hidden", ~seen)):
                now = known & which
                truth = given["relations"][now] > 0.5
                yield f"{pairs} {deep}", (said[0][now], said[1][now] - said[0][now], truth)


def main() -> None:
    """Choose from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="weights of the stage scene")
    parser.add_argument("--out", type=Path, required=True, help="where those with the chosen strengths go")
    add_options(parser, 32)
    asked = parser.parse_args()
    with told_plainly():
        strengths, figures = chosen_strengths(scene_model(asked.weights), asked_worlds(asked, "val"))
    weights, metadata = load_file(asked.weights), read_metadata(asked.weights)
    weights[NAME] = torch.tensor(strengths)
    metadata.pop("format", None)
    save_weights(asked.out, weights, metadata | {"strengths": dict(zip(RELATIONS, strengths, strict=True))})
    console = Console(soft_wrap=True, highlight=False)
    for name, tried in figures.items():
        tries = "  ".join(f"{strength:.2f}: {value:.2f}" for strength, value in tried.items())
        console.print(f"{name:12s} {tries or 'in no pair'}")
    console.print(f"chosen       {strengths}")


if __name__ == "__main__":
    main()

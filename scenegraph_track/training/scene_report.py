"""What the learned scene graph is worth on held-out worlds, beside the simplest things that could do its job.

``python -m scenegraph_track.training.scene_report --weights FILE --json FILE`` prints the tables.  Tracks have their
true identities, and detections are noisy.  In rendered worlds nothing is known but boxes, or the camera and depths too;
simulated streams have boxes alone, and no relations.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from copy import copy
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from scenegraph_track.graph import EvolvingSceneGraph, relations_from_boxes
from scenegraph_track.graph.motion import inside_part
from scenegraph_track.structures import RELATIONS
from scenegraph_track.tracking.matching import box_overlap
from scenegraph_track.tracking.scene_model import SceneModel, scene_model
from scenegraph_track.training.commands import told_plainly, write_json
from scenegraph_track.training.scene import box_errors, paired_iou, scene_outputs
from scenegraph_track.training.scene_batches import collate, cues
from scenegraph_track.training.scene_courses import IN_VIEW, Course, CourseSettings, make_course
from scenegraph_track.training.scene_data import SceneWorldSettings, scene_worlds
from scenegraph_track.training.scene_figures import box_figures, hider_figures, left_figures, relation_figures
from scenegraph_track.training.scene_streams import stream_world

WORLDS, DEEP, STREAMS = "worlds, boxes alone", "worlds, camera and depth", "streams"
REGIMES = (WORLDS, DEEP, STREAMS)

_STRAIGHT = 0.4
Rows = dict[str, list[NDArray]]


class _Forgetful(EvolvingSceneGraph):
    """Without what tracks remember."""

    def remember(self, hidden: Tensor, found: Tensor, motion: Tensor) -> Tensor:
        return super().remember(torch.zeros_like(hidden), found, motion)


class _Lonely(EvolvingSceneGraph):
    """Without messages between neighbours."""

    def messages(self, graph: Any) -> Tensor:
        return torch.zeros_like(graph.nodes)


def report(model: SceneModel, worlds: SceneWorldSettings) -> dict[str, Any]:
    """All figures by regime: ``boxes``, ``left``, and of worlds ``relations`` and ``hidden_by`` (see below)."""
    rows = scene_worlds(worlds)
    found: dict[str, Any] = {}
    for regime in REGIMES:
        settings = CourseSettings(camera=float(regime == DEEP), gaps=0.0)
        tables: dict[str, Rows] = {}
        for number in range(len(rows)):
            rng = np.random.default_rng((number, REGIMES.index(regime), 17))
            streamed = regime == STREAMS
            world = stream_world(rng, "test", worlds.frames, worlds.objects) if streamed else next(rows.rows([number]))
            course = make_course(rng, world, worlds.size, settings)
            given = cues(rng, course, depth=regime == DEEP)
            batch = collate([given])
            outputs = _outputs(model, batch)
            _add(tables, "boxes", _box_rows(course, given, batch, outputs))
            _add(tables, "left", _left_rows(course, given, outputs["learned"]))
            if not streamed:
                _add(tables, "relations", _relation_rows(course, given, outputs["learned"]))
                _add(tables, "hidden_by", _hider_rows(course, given, outputs["learned"]))
        found[regime] = {
            name: figures({key: np.concatenate(values) for key, values in tables[name].items()})
            for name, figures in FIGURES.items()
            if name in tables
        }
    return found


@torch.inference_mode()
def _outputs(model: SceneModel, batch: dict[str, Tensor]) -> dict[str, dict[str, NDArray]]:
    networks = {
        "learned": model.evolving,
        "without memory": copy(model.evolving),
        "without messages": copy(model.evolving),
    }
    networks["without memory"].__class__, networks["without messages"].__class__ = _Forgetful, _Lonely
    outputs = {name: scene_outputs(model.constructor, network, batch) for name, network in networks.items()}
    return {name: {key: v.double().numpy() for key, v in output.items()} for name, output in outputs.items()}


def _relation_rows(course: Course, given: dict[str, NDArray], output: dict[str, NDArray]) -> dict[str, NDArray]:
    """Truth, learned and stated relations of the edges whose truth is known, and whether both ends are seen."""
    time, slot = np.nonzero(course.born)
    ends = given["edge_index"]
    stated = np.zeros((ends.shape[1], len(RELATIONS)))
    of_edge = time[ends[0]]
    for t in np.unique(of_edge):
        rows, edges = np.flatnonzero(time == t), np.flatnonzero(of_edge == t)
        deep = given["node_depth"][rows, 0]
        every = relations_from_boxes(
            given["node_boxes"][rows].astype(float), deep if np.isfinite(deep).any() else None, len(rows)
        )
        table = np.zeros((len(rows), len(rows), len(RELATIONS)))
        table[tuple(every["edge_index"])] = every["relation"]
        stated[edges] = table[tuple(ends[:, edges] - rows[0])]
    known = np.isfinite(given["relations"]).all(1)
    seen = course.seen[time, slot][ends].all(0)
    learned = 1 / (1 + np.exp(-output["relations"]))
    values = {"truth": given["relations"] > 0.5, "learned": learned, "stated": stated, "seen": seen}
    return {name: value[known] for name, value in values.items()}


def _box_rows(
    course: Course, given: dict[str, NDArray], batch: dict[str, Tensor], outputs: dict[str, dict[str, NDArray]]
) -> dict[str, NDArray]:
    """Overlaps, errors over deviations and log deviations of hidden objects' boxes, by method."""
    hidden = given["hidden"]
    height = np.maximum(course.height, 1.0)[..., None]
    still, straight = _extrapolated(course)
    boxes = {"constant position": still, "constant velocity": straight, "filter": course.boxes}
    boxes |= {name: output["boxes"] for name, output in outputs.items()}
    deviations = {"filter": course.std / height}
    deviations |= {name: output["std"] / height for name, output in outputs.items()}
    rows = {"away": course.away[hidden]}
    for name, values in boxes.items():
        found = torch.from_numpy(np.asarray(values, np.float64))
        rows[f"iou {name}"] = paired_iou(found, batch["truth"].double()).numpy()[hidden]
        if name in deviations:
            error = box_errors(found, batch["truth"].double(), batch["height"].double()).numpy()[hidden]
            deviation = np.maximum(deviations[name][hidden], 1e-6)
            rows[f"z {name}"], rows[f"log {name}"] = error / deviation, np.log(deviation)
    return rows


def _extrapolated(course: Course) -> tuple[NDArray, NDArray]:
    """(T, K, 4) the last detections, and these moved on as between them and those `_STRAIGHT` seconds before."""
    still, straight = course.boxes.astype(float), course.boxes.astype(float)
    back = max(1, round(_STRAIGHT / course.seconds))
    for slot in range(course.seen.shape[1]):
        seen = np.flatnonzero(course.seen[:, slot])
        for t in np.flatnonzero(course.born[:, slot] & ~course.seen[:, slot]):
            before = seen[seen < t]
            last = before[-1]
            earlier = before[before >= last - back][0]
            still[t, slot] = course.boxes[last, slot]
            moved = course.boxes[last, slot].astype(float) - course.boxes[earlier, slot]
            straight[t, slot] = course.boxes[last, slot] + moved * (t - last) / max(last - earlier, 1)
    return still, straight


def _left_rows(course: Course, given: dict[str, NDArray], output: dict[str, NDArray]) -> dict[str, NDArray]:
    unseen = given["unseen"]
    expected = torch.from_numpy(course.boxes), torch.from_numpy(course.size)
    outside = inside_part(*expected).numpy() < IN_VIEW
    values = {"truth": given["left"], "tracker": course.gone, "outside": outside, "learned": output["left"] > 0}
    return {"away": course.away[unseen]} | {name: value[unseen] for name, value in values.items()}


def _hider_rows(course: Course, given: dict[str, NDArray], output: dict[str, NDArray]) -> dict[str, NDArray]:
    """What hides each hidden object: in truth, by the boxes in front of it, and as learned; slots or -1."""
    time, slot = np.nonzero(course.born)
    ends = given["edge_index"]
    table = np.full((len(course.born), *course.relations.shape[1:]), -np.inf)
    table[time[ends[0]], slot[ends[1]], slot[ends[0]]] = output["relations"][:, 0]
    table = np.where(course.seen[:, None], table, -np.inf)
    learned = np.where(table.max(2) > 0, table.argmax(2), -1)
    front = np.full_like(table, 0.0)
    for t, boxes in enumerate(course.boxes.astype(float)):
        area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-6)
        lower = (boxes[None, :, 3] > boxes[:, None, 3]) & course.seen[t]
        front[t] = np.where(lower, box_overlap(boxes, boxes) / area[:, None], 0.0)
    covered = np.where(front.max(2) > 0, front.argmax(2), -1)
    truth = np.maximum(course.hider, -1)
    seen = np.take_along_axis(course.seen, np.maximum(truth, 0), 1) & (truth >= 0)
    hidden = given["hidden"]
    return {
        "truth": np.where(seen, truth, -1)[hidden],
        "covered": covered[hidden],
        "much covered": np.where(front.max(2) > IN_VIEW, covered, -1)[hidden],
        "learned": learned[hidden],
    }


FIGURES = {"relations": relation_figures, "boxes": box_figures, "left": left_figures, "hidden_by": hider_figures}
"""What is made of the rows of each table."""


def _add(tables: dict[str, Rows], name: str, more: dict[str, NDArray]) -> None:
    for key, values in more.items():
        tables.setdefault(name, {}).setdefault(key, []).append(values)


def tables(found: dict[str, Any]) -> Iterable[Table]:
    """The figures for a console."""
    for regime, figures in found.items():
        for pairs, methods in figures.get("relations", {}).items():
            shown = Table(f"{regime}: relations, {pairs} ({methods['pairs']})", *RELATIONS)
            for method in ("stated", "learned"):
                for figure in ("ap", "f1", "best_f1"):
                    values = (f"{methods[method][name][figure]:.1f}" for name in RELATIONS)
                    shown.add_row(f"{method} {figure}", *values)
            yield shown
        shown = Table(f"{regime}: boxes of hidden objects", *figures["boxes"])
        methods = [name for name in figures["boxes"]["all"] if name != "boxes"]
        shown.add_row("number", *(str(row["boxes"]) for row in figures["boxes"].values()))
        for method in methods:
            for figure in figures["boxes"]["all"][method]:
                values = (row.get(method, {}).get(figure, float("nan")) for row in figures["boxes"].values())
                shown.add_row(f"{method}: {figure}", *(f"{value:.2f}" for value in values))
        yield shown
        shown = Table(f"{regime}: hidden or left", "hidden", "left", "mean")
        for label, row in figures["left"].items():
            shown.add_row(f"{label}: number", str(row["hidden"]), str(row["left"]))
            for method in [name for name in row if name not in ("hidden", "left")]:
                shown.add_row(f"{label}: {method}", *(f"{value:.1f}" for value in row[method].values()))
        yield shown
        if "hidden_by" not in figures:
            continue
        shown = Table(f"{regime}: hidden by", "precision", "recall", "f1")
        for method, row in figures["hidden_by"].items():
            if isinstance(row, dict):
                shown.add_row(method, *(f"{value:.1f}" for value in row.values()))
        yield shown


def add_options(parser: argparse.ArgumentParser, worlds: int = 96) -> None:
    """What all commands on worlds of the scene graph may be asked; see `asked_worlds`."""
    parser.add_argument("--worlds", type=int, default=worlds, help="number of held-out worlds")
    parser.add_argument("--folder", default="runs/scene_worlds", help="where they are kept, and found again")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw them")


def asked_worlds(asked: argparse.Namespace, split: Literal["val", "test"]) -> SceneWorldSettings:
    """The worlds that were asked for."""
    return SceneWorldSettings(folder=asked.folder, scenes=asked.worlds, split=split, workers=asked.workers)


def tell(found: dict[str, Any], path: Path | None) -> None:
    """Write the figures, if a path is given, and print the tables."""
    write_json(path, found)
    console = Console(soft_wrap=True)
    for shown in tables(found):
        console.print(shown)


def main() -> None:
    """Run the report from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="weights of the stage scene")
    add_options(parser)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    asked = parser.parse_args()
    with told_plainly():
        found = report(scene_model(asked.weights), asked_worlds(asked, "test"))
    tell(found, asked.json)


if __name__ == "__main__":
    main()

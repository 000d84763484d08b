"""The stage that teaches the scene graph: relations between objects, and where hidden ones are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits, huber_loss

from scenegraph_track.graph import EvolvingSceneGraph, Motion, SceneGraphConstructor, relation_loss
from scenegraph_track.graph.motion import motion_features
from scenegraph_track.structures import RELATIONS
from scenegraph_track.training.scene_batches import SceneData, collate, cues, drawn_cues
from scenegraph_track.training.scene_courses import Course, CourseSettings, make_course
from scenegraph_track.training.scene_data import SceneWorldSettings, scene_worlds
from scenegraph_track.training.scene_streams import stream_world
from scenegraph_track.training.stage import Stage

PARTS = ("constructor", "evolving")
"""Names of the networks in the weights."""

_OCCLUDES, _NEAR = RELATIONS.index("occludes"), RELATIONS.index("near")
_CORE = 1.5
"""Deviations up to which errors count as those of a Gaussian; larger ones, of which there are many, grow linearly."""


class SceneNetSettings(BaseModel):
    """The networks; see `SceneGraphConstructor` and `EvolvingSceneGraph`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node_dim: int = Field(48, ge=4, description="width of nodes and of the tracks' states")
    edge_dim: int = Field(32, ge=4, description="width of edges")


class SceneLoss(BaseModel):
    """What counts as an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adjacency: float = Field(0.2, ge=0, description="weight of which pairs are near or hide one another")
    box: float = Field(0.3, ge=0, description="weight of the box of a hidden object, and how sure it is")
    left: float = Field(0.5, ge=0, description="weight of telling hidden objects from those that left")


class SceneStage(Stage):
    """Relations, boxes of hidden objects with their variance, hidden or left: all from tracks of given identities."""

    class Settings(BaseModel):
        """Sections of the recipe."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        worlds: SceneWorldSettings = SceneWorldSettings()
        courses: CourseSettings = CourseSettings()
        data: SceneData = SceneData()
        scene: SceneNetSettings = SceneNetSettings()
        loss: SceneLoss = SceneLoss()

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        net = settings.scene
        self.constructor = SceneGraphConstructor(net.node_dim, net.edge_dim)
        self.evolving = EvolvingSceneGraph(net.node_dim)
        self._held_out: dict[str, Tensor] | None = None

    def modules(self) -> dict[str, nn.Module]:
        """The networks by their names in the weights."""
        return dict(zip(PARTS, (self.constructor, self.evolving), strict=True))

    def batches(self, rank: int, world_size: int, start: int) -> Iterator[Any]:
        """See `Stage.batches`."""
        settings, data = self.settings, self.settings.data
        worlds = scene_worlds(settings.worlds, self.dry_run, rank, world_size)
        known: dict[tuple[bool, int, int], Course] = {}
        number = start
        while True:
            courses = []
            for item in range(rank, data.batch, world_size):
                rng = np.random.default_rng((self.seed, number, item))
                which = (
                    bool(rng.random() < data.streams),
                    int(rng.integers(len(worlds))),
                    int(rng.integers(data.courses)),
                )
                if which not in known:
                    drawn = np.random.default_rng((self.seed, *which, 3))
                    world = self._stream(drawn, "train") if which[0] else next(worlds.rows([which[1]]))
                    known[which] = make_course(drawn, world, settings.worlds.size, settings.courses)
                courses.append(drawn_cues(rng, known[which], data))
            yield collate(courses)
            number += 1

    def _stream(self, rng: np.random.Generator, split: str) -> dict[str, NDArray]:
        return stream_world(rng, split, self.settings.worlds.frames, self.settings.worlds.objects)

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and its parts."""
        weights = self.settings.loss
        parts = scene_losses(batch, scene_outputs(self.constructor, self.evolving, batch))
        total = parts["relation"] + sum(getattr(weights, name) * parts[name] for name in SceneLoss.model_fields)
        return total, parts

    def validate(self) -> dict[str, float]:
        """The losses on held-out worlds, and the mean overlap of hidden objects' boxes beside the filter's."""
        if self._held_out is None:
            settings, data = self.settings, self.settings.data
            wanted = settings.worlds.model_copy(update={"split": "val", "scenes": data.validation_worlds})
            rows, courses = scene_worlds(wanted, self.dry_run), []
            for number in range(2 * len(rows)):
                rng = np.random.default_rng((number, 5))
                world = self._stream(rng, "val") if number % 2 else next(rows.rows([number // 2]))
                course = make_course(rng, world, wanted.size, settings.courses)
                courses.append(cues(rng, course, depth=number % 4 < 2))
            self._held_out = collate(courses)
        batch = {name: value.to(self.device) for name, value in self._held_out.items()}
        output = scene_outputs(self.constructor, self.evolving, batch)
        parts = scene_losses(batch, output)
        figures = {name: float(value) for name, value in parts.items()}
        return figures | {"total": float(sum(parts[name] for name in ("relation", "adjacency", "box", "left")))}

    def collapse(self, metrics: dict[str, float]) -> str | None:
        """See `Stage.collapse`."""
        if not self.dry_run and metrics.get("val/relation", 0.0) > 1.0:
            return "relations are told worse than by chance"
        return None


def scene_outputs(
    constructor: SceneGraphConstructor, evolving: EvolvingSceneGraph, batch: dict[str, Tensor]
) -> dict[str, Tensor]:
    """What the networks say of whole courses (see `collate`): the same as frame by frame, all graphs at once.

    Returns:
        ``relations`` (E, 6) logits, ``adjacency`` (E,), and of T frames and S tracks ``boxes`` (T, S, 4), ``std``
        (T, S, 4) pixels and ``left`` (T, S), which mean something where a track is not seen.
    """
    graph = constructor(
        batch["node_boxes"],
        batch["node_scores"],
        batch["node_visibility"],
        batch["node_size"],
        positions=batch["node_positions"],
        depth=batch["node_depth"],
        edge_index=batch["edge_index"],
    )
    said = torch.cat([graph.nodes, evolving.messages(graph)], 1)
    found = torch.cat([said.new_zeros(1, said.shape[1]), said])[batch["rows"] + 1]
    motion = Motion(batch["expected"], batch["velocity"], batch["std"])
    height, away, inside = batch["height"], batch["away"], batch["inside"]
    seconds = batch["seconds"].expand_as(away)
    told = motion_features(motion, batch["boxes"], height, away, seconds, inside, batch["covered"])
    hidden = said.new_zeros(away.shape[1], evolving.node_dim)
    states = []
    for nodes, features, born in zip(found, told, batch["born"], strict=True):
        hidden = evolving.remember(hidden, nodes, features) * born[:, None]
        states.append(hidden)
    boxes, std, left = evolving.guess(torch.stack(states), told, motion, height, inside)
    output = {"boxes": boxes, "std": std, "left": left}
    return output | {"relations": graph.relations, "adjacency": graph.adjacency}


def scene_losses(batch: dict[str, Tensor], output: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parts of the loss, 0 where there is nothing to learn, and figures of the boxes of hidden objects."""
    truth = batch["relations"]
    wanted = torch.maximum(truth[:, _NEAR], torch.maximum(truth[:, _OCCLUDES], batch["occluded"]))
    known = torch.isfinite(wanted)
    hidden, unseen = batch["hidden"], batch["unseen"]
    error = box_errors(output["boxes"], batch["truth"], batch["height"])[hidden]
    spread = (output["std"][hidden] / batch["height"][hidden].clamp(min=1.0)[:, None]).clamp(min=1e-4)
    deviations, zero = error / spread, torch.zeros_like(error)
    adjacency = output["adjacency"].clamp(1e-6, 1 - 1e-6)[known]
    with torch.no_grad():
        overlap = {
            name: _mean(paired_iou(boxes[hidden], batch["truth"][hidden]))
            for name, boxes in (("iou", output["boxes"]), ("iou_filter", batch["expected"]))
        }
        right = (output["left"] > 0) == batch["left"]
    return {
        "relation": relation_loss(output["relations"], truth),
        "adjacency": _mean(binary_cross_entropy(adjacency, wanted[known], reduction="none")),
        "box": _mean(huber_loss(deviations, zero, reduction="none", delta=_CORE) + spread.log()),
        "left": _mean(
            binary_cross_entropy_with_logits(output["left"], batch["left"].to(error), reduction="none")[unseen]
        ),
        **overlap,
        "left_right": _mean(right[unseen].to(error)),
    }


def box_errors(boxes: Tensor, truth: Tensor, height: Tensor) -> Tensor:
    """(..., 4) errors of centre x, centre y, width and height, in heights (...)."""
    difference = truth - boxes
    middle, extent = (difference[..., :2] + difference[..., 2:]) / 2, difference[..., 2:] - difference[..., :2]
    return torch.cat([middle, extent], -1) / height.clamp(min=1.0)[..., None]


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """(...) of boxes (..., 4)."""
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    both = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    return shared / (both - shared).clamp(min=1e-6)


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(values.numel(), 1)

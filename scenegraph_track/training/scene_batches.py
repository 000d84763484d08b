"""Courses as batches: all graphs of all frames side by side, with some cues left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from scenegraph_track.structures import RELATIONS
from scenegraph_track.tracking.emission import inside_part
from scenegraph_track.tracking.placement import back_projected
from scenegraph_track.training.scene_courses import IN_VIEW, Course
from scenegraph_track.training.scene_data import unpacked

_LEFT_OF = RELATIONS.index("left_of")


class SceneData(BaseModel):
    """What a batch is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(8, ge=1, description="courses in a batch")
    courses: int = Field(4, ge=1, description="courses that are made of each world")
    streams: float = Field(0.5, ge=0, le=1, description="share of courses of simulated streams in place of worlds")
    depth: float = Field(0.5, ge=0, le=1, description="share of courses in which depths are told")
    positions: float = Field(0.5, ge=0, le=1, description="share of those in which positions in space are told as well")
    statistics: float = Field(0.5, ge=0, le=1, description="share of those in which depths have a spread and a range")
    scores: float = Field(0.5, ge=0, le=1, description="share of courses whose scores say how well an object is seen")
    validation_worlds: int = Field(32, ge=1, description="held-out worlds")


def drawn_cues(rng: np.random.Generator, course: Course, data: SceneData) -> dict[str, NDArray]:
    """A course with the cues that it has this time, mirrored or not."""
    known = rng.random() < data.depth
    chances = rng.random(4) < (data.positions, data.statistics, data.scores, 0.5)
    return cues(rng, course, known, *chances)


def cues(
    rng: np.random.Generator,
    course: Course,
    depth: bool,
    positions: bool = True,
    statistics: bool = False,
    scores: bool = False,
    mirrored: bool = False,
) -> dict[str, NDArray]:
    """A course as arrays for `collate`.

    Args:
        rng: Draws the unit of the depths and the error of the focal length.
        course: The tracks.
        depth: Whether depths are told.
        positions: And positions from them.
        statistics: And their spread and range.
        scores: Whether scores are told; else all are 1.
        mirrored: Left and right exchanged.
    """
    width = float(course.size[0])

    def turned(boxes: NDArray) -> NDArray:
        return (
            boxes
            if not mirrored
            else np.stack([width - boxes[..., 2], boxes[..., 1], width - boxes[..., 0], boxes[..., 3]], -1)
        )

    boxes, expected, truth = (turned(values) for values in (course.boxes, course.expected, course.truth))
    velocity = course.velocity[..., [2, 1, 0, 3]] * np.float32([-1, 1, -1, 1]) if mirrored else course.velocity
    time, slot = np.nonzero(course.born)
    rows = np.full(course.born.shape, -1)
    rows[time, slot] = np.arange(len(time))
    ends = np.concatenate([rows[t][pair] for t, pair in enumerate(course.edges)], axis=1)
    relations, occluded = _told(course, time[ends[0]], slot[ends[0]], slot[ends[1]], mirrored)
    unknown = (course.inside[time[ends], slot[ends]] <= 0).any(0)
    relations[unknown], occluded[unknown] = np.nan, np.nan

    deep = np.exp(rng.uniform(-1, 1)) * course.depth[time, slot] if depth else np.full((len(time), 3), np.nan)
    if not statistics:
        deep[:, 1:] = np.nan
    camera = np.array(
        [[course.focal * np.exp(0.1 * rng.standard_normal()), 0, width / 2], [0, 0, course.size[1] / 2], [0, 0, 1]]
    )
    camera[1, 1] = camera[0, 0]
    middle = (boxes[time, slot, :2] + boxes[time, slot, 2:]) / 2
    places = back_projected(middle, deep[:, 0] if positions else np.full(len(time), np.nan), camera)
    seen, unseen = course.seen, course.born & ~course.seen
    left = course.inside < IN_VIEW
    there = (course.truth[..., 2:] > course.truth[..., :2]).all(-1)
    inside = np.stack([inside_part(values.astype(float), tuple(course.size)) for values in boxes])
    return {
        "node_boxes": boxes[time, slot],
        "node_scores": np.where(seen, course.scores if scores else 1.0, 0.0)[time, slot],
        "node_visibility": np.where(seen, 1 - course.covered, 0.0)[time, slot],
        "node_size": np.broadcast_to(course.size, (len(time), 2)),
        "node_positions": places,
        "node_depth": deep,
        "edge_index": ends,
        "relations": relations,
        "occluded": occluded,
        "rows": rows,
        "born": course.born,
        "boxes": boxes,
        "expected": np.where(course.born[..., None], expected, boxes),
        "std": course.std,
        "height": course.height,
        "velocity": velocity,
        "away": course.away,
        "seconds": np.full((1, course.born.shape[1]), course.seconds),
        "inside": np.where(course.born, inside, 0),
        "covered": np.where(unseen, course.covered, 0),
        "truth": truth,
        "unseen": unseen,
        "hidden": unseen & ~left & there,
        "left": left,
    }


def _told(
    course: Course, time: NDArray, source: NDArray, target: NDArray, mirrored: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """True relations (E, 6) of pairs of slots, and whether the target hides the source (E,); NaN where unknown."""
    if course.relations is None:
        return np.full((len(time), len(RELATIONS)), np.nan, np.float32), np.full(len(time), np.nan, np.float32)
    there, back = unpacked(course.relations[time, source, target]), unpacked(course.relations[time, target, source])
    if mirrored:
        there[:, _LEFT_OF] = back[:, _LEFT_OF]
    return there, back[:, 0]


_FLAT = (
    "node_boxes",
    "node_scores",
    "node_visibility",
    "node_size",
    "node_positions",
    "node_depth",
    "relations",
    "occluded",
)


def collate(courses: Sequence[dict[str, NDArray]]) -> dict[str, Tensor]:
    """One batch: nodes and edges of all graphs one after the other, tracks of all courses along the second axis."""
    first = np.cumsum([0, *(len(course["node_boxes"]) for course in courses)])
    batch = {name: np.concatenate([course[name] for course in courses]) for name in _FLAT}
    for name in courses[0].keys() - {*_FLAT, "edge_index", "rows"}:
        batch[name] = np.concatenate([course[name] for course in courses], axis=1)
    batch["edge_index"] = np.concatenate([c["edge_index"] + k for c, k in zip(courses, first)], axis=1)
    batch["rows"] = np.concatenate([np.where(c["rows"] < 0, -1, c["rows"] + k) for c, k in zip(courses, first)], axis=1)
    kinds = {np.dtype(bool): torch.bool, np.dtype(np.int64): torch.int64}
    return {name: torch.from_numpy(v).to(kinds.get(v.dtype, torch.float32)) for name, v in batch.items()}

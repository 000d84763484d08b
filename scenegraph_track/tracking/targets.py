"""Targets that a user has given: followed by target models, beside what is detected and associated.

A target that is found is visible, with the box that its target model finds; the detection that overlaps it most is its
own, and no other track's.  One that is not found is hidden with its last box, and later it has left; it is looked for
ever after, and comes back under its identity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from geometry import GeometryError
from scenegraph_track.config import TargetSettings
from scenegraph_track.errors import UserError
from scenegraph_track.language.steering import Guide
from scenegraph_track.structures import CUES, Frame, ObjectState, TargetTable
from scenegraph_track.target.embedded import follow_settings, target_network
from scenegraph_track.target.follow import follow, start_following
from scenegraph_track.target.followed import Followed, FollowSettings
from scenegraph_track.target.memory import TargetMemory, Verdict
from scenegraph_track.target.network import TargetNetwork
from scenegraph_track.target.predictor import Filters
from scenegraph_track.tracking.matching import box_iou, match


@dataclass(frozen=True)
class TargetFollower:
    """Follows targets; holds no state of a video.

    Args:
        network: In evaluation mode.
        how: To follow.
    """

    network: TargetNetwork
    how: FollowSettings

    @classmethod
    def load(cls, settings: TargetSettings) -> TargetFollower:
        """One with the target models that the settings name.

        Raises:
            UserError: The weights are not there or do not fit.
        """
        weights = None if settings.weights == "embedded" else settings.weights
        try:
            return cls(target_network(weights), follow_settings(weights))
        except GeometryError as error:
            raise UserError(f"target: {error}") from None

    def added(self, table: TargetTable | None, frame: Frame, box: NDArray[np.float64], identity: int) -> TargetTable:
        """The targets and one more.

        Args:
            table: The others.
            frame: With its image.
            box: (4,) of `checked_box`.
            identity: Of the new one.
        """
        assert frame.image is not None
        boxes = torch.from_numpy(box[None]).float()
        new, time = (
            start_following(self.network, self.how, frame.image[None].float(), boxes),
            np.array([frame.timestamp]),
        )
        row = _table(new, np.array([identity]), time, time)
        return row if table is None else _joined(table, row)

    def followed(self, table: TargetTable, frame: Frame, guide: Guide | None = None) -> TargetTable:
        """The targets in the next frame; those that were given in this very frame stay as they are.

        Args:
            table: In the frame before.
            frame: The next one.
            guide: A sentence that is true of all of them, by which lost ones are looked for too.

        Raises:
            UserError: They were followed with weights of another network before.
        """
        old = np.flatnonzero(table.time != frame.timestamp)
        if len(old) == 0:
            return table
        before, time = table[old], np.full(len(old), frame.timestamp)
        if frame.image is None:
            after = replace(before, time=time, scores=np.zeros_like(before.scores), lost=before.lost + 1)
        else:
            self._check(table)
            if guide is not None:
                steered = guide.steered(frame.image, before.boxes, before.lost.tolist(), frame.index)
                before = replace(before, boxes=steered)
            state = follow(self.network, self.how, _followed(before), frame.image[None].float())
            after = _table(state, before.ids, time, np.where(state.lost, before.seen, time))
        new = np.flatnonzero(table.time == frame.timestamp)
        return _joined(after, table[new])[np.argsort(np.concatenate([old, new]))] if len(new) else after

    def _check(self, table: TargetTable) -> None:
        settings, cells = self.network.settings, -(-self.network.settings.view // self.network.stride)
        filters = 0 if settings.sees_current else settings.dim
        if table.features.shape[2:] != (settings.dim, cells, cells) or table.filters.shape[2] != filters:
            raise UserError("target: the targets of this state were followed with weights of another network before")


def cut_at_image(box: ArrayLike, size: tuple[int, int]) -> NDArray[np.float64] | None:
    """The part of a box (4,) xyxy in an image of (W, H) pixels; None where it is no pixel wide or high."""
    inside = np.clip(np.asarray(box, np.float64), 0, [*size, *size])
    return inside if (inside[2:] - inside[:2] >= 1).all() else None


def checked_box(box: ArrayLike, frame: Frame) -> NDArray[np.float64]:
    """A box (4,) xyxy, cut at the image of a frame.

    Raises:
        UserError: It is no box, or lies outside the image, or there is no image.
    """
    if frame.image is None:
        raise UserError(f"frame {frame.index}: there is no image to follow a target in")
    corners = np.asarray(box, np.float64)
    if corners.shape != (4,) or not np.isfinite(corners).all() or not (corners[2:] > corners[:2]).all():
        raise UserError(f"target: expected a box of four numbers, x1 < x2 and y1 < y2, found {corners.tolist()}")
    width, height = frame.image.shape[2], frame.image.shape[1]
    inside = cut_at_image(corners, (width, height))
    if inside is None:
        raise UserError(
            f"target: expected a box inside the image of {width} x {height} pixels, found {corners.tolist()} (xyxy)"
        )
    return inside


@dataclass(frozen=True, eq=False)
class SeenTargets:
    """The targets of one frame that have not left before, as K nodes of its scene graph.

    Args:
        table: K rows.
        states: (K,) of `ObjectState`.
        hidden_for: (K,) seconds.
        gap: (K,) seconds since they were found before this frame; NaN where they were given in it.
        detection: (K,) row of the detection that is theirs, or -1.
        free: Rows of the detections that no target takes.
    """

    table: TargetTable
    states: NDArray[np.int64]
    hidden_for: NDArray[np.float64]
    gap: NDArray[np.float64]
    detection: NDArray[np.int64]
    free: NDArray[np.int64]

    def joined_nodes(self, nodes: dict[str, Any]) -> dict[str, Any]:
        """The nodes of tracks, by fields of `SceneGraph`, and these."""
        count, found = len(self.table), self.states == ObjectState.VISIBLE
        own = {
            "track_id": self.table.ids,
            "box": self.table.boxes,
            "box_std": np.full((count, 4), np.nan),
            "state": self.states,
            "hidden_for": self.hidden_for,
            "shown": self.states != ObjectState.LEFT,
            "score": np.where(found, np.clip(self.table.scores, 0, 1), 0.0),
            "class_id": np.ones(count, np.int64),
            "detection": self.detection,
        }
        return {name: np.concatenate([values, own[name]]) for name, values in nodes.items()}

    def joined_edges(self, becomes: dict[str, Any], first: int) -> dict[str, Any]:
        """The temporal edges of tracks, and those of found targets to themselves: their appearance alone decides.

        Args:
            becomes: As `SceneGraph.build` takes them.
            first: Number of the first node of a target.
        """
        kept = np.flatnonzero((self.states == ObjectState.VISIBLE) & np.isfinite(self.gap))
        cue = np.tile(np.array([name == "appearance" for name in CUES], np.float64), (len(kept), 1))
        own = {
            "edge_index": np.stack([kept + first] * 2),
            "probability": np.clip(self.table.scores[kept], 0, 1),
            "cue": cue,
            "gap": self.gap[kept],
        }
        axes = {name: int(name == "edge_index") for name in own}
        return {name: np.concatenate([becomes[name], own[name]], axis=axes[name]) for name in own}


def seen_targets(
    before: TargetTable, after: TargetTable, timestamp: float, detected: NDArray[np.float64], settings: TargetSettings
) -> SeenTargets:
    """What is to be said of targets in a frame.

    Args:
        before: In the frame before, or as they were given in this one.
        after: In this frame.
        timestamp: Of this frame, seconds.
        detected: (M, 4) detections, xyxy.
        settings: When they take a detection, and when they have left.
    """
    horizon = settings.hidden_seconds + 1e-9
    there = (after.seen == timestamp) | (before.time - before.seen <= horizon)
    before, after = before[there], after[there]
    found, away = after.seen == timestamp, timestamp - after.seen
    states = np.where(found, ObjectState.VISIBLE, np.where(away > horizon, ObjectState.LEFT, ObjectState.HIDDEN))
    detection = np.full(len(after), -1)
    rows, columns = match(box_iou(after.boxes[found], detected), settings.overlap)
    detection[np.flatnonzero(found)[rows]] = columns
    return SeenTargets(
        after,
        states,
        np.where(found, 0.0, away),
        np.where(before.time == timestamp, np.nan, timestamp - before.seen),
        detection,
        np.setdiff1d(np.arange(len(detected)), columns),
    )


def _table(state: Followed, ids: NDArray, time: NDArray, seen: NDArray) -> TargetTable:
    most = max(len(memory) for memory in state.memories)

    def stacked(name: str) -> NDArray:
        return np.stack([_filled(getattr(memory, name).numpy(), most) for memory in state.memories])

    filters = np.zeros((len(state), 2, 0), np.float32)
    if state.filters is not None:
        filters = np.stack([state.filters.classification.numpy(), state.filters.box.numpy()], axis=1)
    return TargetTable(
        ids=ids,
        boxes=state.boxes.double().numpy(),
        scores=state.scores.double().numpy(),
        time=time,
        seen=seen,
        lost=np.array(state.lost),
        remembered=np.array(state.remembered),
        views=np.array([len(memory) for memory in state.memories]),
        features=stacked("features"),
        view_boxes=stacked("boxes"),
        given=stacked("given"),
        filters=filters,
    )


def _followed(table: TargetTable) -> Followed:
    features, boxes, given = (torch.from_numpy(v) for v in (table.features, table.view_boxes, table.given))
    memories = [TargetMemory(features[k, :n], boxes[k, :n], given[k, :n]) for k, n in enumerate(table.views)]
    filters = [torch.from_numpy(np.ascontiguousarray(table.filters[:, k])) for k in (0, 1)]
    return Followed(
        torch.from_numpy(table.boxes).float(),
        torch.from_numpy(table.scores).float(),
        (Verdict.SURE,) * len(table),  # what was said of the frame before does not matter any more
        tuple(memories),
        Filters(filters[0], filters[1]) if table.filters.shape[2] else None,
        tuple(table.remembered.tolist()),
        tuple(table.lost.tolist()),
    )


def _joined(table: TargetTable, other: TargetTable) -> TargetTable:
    """The rows of both."""
    most = max(table.features.shape[1], other.features.shape[1])
    wide = ("features", "view_boxes", "given")

    def both(name: str) -> NDArray:
        values = getattr(table, name), getattr(other, name)
        if name in wide:
            values = tuple(np.stack([_filled(row, most) for row in some]) for some in values)
        return np.concatenate(values)

    return TargetTable(**{name: both(name) for name in vars(table)})


def _filled(values: NDArray, count: int) -> NDArray:
    """Values (n, ...) with the first repeated up to a count."""
    return np.concatenate([values, np.repeat(values[:1], count - len(values), axis=0)])

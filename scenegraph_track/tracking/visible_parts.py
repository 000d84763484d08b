"""The visible part of each track, by its surface or by points on it, for the nodes of the scene graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from geometry.errors import GeometryError
from scenegraph_track.config import OcclusionSettings
from scenegraph_track.errors import UserError
from scenegraph_track.occlusion.surface_tracker import SurfaceState, SurfaceTracker
from scenegraph_track.occlusion.visibility import VisibilityState, VisibilityTracker
from scenegraph_track.structures import Frame, ObjectState

SMALLEST = 8.0
"""Least side of a box that is looked at, pixels."""


@dataclass(frozen=True)
class VisibleTracks:
    """Follows tracks with an eye on what hides them; holds no state of a video.

    Args:
        tracker: Of surfaces, or of points with OccuSolver.
        settings: Which tracks are given to it, and when anew.
    """

    tracker: SurfaceTracker | VisibilityTracker
    settings: OcclusionSettings

    @classmethod
    def load(cls, settings: OcclusionSettings) -> VisibleTracks:
        """With the weights that the settings name.

        Raises:
            UserError: They are not there or do not fit.
        """
        of_points = {"count": settings.points, "stride": settings.stride} if settings.by == "points" else {}
        kind = VisibilityTracker if settings.by == "points" else SurfaceTracker
        try:
            return cls(kind.from_pretrained(settings.weights, longest=settings.longest, **of_points), settings)
        except GeometryError as error:
            raise UserError(f"tracker.occlusion.weights: {error}") from None

    def step(
        self, before: Mapping[str, np.ndarray], frame: Frame, nodes: Mapping[str, Any]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """What can be seen of the tracks of a frame.

        Args:
            before: What was carried over from the last frame; empty before the first.
            frame: With its image.
            nodes: ``track_id``, ``box`` and ``state`` of K tracks.

        Returns:
            What is carried on, and the visible parts (K,), NaN where nothing was looked at so far.
        """
        state, told = self._state(before)
        ids, boxes = [int(name) for name in nodes["track_id"]], np.asarray(nodes["box"], np.float32)
        gone = tuple(name for name in state.objects if name not in set(ids))
        state, parts = self.tracker.step(state, frame.image, forget=gone)
        if parts is not None:
            newest = zip(parts.objects, parts.fraction[:, -1].tolist())
            told |= {int(name): value for name, value in newest if np.isfinite(value)}
        told = {name: told[name] for name in ids if name in told}
        given = dict(zip(state.objects, state.given.tolist()))
        now, found = state.frames - 1, np.asarray(nodes["state"]) == ObjectState.VISIBLE
        large = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= SMALLEST
        new = {}
        for k in np.flatnonzero(found & large):
            due = now - given.get(ids[k], -self.settings.renew) >= self.settings.renew
            if due and (ids[k] not in given or told.get(ids[k], 1.0) >= self.settings.clear):
                new[ids[k]] = torch.from_numpy(boxes[k])
        if new:
            state = self.tracker.give(state, new)
        rows = np.array([[name, value] for name, value in told.items()], np.float64).reshape(-1, 2)
        parts_now = np.array([told.get(name, np.nan) for name in ids])
        return {**state.arrays(), "told": rows}, parts_now

    def _state(self, before: Mapping[str, np.ndarray]) -> tuple[SurfaceState | VisibilityState, dict[int, float]]:
        if not before:
            return self.tracker.start(), {}
        return self.tracker.restored(before), {int(name): value for name, value in before["told"]}

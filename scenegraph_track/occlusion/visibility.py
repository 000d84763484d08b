"""How much can be seen of each object of a video, frame by frame."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.occlusion.object_points import box_priors, points_in_boxes, visibility_maps
from scenegraph_track.occlusion.occu_solver import OccuSolver
from scenegraph_track.occlusion.point_net import PointNet, Supposed
from scenegraph_track.occlusion.point_tracker import PointState, PointTracker


@dataclass(frozen=True)
class VisibleParts:
    """What can be seen of O objects in T consecutive frames.

    Args:
        start: Number of the first frame.
        objects: The objects' names.
        fraction: (O, T) visible part, 0 to 1; NaN before an object was given.
        positions: (O, P, T, 2) of the points on them, pixels; NaN before.
        visibility: (O, P, T) probability that a point is seen and lies on the object.
    """

    start: int
    objects: tuple[Hashable, ...]
    fraction: Tensor
    positions: Tensor
    visibility: Tensor

    def maps(self, size: tuple[int, int], stride: float) -> Tensor:
        """Where each object is seen in the last frame, (O, h, w) between 0 and 1.

        Args:
            size: (h, w) of the maps.
            stride: Pixels of the image in one of their cells.
        """
        return visibility_maps(self.positions[:, :, -1] / stride, self.visibility[:, :, -1], size)


@dataclass(frozen=True)
class VisibilityState:
    """All that is carried from frame to frame; its size grows with the objects, not with the video.

    Args:
        points: Of the point tracker; P rows for each object.
        objects: The objects' names.
        given: (O,) numbers of the frames in which their points were chosen.
        priors: (O, h, w) where they were there.
    """

    points: PointState
    objects: tuple[Hashable, ...]
    given: Tensor
    priors: Tensor | None

    @property
    def frames(self) -> int:
        """Number of frames so far."""
        return self.points.frames

    def arrays(self) -> dict[str, np.ndarray]:
        """The state as arrays by name; objects have to be named by whole numbers."""
        points, supposed = self.points, self.points.supposed
        known = points.image is not None
        tensors = {
            "queries": points.queries,
            "looks": points.looks,
            "templates": points.templates,
            "given": self.given,
            **(
                {"image": points.image, "features": torch.stack(points.features), "greys": torch.stack(points.greys)}
                if known
                else {}
            ),
            **({"flows": torch.stack(points.flows)} if points.flows else {}),
            **({} if self.priors is None else {"priors": self.priors}),
            **({} if supposed is None else dict(zip(_SUPPOSED, supposed[:3]))),
        }
        numbers = np.array([points.frames, points.done, *(points.size or (0, 0))], np.int64)
        found = {name: value.cpu().numpy() for name, value in tensors.items()}
        return {"numbers": numbers, "objects": np.array(self.objects, np.int64), **found}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> VisibilityState:
        """The state that :meth:`arrays` gave."""
        found = {name: torch.from_numpy(value) for name, value in arrays.items()}
        frames, done, width, height = arrays["numbers"].tolist()
        supposed = Supposed(*(found[name] for name in _SUPPOSED)) if _SUPPOSED[0] in found else None
        points = PointState(
            frames,
            (width, height) if width else None,
            found.get("image"),
            tuple(found.get("features", ())),
            tuple(found.get("greys", ())),
            tuple(found.get("flows", ())),
            found["queries"],
            found["looks"],
            found["templates"],
            supposed,
            done,
        )
        return cls(points, tuple(arrays["objects"].tolist()), found["given"], found.get("priors"))


_SUPPOSED = ("positions", "visible", "confident")


class VisibilityTracker:
    """Follows points on objects and tells what part of each can be seen (OccuSolver).

    Args:
        points: Trained point network.
        solver: Trained on top of it.
        count: Points of an object.
        stride: New frames that are looked at together; 1: no delay.
        **options: Of `PointTracker`.
    """

    def __init__(
        self, points: PointNet, solver: OccuSolver, count: int = 24, stride: int | None = None, **options: object
    ) -> None:
        self.tracker = PointTracker(points, stride, **options)  # type: ignore[arg-type]
        self.solver, self.count = solver, count

    @classmethod
    def from_pretrained(cls, path: str | Path = "embedded", **options: object) -> Self:
        """With the weights that ship, or OccuSolver's of a file, for the point tracker that ships.

        Raises:
            UserError: No weights ship, or the file does not fit.
        """
        from scenegraph_track.occlusion.embedded import point_network, solver_network

        points = point_network()
        return cls(points, solver_network(points, None if path == "embedded" else path), **options)  # type: ignore[arg-type]

    def restored(self, arrays: Mapping[str, np.ndarray]) -> VisibilityState:
        """The state of `VisibilityState.arrays`."""
        return VisibilityState.from_arrays(arrays)

    def start(self) -> VisibilityState:
        """Before the first frame."""
        points = self.tracker.start()
        return VisibilityState(points, (), points.queries.new_zeros(0, dtype=torch.long), None)

    @torch.no_grad()
    def step(
        self,
        state: VisibilityState,
        image: Tensor,
        boxes: Mapping[Hashable, Tensor] | None = None,
        forget: tuple[Hashable, ...] = (),
    ) -> tuple[VisibilityState, VisibleParts | None]:
        """Take in the next frame.

        Args:
            state: Of the frame before.
            image: (3, H, W), uint8 or float in [0, 1].
            boxes: (4,) xyxy pixels of objects whose points are to be chosen in this frame: new ones, or known ones that
                are well seen and have turned.
            forget: Objects that are not to be followed on.

        Returns:
            The new state; and every ``stride`` frames what can be seen in the last frames.

        Raises:
            UserError: See `PointTracker.step`.
        """
        state = self._without(state, set(forget))
        state = replace(state, points=self.tracker.take(state.points, image))
        if boxes:
            state = self.give(state, boxes)
        return self._looked(state) if self.tracker.due(state.points) else (state, None)

    @torch.no_grad()
    def finish(self, state: VisibilityState) -> tuple[VisibilityState, VisibleParts | None]:
        """Look at the frames that have not been looked at, at the end of a video."""
        return self._looked(state) if state.points.frames > state.points.done else (state, None)

    def _without(self, state: VisibilityState, names: set[Hashable]) -> VisibilityState:
        kept = [row for row, name in enumerate(state.objects) if name not in names]
        if len(kept) == len(state.objects):
            return state
        rows = torch.tensor(kept, dtype=torch.long, device=state.given.device)
        points = (rows[:, None] * self.count + torch.arange(self.count, device=rows.device)).flatten()
        return VisibilityState(
            self.tracker.keep(state.points, points),
            tuple(state.objects[row] for row in kept),
            state.given[rows],
            None if state.priors is None else state.priors[rows],
        )

    def give(self, state: VisibilityState, boxes: Mapping[Hashable, Tensor]) -> VisibilityState:
        """Choose the points of objects in the last frame; see `step`."""
        state = self._without(state, set(boxes))
        assert state.points.size is not None and state.points.image is not None
        limit = torch.tensor([*state.points.size, *state.points.size], dtype=torch.float32)
        told = torch.stack([torch.as_tensor(box, dtype=torch.float32) for box in boxes.values()])
        given = torch.minimum(told.clamp(min=0), limit)
        points = self.tracker.add(state.points, points_in_boxes(given, self.count).flatten(0, 1))
        scale = self.tracker.scale(points)
        priors = box_priors(given.to(scale) * scale.repeat(2), (points.image.shape[1], points.image.shape[2]))
        now = state.given.new_full((len(boxes),), points.frames - 1)
        return VisibilityState(
            points,
            (*state.objects, *boxes),
            torch.cat([state.given, now]),
            priors if state.priors is None else torch.cat([state.priors, priors]),
        )

    def _looked(self, state: VisibilityState) -> tuple[VisibilityState, VisibleParts | None]:
        points, tracks, found = self.tracker.look(state.points)
        state = replace(state, points=points)
        if tracks is None:
            return state, None
        objects, frames = len(state.objects), tracks.positions.shape[1]
        numbers = torch.arange(frames, device=state.given.device) + tracks.start
        there = numbers >= state.given[:, None]
        known = there[:, None].expand(-1, self.count, -1)
        places = points.queries[:, 1:].unflatten(0, (objects, self.count))
        grouped = [Supposed(*(part[0].unflatten(0, (objects, self.count)) for part in one)) for one in found]
        seen = self.solver(grouped, known, known.any(2), places, state.priors)
        return state, VisibleParts(
            tracks.start,
            state.objects,
            torch.where(there, seen.fraction, torch.nan),
            tracks.positions.unflatten(0, (objects, self.count)),
            seen.point_logits.sigmoid() * seen.member_logits.sigmoid()[..., None] * known,
        )

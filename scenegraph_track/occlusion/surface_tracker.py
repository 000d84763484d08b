"""How much can be seen of each object of a video, frame by frame and without delay, by its surface."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.occlusion.sight import as_shown, both_ways
from scenegraph_track.occlusion.surface import Pose
from scenegraph_track.occlusion.surface_net import SurfaceNet, Surfaces
from scenegraph_track.occlusion.visibility import VisibleParts


@dataclass(frozen=True)
class SurfaceState:
    """All that is carried from frame to frame; its size grows with the objects, not with the video.

    Args:
        frames: Number of frames so far.
        size: (W, H) of the images, or None before the first.
        image: The last one (3, h, w) uint8, as the network sees it.
        objects: The objects' names.
        given: (O,) numbers of the frames in which they were given.
        surfaces: What is carried on of them; None while there was none.
        places: (O, P, 2) of the cells of the objects in the last frame, pixels of the video.
        seen: (O, P) as `VisibleParts.visibility` there.
    """

    frames: int
    size: tuple[int, int] | None
    image: Tensor | None
    objects: tuple[Hashable, ...]
    given: Tensor
    surfaces: Surfaces | None
    places: Tensor
    seen: Tensor

    def arrays(self) -> dict[str, np.ndarray]:
        """The state as arrays by name; objects have to be named by whole numbers."""
        tensors = {"given": self.given, "places": self.places, "seen": self.seen}
        if self.image is not None:
            tensors["image"] = self.image
        if self.surfaces is not None:
            pose, *rest = self.surfaces
            tensors |= dict(zip(Pose._fields, pose)) | dict(zip(Surfaces._fields[1:], rest))
        numbers = np.array([self.frames, *(self.size or (0, 0))], np.int64)
        found = {name: value.cpu().numpy() for name, value in tensors.items()}
        return {"numbers": numbers, "objects": np.array(self.objects, np.int64), **found}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> SurfaceState:
        """The state that :meth:`arrays` gave."""
        found = {name: torch.from_numpy(value) for name, value in arrays.items()}
        frames, width, height = arrays["numbers"].tolist()
        surfaces = None
        if "matrix" in found:
            pose = Pose(*(found[name] for name in Pose._fields))
            surfaces = Surfaces(pose, *(found[name] for name in Surfaces._fields[1:]))
        return cls(
            frames,
            (width, height) if width else None,
            found.get("image"),
            tuple(arrays["objects"].tolist()),
            found["given"],
            surfaces,
            found["places"],
            found["seen"],
        )


class SurfaceTracker:
    """Follows the surfaces of objects and tells what part of each can be seen; used as `visibility.VisibilityTracker`.

    Args:
        net: Trained network.
        flow: Optical flow that carries surfaces along: a name of `geometry.flow.dis_flow`.
        longest: Larger images are reduced to this longest side, pixels.
    """

    def __init__(self, net: SurfaceNet, flow: str = "dis_sparse", longest: int = 512) -> None:
        self.net, self.flow, self.longest = net, flow, longest

    @classmethod
    def from_pretrained(cls, path: str | Path = "embedded", **options: object) -> Self:
        """With the weights that ship, or those of a file.

        Raises:
            UserError: No weights ship, or the file does not fit.
        """
        from scenegraph_track.occlusion.embedded import surface_network

        return cls(surface_network(None if path == "embedded" else path), **options)  # type: ignore[arg-type]

    def restored(self, arrays: Mapping[str, np.ndarray]) -> SurfaceState:
        """The state of `SurfaceState.arrays`."""
        return SurfaceState.from_arrays(arrays)

    def start(self) -> SurfaceState:
        """Before the first frame."""
        device, cells = self.net.box.device, self.net.box.shape[0] * self.net.box.shape[1]
        given = torch.zeros(0, dtype=torch.long, device=device)
        places = torch.zeros(0, cells, 2, device=device)
        return SurfaceState(0, None, None, (), given, None, places, places[..., 0])

    @torch.no_grad()
    def step(
        self,
        state: SurfaceState,
        image: Tensor,
        boxes: Mapping[Hashable, Tensor] | None = None,
        forget: tuple[Hashable, ...] = (),
    ) -> tuple[SurfaceState, VisibleParts | None]:
        """Take in the next frame.

        Args:
            state: Of the frame before.
            image: (3, H, W), uint8 or float in [0, 1].
            boxes: (4,) xyxy pixels of objects that are given in this frame: new ones, or known ones that are well seen
                and have turned.
            forget: Objects that are not to be followed on.

        Returns:
            The new state; and of the objects that were there before, what can be seen of them in this frame, and where
            they were in the one before it.

        Raises:
            UserError: The image has another size than the first.
        """
        size = (image.shape[2], image.shape[1])
        if state.size not in (None, size):
            raise UserError(f"expected frames of {state.size[0]} x {state.size[1]} pixels, found {size[0]} x {size[1]}")
        state = self._without(state, set(forget))
        shown, parts = as_shown(image, self.longest), None
        before, state = state, replace(state, frames=state.frames + 1, size=size, image=shown)
        if before.surfaces is not None and before.image is not None and len(before.objects):
            state, parts = self._looked(before, state)
        return (self.give(state, boxes) if boxes else state), parts

    def finish(self, state: SurfaceState) -> tuple[SurfaceState, None]:
        """Nothing is left to be looked at, at the end of a video."""
        return state, None

    @torch.no_grad()
    def give(self, state: SurfaceState, boxes: Mapping[Hashable, Tensor]) -> SurfaceState:
        """Objects in boxes of the last frame; see `step`."""
        state = self._without(state, set(boxes))
        assert state.size is not None and state.image is not None
        device = state.given.device
        told = torch.stack([torch.as_tensor(box, dtype=torch.float32) for box in boxes.values()]).to(device)
        told = torch.minimum(told.clamp(min=0), told.new_tensor([*state.size, *state.size]))
        new = self.net.begin(self._image(state), told * self._scale(state).repeat(2), self._clip(len(told)))
        places = self._cells(new.pose, state)
        return replace(
            state,
            objects=(*state.objects, *boxes),
            given=torch.cat([state.given, state.given.new_full((len(told),), state.frames - 1)]),
            surfaces=new if state.surfaces is None else _joined(state.surfaces, new),
            places=torch.cat([state.places, places]),
            seen=torch.cat([state.seen, new.belief.prod(1).flatten(1)]),
        )

    def _looked(self, before: SurfaceState, state: SurfaceState) -> tuple[SurfaceState, VisibleParts]:
        assert before.image is not None and state.image is not None and before.surfaces is not None
        flows = both_ways(before.image, state.image, self.flow).to(state.given.device)[None]
        surfaces, seen = self.net(before.surfaces, self._image(state), flows, self._clip(len(before.objects)))
        places = self._cells(surfaces.pose, state)
        visible = (seen.visible.sigmoid() * seen.member.sigmoid()).flatten(1)
        parts = VisibleParts(
            state.frames - 2,
            before.objects,
            torch.stack([before.surfaces.fraction, seen.fraction], 1),
            torch.stack([before.places, places], 2),
            torch.stack([before.seen, visible], 2),
        )
        return replace(state, surfaces=surfaces, places=places, seen=visible), parts

    def _without(self, state: SurfaceState, names: set[Hashable]) -> SurfaceState:
        kept = [row for row, name in enumerate(state.objects) if name not in names]
        if len(kept) == len(state.objects):
            return state
        rows, old = torch.tensor(kept, dtype=torch.long, device=state.given.device), state.surfaces
        assert old is not None
        return replace(
            state,
            objects=tuple(state.objects[row] for row in kept),
            given=state.given[rows],
            surfaces=Surfaces(Pose(*(part[rows] for part in old.pose)), *(part[rows] for part in old[1:])),
            places=state.places[rows],
            seen=state.seen[rows],
        )

    def _image(self, state: SurfaceState) -> Tensor:
        assert state.image is not None
        return state.image[None].to(state.given.device).float() / 255

    def _scale(self, state: SurfaceState) -> Tensor:
        """(2,) pixels of the network's image in one of the video."""
        assert state.image is not None and state.size is not None
        return state.places.new_tensor(state.image.shape[:0:-1]) / state.places.new_tensor(state.size)

    def _cells(self, pose: Pose, state: SurfaceState) -> Tensor:
        """(O, P, 2) where the objects' cells are, pixels of the video."""
        return pose.at(self.net.box).flatten(1, 2) / self._scale(state)

    def _clip(self, count: int) -> Tensor:
        return torch.zeros(count, dtype=torch.long, device=self.net.box.device)


def _joined(old: Surfaces, new: Surfaces) -> Surfaces:
    pose = Pose(*(torch.cat(pair) for pair in zip(old.pose, new.pose)))
    return Surfaces(pose, *(torch.cat(pair) for pair in zip(old[1:], new[1:])))

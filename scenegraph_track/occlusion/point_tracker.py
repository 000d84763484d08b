"""Points followed through a video, frame by frame with constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.occlusion.point_features import AROUND, LEVELS, describe, pyramid
from scenegraph_track.occlusion.point_net import PointNet, Supposed
from scenegraph_track.occlusion.point_window import begin
from scenegraph_track.occlusion.sight import Sight, as_shown, both_ways
from scenegraph_track.occlusion.templates import SIDE, cut_templates, grey


@dataclass(frozen=True)
class PointTracks:
    """Where N points are in consecutive frames.

    Args:
        start: Number of the first frame.
        positions: (N, T, 2) x and y in pixels; NaN before a point was given.
        visibility: (N, T) probability that a point is seen; 0 before it was given.
        confidence: (N, T) probability that its position is right to a few pixels.
    """

    start: int
    positions: Tensor
    visibility: Tensor
    confidence: Tensor

    @property
    def visible(self) -> Tensor:
        """(N, T) bool."""
        return self.visibility > 0.5


@dataclass(frozen=True)
class PointState:
    """All that is carried from frame to frame; its size does not grow with the video.

    Args:
        frames: Number of frames so far.
        size: (W, H) of the images, or None before the first.
        image: The last one (3, h, w) uint8, as the network sees it.
        features: Of the last frames, each (D, h, w).
        greys: The last frames, each (1, h, w) of `templates.grey`.
        flows: Between them, there and back, each (4, h, w).
        queries: (N, 3) frame, x and y where the points were given, pixels of the network's image.
        looks: (N, L, 9, D) descriptions of the points.
        templates: (N, s, s) pieces of the image round them.
        supposed: What is known of the last frames, up to frame ``done``.
        done: Frames that have been looked at.
    """

    frames: int
    size: tuple[int, int] | None
    image: Tensor | None
    features: tuple[Tensor, ...]
    greys: tuple[Tensor, ...]
    flows: tuple[Tensor, ...]
    queries: Tensor
    looks: Tensor
    templates: Tensor
    supposed: Supposed | None
    done: int


class PointTracker:
    """Follows any points of a video, also while they are hidden.

    Args:
        net: Trained network.
        stride: New frames that are looked at together; 1: no delay.  None: as the network was trained.
        flow: Optical flow along which points are moved on before the network corrects them: a name of
            `geometry.flow.dis_flow`, or "none".
        longest: Larger images are reduced to this longest side, pixels.
        iterations: Corrections of a window; None: as the network was trained.
    """

    def __init__(
        self,
        net: PointNet,
        stride: int | None = None,
        flow: str = "dis_sparse",
        longest: int = 512,
        iterations: int | None = None,
    ) -> None:
        self.net, self.flow, self.longest, self.iterations = net, flow, longest, iterations
        self.window, self.stride = net.settings.window, stride or net.settings.stride
        if not 1 <= self.stride < self.window:  # windows overlap, else nothing were carried over
            raise UserError(f"stride: expected 1 to {self.window - 1}, found {self.stride}")

    @classmethod
    def from_pretrained(cls, path: str | Path = "embedded", **options: object) -> Self:
        """With the weights that ship, or those of a file.

        Raises:
            UserError: No weights ship, or the file does not fit.
        """
        from scenegraph_track.occlusion.embedded import point_network

        return cls(point_network(None if path == "embedded" else path), **options)  # type: ignore[arg-type]

    def start(self) -> PointState:
        """Before the first frame."""
        settings, device = self.net.settings, next(self.net.parameters()).device
        looks = torch.zeros(0, LEVELS, (2 * AROUND + 1) ** 2, settings.features, device=device)
        templates = torch.zeros(0, SIDE + 2, SIDE + 2, device=device)
        return PointState(0, None, None, (), (), (), torch.zeros(0, 3, device=device), looks, templates, None, 0)

    @torch.no_grad()
    def step(
        self, state: PointState, image: Tensor, points: Tensor | None = None
    ) -> tuple[PointState, PointTracks | None]:
        """Take in the next frame.

        Args:
            state: Of the frame before.
            image: (3, H, W), uint8 or float in [0, 1].
            points: (n, 2) x and y in pixels of points of this frame to follow from here on.

        Returns:
            The new state; and every ``stride`` frames what is known of the last frames, the older of them once more.

        Raises:
            UserError: The image has another size than the first, or a point is outside it.
        """
        state = self.take(state, image)
        if points is not None and len(points):
            state = self.add(state, points)
        return self.look(state)[:2] if self.due(state) else (state, None)

    def due(self, state: PointState) -> bool:
        """Whether ``stride`` frames are there that have not been looked at."""
        return state.frames - state.done >= self.stride

    @torch.no_grad()
    def take(self, state: PointState, image: Tensor) -> PointState:
        """The state with one more frame, which is not looked at yet; see `step`."""
        size = (image.shape[2], image.shape[1])
        if state.size not in (None, size):
            raise UserError(f"expected frames of {state.size[0]} x {state.size[1]} pixels, found {size[0]} x {size[1]}")
        device = state.queries.device
        shown = as_shown(image, self.longest)
        features = self.net.features(shown[None].to(device).float() / 255)[0]
        flows = state.flows
        if state.image is not None and self.flow != "none":
            flows = (*flows, both_ways(state.image, shown, self.flow).to(device))[-(self.window - 1) :]
        return replace(
            state,
            frames=state.frames + 1,
            size=size,
            image=shown,
            features=(*state.features, features)[-self.window :],
            greys=(*state.greys, grey(shown).to(device))[-self.window :],
            flows=flows,
        )

    @torch.no_grad()
    def finish(self, state: PointState) -> tuple[PointState, PointTracks | None]:
        """Look at the frames that have not been looked at, at the end of a video."""
        return self.look(state)[:2] if state.frames > state.done else (state, None)

    def track(self, images: Iterable[Tensor], queries: Tensor) -> PointTracks:
        """Follow points through a whole video.

        Args:
            images: T of (3, H, W).
            queries: (N, 3) number of a frame, x and y in pixels; points are followed forward from there.

        Raises:
            UserError: See `step`; or a query names a frame that is not there.
        """
        state, found = self.start(), []
        order: list[int] = []
        for number, image in enumerate(images):
            chosen = (queries[:, 0] == number).nonzero()[:, 0]
            order += chosen.tolist()
            state, tracks = self.step(state, image, queries[chosen, 1:])
            found += [tracks] if tracks is not None else []
        if len(order) < len(queries):
            raise UserError(
                f"queries: expected frames 0 to {state.frames - 1}, {len(queries) - len(order)} name others"
            )
        state, tracks = self.finish(state)
        return gather([*found, *([tracks] if tracks is not None else [])], torch.tensor(order, dtype=torch.long))

    def scale(self, state: PointState) -> Tensor:
        """(2,) pixels of the network's image in one of the video."""
        assert state.image is not None and state.size is not None
        return state.queries.new_tensor(state.image.shape[:0:-1]) / state.queries.new_tensor(state.size)

    def add(self, state: PointState, points: Tensor) -> PointState:
        """Follow points (n, 2) of the last frame, pixels, from there on.

        Raises:
            UserError: A point is outside the image.
        """
        assert state.size is not None
        points = points.to(state.queries)
        limit = points.new_tensor(state.size)
        wrong = ~((points >= 0) & (points <= limit)).all(-1)
        if wrong.any():
            x, y = points[wrong][0].tolist()
            raise UserError(f"points: expected x, y inside {state.size[0]} x {state.size[1]}, found {x:g}, {y:g}")
        points = points * self.scale(state)
        frames = torch.zeros(len(points), dtype=torch.long, device=points.device)
        looks = describe(pyramid(state.features[-1][None]), frames, points)
        rows = torch.cat([frames[:, None].to(points) + state.frames - 1, points], 1)
        pieces = cut_templates(state.greys[-1][None], points[None])[0]
        return replace(
            state,
            queries=torch.cat([state.queries, rows]),
            looks=torch.cat([state.looks, looks]),
            templates=torch.cat([state.templates, pieces]),
        )

    def look(self, state: PointState) -> tuple[PointState, PointTracks | None, list[Supposed]]:
        """Correct the tracks in the last frames.

        Returns:
            The new state, what is known of these frames, and what was supposed after each iteration (1, N, T), in
            pixels of the network's image; nothing where there is no point.
        """
        length = min(self.window, state.frames)
        first = state.frames - length
        if not len(state.queries):
            return replace(state, done=state.frames, supposed=None), None, []
        rows = torch.stack([one.permute(1, 2, 0) for one in state.features[-length:]])  # as they lie in memory
        levels = pyramid(rows.permute(0, 3, 1, 2))
        flows = torch.stack(state.flows[-(length - 1) :])[None] if length > 1 and state.flows else None
        sight = Sight(flows, torch.stack(state.greys[-length:])[None], state.templates[None])
        supposed, known, given = begin(
            state.queries[None, :, 1:],
            state.queries[None, :, 0].long() - first,
            length,
            sight,
            self._before(state, first),
        )
        found = self.net(levels, supposed, state.looks[None], known, given, sight, self.iterations)
        last = found[-1]
        positions = torch.where(known[0, ..., None], last.positions[0] / self.scale(state), torch.nan)
        visible = torch.where(given[0], 1.0, last.visible[0].sigmoid()) * known[0]
        tracks = PointTracks(first, positions, visible, last.confident[0].sigmoid() * known[0])
        return replace(state, supposed=Supposed(*last[:3]), done=state.frames), tracks, found

    def keep(self, state: PointState, rows: Tensor) -> PointState:
        """Follow only some of the points on, by their numbers (n,) in ascending order."""
        supposed = state.supposed
        if supposed is not None:
            old = rows[rows < supposed.visible.shape[1]]
            supposed = Supposed(*(part[:, old] for part in supposed[:3]))
        return replace(
            state,
            queries=state.queries[rows],
            looks=state.looks[rows],
            templates=state.templates[rows],
            supposed=supposed,
        )

    def _before(self, state: PointState, first: int) -> Supposed | None:
        """What is known of frames from ``first`` on, with rows for points that have been added since."""
        if state.supposed is None:
            return None
        old = state.supposed
        skipped = old.positions.shape[2] - (state.done - first)
        parts = [part[:, :, skipped:] for part in old[:3]]
        missing = len(state.queries) - parts[0].shape[1]
        if parts[0].shape[2] == 0:
            return None
        added = [part.new_zeros((1, missing, *part.shape[2:])) for part in parts]
        return Supposed(*(torch.cat(pair, 1) for pair in zip(parts, added)))


def gather(found: Sequence[PointTracks], order: Tensor) -> PointTracks:
    """Results of several steps as one, the latest of each frame; rows by the points' numbers in ``order`` (N,)."""
    count = len(order)
    end = max((part.start + part.positions.shape[1] for part in found), default=0)
    positions = torch.full((count, end, 2), torch.nan)
    visibility, confidence = torch.zeros(count, end), torch.zeros(count, end)
    for part in found:
        rows, frames = order[: len(part.positions)], slice(part.start, part.start + part.positions.shape[1])
        for whole, piece in (
            (positions, part.positions),
            (visibility, part.visibility),
            (confidence, part.confidence),
        ):
            whole[rows, frames] = piece.cpu()
    return PointTracks(0, positions, visibility, confidence)

"""Depth and camera motion of a video, frame by frame, in one scale, with one explicit state.

Each frame is compared by optical flow with the frame before and with a few keyframes at a useful baseline.  From the
flow come the camera's motion and, where it translates, depth (`triangulate`); the depth of the frame before, carried
along the flow, fixes the scale and adds what it knew, and a network's guess fills the rest (`fill_depth`).  Measured
depth or poses replace all that: poses are then fitted to the depth (`pose_from_depth`), depth to the poses
(`depth_from_poses`).

Everything is in pixels of the *current* frame at the working resolution: flow and residual go from the current frame to
the one before.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from geometry.camera import lengths, pixel_grid, sample, scale_intrinsics
from geometry.completion import GUESS_ERROR, DepthEstimator, fill_depth
from geometry.errors import GeometryError
from geometry.flow import FlowEstimator
from geometry.known import depth_from_poses
from geometry.motion_mask import moving_mask, residual_noise
from geometry.pose import inverse
from geometry.triangulation import relative_scale
from geometry.video_state import FrameGeometry, VideoGeometryState
from geometry.video_views import SHARED, Views, averaged

__all__ = ["FrameGeometry", "VideoGeometry", "VideoGeometryState", "moving_mask", "residual_noise"]

WORKING_SIZE = 192
"""Longer side in pixels to which images are reduced."""

BASELINE = 0.04
"""Median motion since the last keyframe, as a share of the width, that makes a new one."""

DENSE = 192
"""Longer side in pixels from which only every second pixel along each axis is triangulated."""

KNOWN = 0.99
"""Confidence of measured depth."""


class VideoGeometry:
    """Finds depth and camera motion of a video online; holds settings only, everything else is in the state.

    Example::

        geometry = VideoGeometry()
        state = geometry.start()
        for image in images:
            state, found = geometry.step(state, image, intrinsics)

    Args:
        flow: One of `geometry.flow.METHODS` or an estimator.
        depth: Network that guesses the depth of an image, or None: then earlier frames and motion alone tell.  Its
            scale counts as metres where it has a true attribute ``metric``.
        working_size: Longer side in pixels to which images are reduced; smaller ones stay as they are.
        keyframes: Earlier frames that are kept besides the last.
        depth_error: Typical relative error of the network's depth.

    Raises:
        GeometryError: A number is out of range.
    """

    def __init__(
        self,
        flow: str | FlowEstimator = "dis_fine",
        depth: DepthEstimator | None = None,
        working_size: int = WORKING_SIZE,
        keyframes: int = 2,
        depth_error: float = GUESS_ERROR,
    ) -> None:
        if working_size < 32 or keyframes < 1 or not depth_error > 0:
            found = f"{working_size}, {keyframes}, {depth_error}"
            raise GeometryError(f"expected working_size >= 32, keyframes >= 1 and depth_error > 0, found {found}")
        self.flow, self.depth, self.working_size = flow, depth, working_size
        self.keyframes, self.depth_error = keyframes, depth_error

    def start(self) -> VideoGeometryState:
        """The state before the first frame."""
        return VideoGeometryState.empty(metric=False)

    def step(
        self,
        state: VideoGeometryState,
        image: Tensor,
        intrinsics: Tensor,
        depth: Tensor | None = None,
        world_from_camera: Tensor | None = None,
    ) -> tuple[VideoGeometryState, FrameGeometry]:
        """Take in one frame; a pure function of its arguments.

        A frame of another size or other intrinsics than the last begins a new window: its motion is not known unless
        it is given.  So does the first measured pose after estimated ones whose scale is not in metres.

        Args:
            state: What the last step returned, or :meth:`start`.
            image: (3, H, W) RGB, float in [0, 1] or uint8.
            intrinsics: (3, 3) in pixels of the image.
            depth: (H', W') or (1, H', W') measured depth of the same view, 0 where unknown; metres.
            world_from_camera: (4, 4) measured pose; metres.

        Returns:
            The next state, and depth, pose and motion of the frame.

        Raises:
            GeometryError: A shape is wrong, or the image is smaller than 16 pixels.
        """
        _check(image, intrinsics, depth, world_from_camera)
        small = reduced(image, self.working_size)
        size = (int(small.shape[1]), int(small.shape[2]))
        factors = size[1] / image.shape[2], size[0] / image.shape[1]
        k = scale_intrinsics(intrinsics.double().cpu(), *factors)
        measured = None if depth is None else _nearest(depth, size)
        pose = None if world_from_camera is None else world_from_camera.double().cpu()
        if len(state.images) and not (state.images.shape[2:] == size and torch.allclose(state.intrinsics, k)):
            state = state.restarted()
        if pose is not None and not bool(state.measured) and not bool(state.metric):
            state = VideoGeometryState.empty(metric=True)
        if not len(state.images):
            return self._first(state, small, k, measured, pose)
        return self._next(state, small, k, measured, pose)

    def _first(
        self,
        state: VideoGeometryState,
        small: Tensor,
        k: Tensor,
        measured: Tensor | None,
        pose: Tensor | None,
    ) -> tuple[VideoGeometryState, FrameGeometry]:
        known = bool(state.metric) or measured is not None or pose is not None
        metric = known or bool(getattr(self.depth, "metric", False))
        blank = torch.zeros(small.shape[1:])
        depth, confidence = self._complete(blank, blank, measured, small, k)
        last = state.world_from_camera[-1] if len(state.world_from_camera) else torch.eye(4, dtype=torch.float64)
        moved = torch.eye(4, dtype=torch.float64) if pose is None else inverse(pose) @ last
        world = last if pose is None else pose
        if not len(state.world_from_camera):
            moved = torch.eye(4, dtype=torch.float64)
        after = VideoGeometryState(
            small[None], world[None], k, depth, confidence, torch.tensor([metric]), torch.tensor([pose is not None])
        )
        still = torch.zeros(small.shape[1:], dtype=torch.bool)
        return after, FrameGeometry(depth, confidence, k, world, moved, None, None, still, metric)

    def _next(
        self,
        state: VideoGeometryState,
        small: Tensor,
        k: Tensor,
        measured: Tensor | None,
        pose: Tensor | None,
    ) -> tuple[VideoGeometryState, FrameGeometry]:
        views = Views.of(small, state.images.flip(0), k, self.flow, _thinned(small))
        poses = state.world_from_camera.flip(0)  # the last frame first, as the views
        exact = pose is not None and bool(state.measured)
        if measured is not None and not bool(state.metric):
            before = views.carried(state, views.rotation(0))
            factor = relative_scale(measured, (measured > 0).float(), *before)
            if factor is not None:
                state, poses = state.scaled(factor), state.scaled(factor).world_from_camera.flip(0)
        depth, confidence = torch.zeros(small.shape[1:]), torch.zeros(small.shape[1:])
        if exact:
            assert pose is not None
            others = inverse(poses) @ pose
            world = pose
            if measured is None:
                depth, confidence = depth_from_poses(*views.stacked(), k, others, small)
        elif measured is not None:
            world = poses[views.anchor] @ views.pose_of_depth(views.anchor, measured)
        else:
            depth, confidence, world = views.triangulated(state, poses, small)
        if pose is not None and not exact:  # the world becomes that of the measured pose
            poses, world = pose @ inverse(world) @ poses, pose
        moved = inverse(world) @ poses[0]
        if measured is None:
            depth, confidence = averaged((depth, confidence), views.carried(state, moved))
        depth, confidence = self._complete(depth, confidence, measured, small, k)
        metric = bool(state.metric) or measured is not None or pose is not None
        after = self._remembered(state, views, small, poses, world, depth, confidence)
        after = replace(after, metric=torch.tensor([metric]), measured=torch.tensor([exact]))
        if pose is not None and not exact:
            last = slice(len(after.images) - 1, None)
            after = replace(
                after,
                images=after.images[last],
                world_from_camera=after.world_from_camera[last],
                measured=torch.tensor([True]),
            )
        flow = views.found[0].flow
        residual, moving = views.independent(depth, confidence, inverse(moved))
        return after, FrameGeometry(depth, confidence, k, world, moved, flow, residual, moving, metric)

    def _complete(
        self, depth: Tensor, confidence: Tensor, measured: Tensor | None, small: Tensor, k: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Depth everywhere, from what is measured or estimated and the network's guess."""
        if measured is None:
            full, total = fill_depth(
                depth, confidence, small, k, self.depth, self.depth_error, shrink=self._shrink(small)
            )
        else:
            known = measured > 0
            sure = KNOWN * known.float()
            full, total = fill_depth(measured, sure, small, k, self.depth, self.depth_error, doubt=False)
            full, total = torch.where(known, measured, full), torch.where(known, sure, total)
        return full.float(), total.float()

    def _shrink(self, small: Tensor) -> int:
        """How many times smaller the network sees an image."""
        longest = max(small.shape[1:])
        return max(1, round(longest / getattr(self.depth, "trained_on", longest)))

    def _remembered(
        self,
        state: VideoGeometryState,
        views: Views,
        small: Tensor,
        poses: Tensor,
        world: Tensor,
        depth: Tensor,
        confidence: Tensor,
    ) -> VideoGeometryState:
        """The state after the frame: the last frame becomes a keyframe once the camera has moved on from the others."""
        kept, place = state.images, poses.flip(0)
        if len(kept) > 1:
            nearest = views.found[1]
            share = float(nearest.consistent.float().mean())
            moved = lengths(nearest.flow)[nearest.consistent]
            stays = share >= SHARED and float(moved.median()) < BASELINE * small.shape[2]
            chosen = slice(0, len(kept) - 1) if stays else slice(max(0, len(kept) - self.keyframes), None)
            kept, place = kept[chosen], place[chosen]
        images, world_from_camera = torch.cat([kept, small[None]]), torch.cat([place, world[None]])
        return replace(state, images=images, world_from_camera=world_from_camera, depth=depth, confidence=confidence)


def reduced(image: Tensor, longest: int) -> Tensor:
    """(3, h, w) uint8 of an image (3, H, W), float in [0, 1] or uint8, whose longer side is at most ``longest``."""
    values = image.float() if image.dtype == torch.uint8 else image.float() * 255
    factor = longest / max(image.shape[1:])
    if factor < 1:
        size = [max(16, round(side * factor)) for side in image.shape[1:]]
        values = interpolate(values[None], size, mode="area")[0]
    return values.round().clamp(0, 255).to(torch.uint8).cpu()


def _thinned(small: Tensor) -> int:
    """Pixels between those to which motions are fitted and that are triangulated."""
    return 2 if max(small.shape[1:]) >= DENSE else 1


def _check(image: Tensor, intrinsics: Tensor, depth: Tensor | None, pose: Tensor | None) -> None:
    if image.ndim != 3 or image.shape[0] != 3 or min(image.shape[1:]) < 16:
        raise GeometryError(f"expected an image (3, H, W) of at least 16 x 16 pixels, found {tuple(image.shape)}")
    if tuple(intrinsics.shape) != (3, 3):
        raise GeometryError(f"expected intrinsics (3, 3), found {tuple(intrinsics.shape)}")
    if depth is not None and (depth.ndim not in (2, 3) or depth[None].shape[-3] != 1):
        raise GeometryError(f"expected measured depth (H, W) or (1, H, W), found {tuple(depth.shape)}")
    if pose is not None and tuple(pose.shape) != (4, 4):
        raise GeometryError(f"expected world_from_camera (4, 4), found {tuple(pose.shape)}")


def _nearest(depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Measured depth (H', W') at the pixel centres of a smaller image; values that are no depth become 0."""
    depth = depth.reshape(1, 1, *depth.shape[-2:]).float().cpu()
    height, width = depth.shape[2:]
    grid = pixel_grid(*size) * torch.tensor([width / size[1], height / size[0]])[:, None, None]
    found = sample(depth, grid[None], mode="nearest")[0, 0]
    return torch.where(found.isfinite() & (found > 0), found, torch.zeros_like(found))

"""Depth and camera motion of a video, frame by frame, in one scale, with one explicit state.

Each frame is compared by optical flow with the frame before and with a few keyframes at a useful baseline.  From the
flow come the camera's motion and, where it translates, depth (`triangulate`); the depth of the frame before, carried
along the flow, fixes the scale and adds what it knew, and a network's guess fills the rest (`fuse`).  Measured depth or
poses replace all that: poses are then fitted to the depth (`pose_from_depth`), depth to the poses
(`depth_from_poses`).

Everything is in pixels of the *current* frame at the working resolution: flow and residual go from the current frame to
the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from geometry.camera import back_project, motion_residual, pixel_grid, rigid_flow, sample, scale_intrinsics, transform
from geometry.completion import GUESS_ERROR, DepthEstimator
from geometry.ego_motion import EgoMotion, fit_ego_motion, scale_to_depth
from geometry.errors import GeometryError
from geometry.flow import FlowEstimator, OpticalFlow, optical_flow
from geometry.known import depth_from_poses, pose_from_depth
from geometry.motion_mask import moving_mask, residual_noise
from geometry.pose import inverse
from geometry.triangulation import MIN_CONTRAST, PRIOR, fuse, relative_scale, triangulate

__all__ = ["FrameGeometry", "VideoGeometry", "VideoGeometryState", "moving_mask", "residual_noise"]

WORKING_SIZE = 192
"""Longer side in pixels to which images are reduced."""

BASELINE = 0.04
"""Median motion since the last keyframe, as a share of the width, that makes a new one."""

MEMORY = 0.9
"""What is left in each frame of the information that earlier frames gave about depth."""

KNOWN = 0.99
"""Confidence of measured depth."""

FLAT = 0.02
"""Confidence of depth that nothing is known about."""

SUREST = 9.0
"""Largest weight (odds of the confidence) of one frame's estimate against that of all before it: it may be mistaken."""

DISAGREEMENT = 0.35
"""Median difference in the logarithm of depth from which an estimate is dropped for what was known before."""

_TOLD, _LEAST = 0.3, 200
"""Confidence of what was known before, and its least number of pixels, for it to be asked."""

_SHARED = 0.5
"""Share of trusted pixels from which an old frame still shows the same scene."""

_FARTHEST = 1e4
"""Pixels of uncertainty where nothing is known about a depth."""


@dataclass(frozen=True, eq=False)
class FrameGeometry:
    """What is known of one frame, at the working resolution H x W.

    Args:
        depth: (H, W) float32 along z, positive everywhere; in metres where ``metric``, else in a scale that the whole
            video shares.
        confidence: (H, W) float32 in [0, 1]: 0.99 where measured, `FLAT` where nothing is known; else
            ``1 / (1 + (s / 0.3)^2)`` of the relative standard deviation s, see `triangulate`.
        intrinsics: (3, 3) float64 of the working resolution.
        world_from_camera: (4, 4) float64; the world is that of the measured poses, else the first camera.
        current_from_previous: (4, 4) float64 motion of the camera since the frame before, in the same scale; identity
            in the first frame.
        flow: (2, H, W) float32 from this frame to the one before, or None in the first.
        residual: (2, H, W) float32, ``flow`` without what the camera explains; NaN where the flow cannot be trusted;
            None in the first frame.
        moving: (H, W) bool, pixels that move on their own (`moving_mask`); none in the first frame.
        metric: Whether a measured depth or pose, or a network of metric depth, gave the scale.
    """

    depth: Tensor
    confidence: Tensor
    intrinsics: Tensor
    world_from_camera: Tensor
    current_from_previous: Tensor
    flow: Tensor | None
    residual: Tensor | None
    moving: Tensor
    metric: bool


@dataclass(frozen=True, eq=False)
class VideoGeometryState:
    """What a video's geometry carries from frame to frame; K is at most the number of keyframes plus one.

    Args:
        images: (K, 3, H, W) uint8 at the working resolution: the keyframes, then the last frame.
        world_from_camera: (K, 4, 4) float64 of these.
        intrinsics: (3, 3) float64 of these.
        depth: (H, W) float32 of the last frame.
        confidence: (H, W) float32 of the last frame.
        metric: (1,) bool, whether the scale is metres.
        measured: (1,) bool, whether all these poses were given.
    """

    images: Tensor
    world_from_camera: Tensor
    intrinsics: Tensor
    depth: Tensor
    confidence: Tensor
    metric: Tensor
    measured: Tensor

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as NumPy arrays by name, for saving."""
        return {f.name: getattr(self, f.name).numpy() for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> VideoGeometryState:
        """The state that :meth:`arrays` came from.

        Raises:
            GeometryError: An array is missing.
        """
        missing = [f.name for f in fields(cls) if f.name not in arrays]
        if missing:
            raise GeometryError(f"expected the state of a video's geometry, {missing[0]} is missing")
        return cls(**{f.name: torch.from_numpy(np.array(arrays[f.name])) for f in fields(cls)})

    def scaled(self, factor: float) -> VideoGeometryState:
        """The same scene in another unit."""
        poses = self.world_from_camera.clone()
        poses[:, :3, 3] *= factor
        return replace(self, world_from_camera=poses, depth=self.depth * factor)


@dataclass(frozen=True, eq=False)
class _Views:
    """Flow from the current frame to K earlier ones, the last frame first, the pairwise motions and their masks."""

    found: tuple[OpticalFlow, ...]
    motions: tuple[EgoMotion, ...]
    masks: tuple[Tensor, ...]

    @property
    def anchor(self) -> int:
        """The oldest frame that still shows much of the same scene, so that errors do not add up; else the last."""
        shared = [k for k, mask in enumerate(self.masks) if float(mask.float().mean()) >= _SHARED]
        return max(shared, default=0)


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
        return _nothing(False)

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
            state = _restarted(state)
        if pose is not None and not bool(state.measured) and not bool(state.metric):
            state = _nothing(True)
        if not len(state.images):
            return self._first(state, small, k, measured, pose)
        return self._next(state, small, k, measured, pose)

    def _guess(self, small: Tensor, k: Tensor, depth: Tensor, confidence: Tensor) -> Tensor | None:
        """The network's depth, told what is known where it can complete that."""
        if self.depth is None:
            return None
        given = small[None].float() / 255, k[None].float()
        if bool(confidence.any()) and hasattr(self.depth, "complete"):
            found = self.depth.complete(*given, depth[None, None], confidence[None, None])
        else:
            found = self.depth(*given)
        if found.shape != (1, 1, *small.shape[1:]):
            raise GeometryError(f"expected depth (1, 1, H, W) from the network, found {tuple(found.shape)}")
        return found[0, 0].detach().float().cpu().clamp(min=1e-6)

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
        views = self._views(state, small, k)
        poses = state.world_from_camera.flip(0)  # the last frame first, as the views
        exact = pose is not None and bool(state.measured)
        if measured is not None and not bool(state.metric):
            before = _carried(state, views, k, _rotation(views.motions[0]))
            factor = relative_scale(measured, (measured > 0).float(), *before)
            if factor is not None:
                state, poses = state.scaled(factor), state.scaled(factor).world_from_camera.flip(0)
        depth, confidence = torch.zeros(small.shape[1:]), torch.zeros(small.shape[1:])
        if exact:
            assert pose is not None
            others = inverse(poses) @ pose
            world = pose
            if measured is None:
                flows = torch.stack([f.flow for f in views.found])
                depth, confidence = depth_from_poses(flows, torch.stack(views.masks), k, others, small)
        elif measured is not None:
            world = poses[views.anchor] @ _pose_of_depth(views, views.anchor, measured, k)
        else:
            depth, confidence, world = self._triangulated(state, views, poses, small, k)
        if pose is not None and not exact:  # the world becomes that of the measured pose
            poses, world = pose @ inverse(world) @ poses, pose
        moved = inverse(world) @ poses[0]
        if measured is None:
            depth, confidence = _averaged((depth, confidence), _carried(state, views, k, moved))
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
        residual, moving = _independent(views.found[0], depth, confidence, inverse(moved), k)
        return after, FrameGeometry(depth, confidence, k, world, moved, flow, residual, moving, metric)

    def _views(self, state: VideoGeometryState, small: Tensor, k: Tensor) -> _Views:
        found = tuple(optical_flow(small, image, self.flow) for image in state.images.flip(0))
        masks = tuple(f.consistent.cpu() for f in found)
        found = tuple(OpticalFlow(f.flow.float().cpu(), m, f.error.float().cpu()) for f, m in zip(found, masks))
        return _Views(found, tuple(fit_ego_motion(f.flow, k, m) for f, m in zip(found, masks)), masks)

    def _triangulated(
        self, state: VideoGeometryState, views: _Views, poses: Tensor, small: Tensor, k: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Depth and confidence in the scale of the video, and the pose, from motion alone."""
        nothing = torch.zeros(small.shape[1:])
        moving = [j for j, motion in enumerate(views.motions) if motion.translates]
        used = sorted({0, *moving})
        if np.median([views.motions[j].contrast for j in used]) < MIN_CONTRAST:
            used = moving
        if used:
            flows, masks = (
                torch.stack([part[j] for j in used]) for part in ([f.flow for f in views.found], views.masks)
            )
            found = triangulate(flows, masks, k, [views.motions[j] for j in used], small)
            turn = found.target_from_reference[0] if used[0] == 0 else _rotation(views.motions[0])
            before = _carried(state, views, k, inverse(_rotation_part(turn)))
            shift = float(inverse(turn)[2, 3]) if used[0] == 0 else 0.0
            ahead = torch.where(found.depth > shift, found.depth - shift, torch.zeros_like(found.depth))
            factor = relative_scale(*before, ahead, found.confidence)
            if found.depth.any() and factor is not None:
                scaled = found.scaled(factor)
                if not _agree(scaled.depth, *before):
                    sure = torch.where(before[1] > _TOLD, before[0], nothing)
                    return nothing, nothing, poses[0] @ _pose_of_depth(views, 0, sure, k)
                anchor = max(j for j in used if j <= max(views.anchor, used[0]))
                world = poses[anchor] @ scaled.target_from_reference[used.index(anchor)]
                return scaled.depth, scaled.confidence, world
        still = [j for j in range(len(views.motions)) if j not in moving and j <= views.anchor]
        anchor = max(still, default=0)
        return nothing, nothing, poses[anchor] @ _rotation(views.motions[anchor])

    def _complete(
        self, depth: Tensor, confidence: Tensor, measured: Tensor | None, small: Tensor, k: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Depth everywhere, from what is measured or estimated and the network's guess."""
        error, flat = self.depth_error, 1 / (1 + (self.depth_error / PRIOR) ** 2)
        if measured is not None:
            depth, confidence = measured, KNOWN * (measured > 0).float()
        guess = self._guess(small, k, depth, confidence)
        if guess is None:
            guess, error, flat = torch.ones_like(depth), PRIOR * ((1 - FLAT) / FLAT) ** 0.5, FLAT
        full = fuse(depth, confidence, guess, error)
        known = (depth > 0) & (confidence > 0)
        odds = flat / (1 - flat) + torch.where(known, confidence / (1 - confidence).clamp(min=1e-3), 0.0)
        total = (odds / (1 + odds)).float()
        if measured is not None:
            full, total = torch.where(known, measured, full), torch.where(known, confidence, total)
        return full.float(), total

    def _remembered(
        self,
        state: VideoGeometryState,
        views: _Views,
        small: Tensor,
        poses: Tensor,
        world: Tensor,
        depth: Tensor,
        confidence: Tensor,
    ) -> VideoGeometryState:
        """The state after the frame: the last frame becomes a keyframe once the camera has moved on from the others."""
        kept, place = state.images, poses.flip(0)
        if len(kept) > 1:
            nearest, mask = views.found[1].flow, views.masks[1]
            lengths = torch.linalg.vector_norm(nearest, dim=0)[mask]
            share = float(mask.float().mean())
            stays = share >= _SHARED and float(lengths.median()) < BASELINE * small.shape[2]
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


def _nothing(metric: bool) -> VideoGeometryState:
    return VideoGeometryState(
        torch.zeros(0, 3, 0, 0, dtype=torch.uint8),
        torch.zeros(0, 4, 4, dtype=torch.float64),
        torch.eye(3, dtype=torch.float64),
        torch.zeros(0, 0),
        torch.zeros(0, 0),
        torch.tensor([metric]),
        torch.tensor([False]),
    )


def _restarted(state: VideoGeometryState) -> VideoGeometryState:
    """No images to compare with, but the pose of the last frame."""
    return replace(state, images=state.images[:0], world_from_camera=state.world_from_camera[-1:])


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


def _rotation_part(transform_: Tensor) -> Tensor:
    turned = transform_.clone()
    turned[:3, 3] = 0
    return turned


def _rotation(motion: EgoMotion) -> Tensor:
    """The rotation of a pairwise motion, as a transform."""
    return _rotation_part(motion.target_from_source)


def _pose_of_depth(views: _Views, index: int, depth: Tensor, k: Tensor) -> Tensor:
    """``earlier_from_current`` in the unit of the current frame's depth."""
    flow, mask = views.found[index].flow, views.masks[index]
    start = scale_to_depth(views.motions[index], flow, depth, k)
    return pose_from_depth(flow, mask, depth, k, start, torch.eye(4, dtype=torch.float64))


def _carried(
    state: VideoGeometryState, views: _Views, k: Tensor, current_from_previous: Tensor
) -> tuple[Tensor, Tensor]:
    """Depth and confidence of the last frame at the pixels of the current one, along the flow; 0 where unknown."""
    shape = state.depth.shape
    moved = transform(back_project(state.depth[None, None].double(), k[None]), current_from_previous[None])[0, 2]
    ends = (pixel_grid(*shape) + views.found[0].flow)[None]
    both = torch.stack([moved.float(), state.confidence])[None]
    depth, confidence = sample(both, ends, padding="zeros", mode="nearest")[0]
    known = views.masks[0] & (depth > 0) & (confidence > 0)
    odds = MEMORY * confidence / (1 - confidence).clamp(min=1e-3)
    nothing = torch.zeros(shape)
    return torch.where(known, depth, nothing), torch.where(known, odds / (1 + odds), nothing)


def _agree(depth: Tensor, known: Tensor, confidence: Tensor) -> bool:
    """Whether an estimate of depth is like what was known before, as far as anything was."""
    both = (depth > 0) & (known > 0) & (confidence > _TOLD)
    if int(both.sum()) < _LEAST:
        return True
    return float((depth[both] / known[both]).log().abs().median()) < DISAGREEMENT


def _averaged(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two uncertain depths as one, averaged in the logarithm, each by its information.

    Both come of overlapping windows, so that their errors are alike: together they are no surer than the surer one.
    """
    odds = [(c / (1 - c).clamp(min=1e-3)).clamp(max=SUREST) for _, c in (a, b)]
    total = odds[0] + odds[1]
    logs = [torch.where(d > 0, d, torch.ones_like(d)).log() for d, _ in (a, b)]
    mean = (odds[0] * logs[0] + odds[1] * logs[1]) / total.clamp(min=1e-9)
    known = total > 0
    return torch.where(known, mean.exp(), torch.zeros_like(mean)), torch.maximum(a[1], b[1])


def _independent(
    found: OpticalFlow, depth: Tensor, confidence: Tensor, previous_from_current: Tensor, k: Tensor
) -> tuple[Tensor, Tensor]:
    """Residual of the flow, NaN where it cannot be trusted, and where something moves on its own."""
    z, motion, matrix = depth[None, None].double(), previous_from_current[None], k[None]
    residual = motion_residual(found.flow[None].double(), z, motion, matrix)[0]
    parallax = (rigid_flow(z, motion, matrix) - rigid_flow(z, _rotation_part(motion[0])[None], matrix))[0]
    relative = PRIOR * (1 / confidence.clamp(min=1e-6) - 1).clamp(min=0).sqrt()
    along = (parallax * relative).clamp(-_FARTHEST, _FARTHEST).float()
    residual = torch.where(found.consistent, residual, torch.nan).float()
    if not bool(found.consistent.any()):
        return residual, torch.zeros_like(found.consistent)
    noise = max(residual_noise(residual, found.consistent), 0.1)
    spread = torch.where(found.error.isfinite(), found.error, 0.0)
    return residual, moving_mask(residual, (noise**2 + spread**2).sqrt(), along)

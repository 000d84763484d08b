"""What one frame of a video shows beside earlier ones: flow, motion, and depth from both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from geometry.camera import pixel_grid, project, rays, sample
from geometry.ego_motion import EgoMotion, fit_ego_motion, scale_to_depth
from geometry.flow import FlowEstimator, OpticalFlow, optical_flow
from geometry.known import pose_from_depth
from geometry.motion_mask import moving_mask, residual_noise
from geometry.pose import inverse
from geometry.triangulation import MIN_CONTRAST, PRIOR, relative_scale, triangulate
from geometry.video_state import VideoGeometryState

FAR = {"dis_sparse": "dis_half"}
"""Flow to earlier frames than the last, by the flow to the last, where it is another."""

MEMORY = 0.9
"""What is left in each frame of the information that earlier frames gave about depth."""

SUREST = 9.0
"""Largest weight (odds of the confidence) of one frame's estimate against that of all before it: it may be mistaken."""

DISAGREEMENT = 0.35
"""Median difference in the logarithm of depth from which an estimate is dropped for what was known before."""

SHARED = 0.5
"""Share of trusted pixels from which an old frame still shows the same scene."""

_TOLD, _LEAST = 0.3, 200
"""Confidence of what was known before, and its least number of pixels, for it to be asked."""

_FARTHEST = 1e4
"""Pixels of uncertainty where nothing is known about a depth."""


@dataclass(frozen=True, eq=False)
class Views:
    """The current frame beside K earlier ones, the last frame first.

    Args:
        intrinsics: (3, 3) float64 of all frames.
        found: Flow from the current frame to each of them.
        motions: The pairwise motions.
        stride: Pixels between those that motions are fitted to and that are triangulated.
    """

    intrinsics: Tensor
    found: tuple[OpticalFlow, ...]
    motions: tuple[EgoMotion, ...]
    stride: int = 1

    @classmethod
    def of(
        cls, image: Tensor, earlier: Tensor, intrinsics: Tensor, flow: str | FlowEstimator, stride: int = 1
    ) -> Views:
        """Compare an image (3, H, W) with earlier ones (K, 3, H, W)."""
        methods = [flow, *[FAR.get(flow, flow) if isinstance(flow, str) else flow] * (len(earlier) - 1)]
        found = [optical_flow(image, other, method) for other, method in zip(earlier, methods)]
        found = [OpticalFlow(f.flow.float().cpu(), f.consistent.cpu(), f.error.float().cpu()) for f in found]
        looked_at = torch.zeros(image.shape[1:], dtype=torch.bool)
        looked_at[::stride, ::stride] = True
        motions = tuple(fit_ego_motion(f.flow, intrinsics, f.consistent & looked_at) for f in found)
        return cls(intrinsics, tuple(found), motions, stride)

    @cached_property
    def _rays(self) -> Tensor:
        """(3, H, W) float32 viewing rays with z = 1."""
        return rays(*self.found[0].flow.shape[1:], self.intrinsics[None])[0].float()

    def _seen(self, other_from_current: Tensor, depth: Tensor) -> Tensor:
        """Pixels (2, H, W) of another frame where it sees the current one, if nothing else moves."""
        points = depth * torch.einsum("ij,jhw->ihw", other_from_current[:3, :3].float(), self._rays)
        points = points + other_from_current[:3, 3, None, None].float()
        return project(points[None], self.intrinsics[None].float())[0][0]

    @property
    def anchor(self) -> int:
        """The oldest frame that still shows much of the same scene, so that errors do not add up; else the last."""
        shared = [k for k, found in enumerate(self.found) if float(found.consistent.float().mean()) >= SHARED]
        return max(shared, default=0)

    def stacked(self, used: list[int] | None = None) -> tuple[Tensor, Tensor]:
        """Flows (N, 2, H, W) and masks (N, H, W) to some of the frames; None: to all."""
        found = self.found if used is None else [self.found[k] for k in used]
        return torch.stack([f.flow for f in found]), torch.stack([f.consistent for f in found])

    def rotation(self, index: int) -> Tensor:
        """The rotation of a pairwise motion, as a transform."""
        return rotation_part(self.motions[index].target_from_source)

    def pose_of_depth(self, index: int, depth: Tensor) -> Tensor:
        """``earlier_from_current`` in the unit of the current frame's depth."""
        found = self.found[index]
        start = scale_to_depth(self.motions[index], found.flow, depth, self.intrinsics)
        still = torch.eye(4, dtype=torch.float64)
        return pose_from_depth(found.flow, found.consistent, depth, self.intrinsics, start, still)

    def triangulated(self, state: VideoGeometryState, poses: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Depth from motion alone.

        Args:
            state: After the last frame.
            poses: (K, 4, 4) ``world_from_camera`` of the earlier frames.
            image: (3, H, W) the current one.

        Returns:
            Depth and confidence (H, W) in the scale of the video, 0 where unknown, and the pose of the current frame.
        """
        nothing = torch.zeros(image.shape[1:])
        moving = [j for j, motion in enumerate(self.motions) if motion.translates]
        used = sorted({0, *moving})
        if np.median([self.motions[j].contrast for j in used]) < MIN_CONTRAST:
            used = moving
        if used:
            motions = [self.motions[j] for j in used]
            found = triangulate(*self.stacked(used), self.intrinsics, motions, image, self.stride)
            turn = found.target_from_reference[0] if used[0] == 0 else self.rotation(0)
            before = self.carried(state, inverse(rotation_part(turn)))
            shift = float(inverse(turn)[2, 3]) if used[0] == 0 else 0.0
            ahead = torch.where(found.depth > shift, found.depth - shift, torch.zeros_like(found.depth))
            factor = relative_scale(*before, ahead, found.confidence)
            if found.depth.any() and factor is not None:
                scaled = found.scaled(factor)
                if not _agree(scaled.depth, *before):
                    sure = torch.where(before[1] > _TOLD, before[0], nothing)
                    return nothing, nothing, poses[0] @ self.pose_of_depth(0, sure)
                anchor = max(j for j in used if j <= max(self.anchor, used[0]))
                world = poses[anchor] @ scaled.target_from_reference[used.index(anchor)]
                return scaled.depth, scaled.confidence, world
        still = [j for j in range(len(self.motions)) if j not in moving and j <= self.anchor]
        anchor = max(still, default=0)
        return nothing, nothing, poses[anchor] @ self.rotation(anchor)

    def carried(self, state: VideoGeometryState, current_from_previous: Tensor) -> tuple[Tensor, Tensor]:
        """Depth and confidence of the last frame at the pixels of the current one, along the flow; 0 where unknown."""
        shape, last = state.depth.shape, self.found[0]
        ahead = torch.einsum("j,jhw->hw", current_from_previous[2, :3].float(), self._rays)
        moved = state.depth * ahead + float(current_from_previous[2, 3])
        ends = (pixel_grid(*shape) + last.flow)[None]
        both = torch.stack([moved, state.confidence])[None]
        depth, confidence = sample(both, ends, padding="zeros", mode="nearest")[0]
        known = last.consistent & (depth > 0) & (confidence > 0)
        odds = MEMORY * confidence / (1 - confidence).clamp(min=1e-3)
        nothing = torch.zeros(shape)
        return torch.where(known, depth, nothing), torch.where(known, odds / (1 + odds), nothing)

    def independent(self, depth: Tensor, confidence: Tensor, previous_from_current: Tensor) -> tuple[Tensor, Tensor]:
        """Residual of the flow to the last frame, NaN where it cannot be trusted, and where something moves on its own.

        Args:
            depth: (H, W) of the current frame.
            confidence: (H, W) of it.
            previous_from_current: (4, 4) in the unit of the depth.
        """
        last = self.found[0]
        seen = self._seen(previous_from_current, depth)
        parallax = seen - self._seen(rotation_part(previous_from_current), depth)
        residual = last.flow + pixel_grid(*depth.shape) - seen
        relative = PRIOR * (1 / confidence.clamp(min=1e-6) - 1).clamp(min=0).sqrt()
        along = (parallax * relative).clamp(-_FARTHEST, _FARTHEST)
        residual = torch.where(last.consistent, residual, torch.nan)
        if not bool(last.consistent.any()):
            return residual, torch.zeros_like(last.consistent)
        noise = max(residual_noise(residual, last.consistent), 0.1)
        spread = torch.where(last.error.isfinite(), last.error, 0.0)
        return residual, moving_mask(residual, (noise**2 + spread**2).sqrt(), along)


def rotation_part(transform_: Tensor) -> Tensor:
    """A transform (4, 4) without its translation."""
    turned = transform_.clone()
    turned[:3, 3] = 0
    return turned


def averaged(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two uncertain depths as one, averaged in the logarithm, each by its information.

    Both come of overlapping windows, so that their errors are alike: together they are no surer than the surer one.
    """
    odds = [(c / (1 - c).clamp(min=1e-3)).clamp(max=SUREST) for _, c in (a, b)]
    total = odds[0] + odds[1]
    logs = [torch.where(d > 0, d, torch.ones_like(d)).log() for d, _ in (a, b)]
    mean = (odds[0] * logs[0] + odds[1] * logs[1]) / total.clamp(min=1e-9)
    known = total > 0
    return torch.where(known, mean.exp(), torch.zeros_like(mean)), torch.maximum(a[1], b[1])


def _agree(depth: Tensor, known: Tensor, confidence: Tensor) -> bool:
    """Whether an estimate of depth is like what was known before, as far as anything was."""
    both = (depth > 0) & (known > 0) & (confidence > _TOLD)
    if int(both.sum()) < _LEAST:
        return True
    return float((depth[both] / known[both]).log().abs().median()) < DISAGREEMENT

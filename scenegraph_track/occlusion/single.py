"""Following one target with an eye on what hides it, beside its target model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from scenegraph_track.occlusion.surface_tracker import SurfaceState, SurfaceTracker
from scenegraph_track.occlusion.visibility import VisibilityState, VisibilityTracker, VisibleParts
from scenegraph_track.target.follow import follow
from scenegraph_track.target.followed import Followed
from scenegraph_track.target.memory import Verdict
from scenegraph_track.target.single import SingleTracker

TARGET = 0
"""Name of the target among the objects."""


@dataclass(frozen=True)
class SeenTarget:
    """A target in one frame.

    Args:
        followed: By its target model.
        seen: Of it.
        visible: Visible part, 0 to 1.
        renewed: Frames since it was given to what sees it.
    """

    followed: Followed
    seen: SurfaceState | VisibilityState
    visible: float
    renewed: int


@dataclass(frozen=True)
class OcclusionAwareTracker:
    """Follows one target; what is seen of it decides what is remembered and where it goes while it is hidden.

    No view is remembered of which too little is seen (``following.memory.visible``); a target that its model does not
    find moves with its surface or points (GOT-JEPA, stage C; the second is ours).

    Args:
        target: The target model.
        visibility: Of surfaces, or of points with OccuSolver without delay (stride 1).
        renew: Frames after which a target that is well seen is given to it anew.
        carry: Whether a target that is not found moves with what is seen of it.
    """

    target: SingleTracker
    visibility: SurfaceTracker | VisibilityTracker
    renew: int = 8
    carry: bool = True

    def start(self, image: NDArray[np.uint8], box: NDArray[np.float64]) -> SeenTarget:
        """See `SingleTracker.start`."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        state, _ = self.visibility.step(self.visibility.start(), pixels, {TARGET: torch.from_numpy(box).float()})
        return SeenTarget(self.target.start(image, box), state, 1.0, 0)

    def step(self, state: SeenTarget, image: NDArray[np.uint8]) -> tuple[SeenTarget, NDArray[np.float64] | None, float]:
        """See `SingleTracker.step`."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        seen, parts = self.visibility.step(state.seen, pixels)
        visible = state.visible if parts is None else float(parts.fraction[0, -1])
        network, settings = self.target.network, self.target.settings
        after = follow(network, settings, state.followed, pixels[None], torch.tensor([visible]))
        if self.carry and parts is not None and after.verdicts[0] == Verdict.NOT_FOUND:
            after = replace(after, boxes=after.boxes + _moved(parts).repeat(2))
        renewed = state.renewed + 1
        sure = after.verdicts[0] == Verdict.SURE and visible >= settings.memory.visible
        if renewed >= self.renew and sure:
            seen, renewed = self.visibility.give(seen, {TARGET: after.boxes[0]}), 0
        absent = after.lost[0] > settings.patience
        box = None if absent else after.boxes[0].double().numpy()
        return SeenTarget(after, seen, visible, renewed), box, float(after.scores[0])


def _moved(parts: VisibleParts) -> torch.Tensor:
    """(2,) pixels that the points of the only object have moved since the frame before: the median, seen ones first."""
    if parts.positions.shape[2] < 2:
        return torch.zeros(2)
    steps, seen = parts.positions[0, :, -1] - parts.positions[0, :, -2], parts.visibility[0, :, -2:].amin(1)
    there = steps.isfinite().all(1)
    best = there & (seen > 0.5)
    chosen = steps[best if best.sum() >= 3 else there]
    return chosen.median(0).values if len(chosen) else torch.zeros(2)

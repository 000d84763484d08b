"""One step of discovery: the slots of a frame, numbered as in the frame before, in one explicit state.

Slots of the frame before are carried along the flow and are the first slots of this one; whichever still explains
pixels keeps its number.  A slot that explains none is carried on for a while, so that an object that is hidden for a
few frames comes back under its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from detectors.carrying import carry_masks
from detectors.proposals import proposals_from_labels
from detectors.slot_detector import SlotDetector
from scenegraph_track.errors import UserError
from scenegraph_track.structures import Detections

MEMORY = 6
"""Frames for which a slot that explains nothing is carried on."""

LEAST = 0.35
"""Probability from which a pixel is of a slot's object."""

PRESENCE = 0.3
"""Presence from which a slot is an object, see `detectors.slot_detector.Slots`."""

LEAST_CELLS = 4
"""Cells, at the resolution of the slots, that an object needs."""

_FADING = 0.9
"""What is left in each frame of the mask of a slot that explains nothing."""


@dataclass(frozen=True, eq=False)
class DiscoveryState:
    """What discovery carries from frame to frame.

    Args:
        numbers: (K,) int64 of the slots.
        ages: (K,) int64 frames since each explained anything.
        masks: (K, h, w) soft masks in the last frame.
        used: The largest number so far.
    """

    numbers: Tensor
    ages: Tensor
    masks: Tensor
    used: int = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as NumPy arrays by name, for saving."""
        return {
            "numbers": self.numbers.numpy(),
            "ages": self.ages.numpy(),
            "masks": self.masks.numpy(),
            "used": np.array([self.used]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> DiscoveryState:
        """The state that :meth:`arrays` came from.

        Raises:
            UserError: An array is missing.
        """
        try:
            parts = (torch.from_numpy(np.array(arrays[name])) for name in ("numbers", "ages", "masks"))
            return cls(*parts, used=int(arrays["used"][0]))
        except KeyError as missing:
            raise UserError(f"expected the state of a detector, {missing.args[0]} is missing") from None

    @classmethod
    def start(cls) -> DiscoveryState:
        """Before the first frame."""
        return cls(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 1, 1))


@dataclass(frozen=True, eq=False)
class Discovered:
    """The objects of a frame.

    Args:
        labels: (H, W) int64, numbers of objects that stay the same through the video; 0 for none.
        numbers: (N,) int64 of the objects.
        presence: (N,) in [0, 1].
        embeddings: (N, E) float32.
    """

    labels: Tensor
    numbers: Tensor
    presence: Tensor
    embeddings: Tensor


@torch.no_grad()
def discover(
    net: SlotDetector,
    state: DiscoveryState,
    image: Tensor,
    residual: Tensor | None = None,
    flow: Tensor | None = None,
) -> tuple[DiscoveryState, Discovered]:
    """Find the objects of a frame; a pure function of its arguments.

    Args:
        net: In evaluation mode.
        state: What the last step returned, or :meth:`DiscoveryState.start`.
        image: (3, H, W) RGB in [0, 1].
        residual: (2, H, W) pixels, flow without the camera's part, NaN where it cannot be trusted; or None.
        flow: (2, H, W) pixels, from this frame to the one before; None: nothing has moved.
    """
    if residual is not None and not bool(residual.isfinite().any()):
        residual = None
    before = state.masks
    if len(before) and flow is not None:
        before = carry_masks(before, flow)
    slots = net.detect(image, residual, before)
    fresh = len(slots) - len(before)
    numbers = torch.cat([state.numbers, torch.arange(state.used + 1, state.used + 1 + fresh)])
    own = (slots.masks == slots.masks.amax(0, keepdim=True)) & (slots.masks > LEAST) if len(slots) else slots.masks > 1
    seen = (own.flatten(1).sum(1) >= LEAST_CELLS) & (slots.presence > PRESENCE)
    labels = _labels(slots.masks, numbers, seen, tuple(image.shape[1:]))
    ages = torch.cat([state.ages, torch.full((fresh,), MEMORY)]) + 1
    ages[seen] = 0
    masks = slots.masks
    if len(before):
        faded = _FADING * interpolate(before[None].float(), masks.shape[1:], mode="bilinear", align_corners=False)[0]
        carried = torch.cat([faded, masks[len(before) :]])
        masks = torch.where(seen[:, None, None], masks, carried)
    kept = ages <= MEMORY
    following = DiscoveryState(numbers[kept], ages[kept], masks[kept], state.used + fresh)
    return following, Discovered(labels, numbers[seen], slots.presence[seen], slots.looks[seen])


def _labels(masks: Tensor, numbers: Tensor, seen: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) number of the object of each pixel."""
    if not bool(seen.any()):
        return torch.zeros(size, dtype=torch.int64)
    fine = interpolate(masks[seen][None], size, mode="bilinear", align_corners=False)[0]
    best, place = fine.max(0)
    return torch.where(best > LEAST, numbers[seen][place], 0)


def discovered_detections(
    found: Discovered, depth: Tensor | None = None, confidence: Tensor | None = None
) -> Detections:
    """The objects of a frame as detections with boxes, masks, embeddings and depths.

    Args:
        found: Of a frame.
        depth: (H, W), or None.
        confidence: (H, W) of it, or None.
    """
    order = torch.zeros(int(found.numbers.max()) + 1 if len(found.numbers) else 1, dtype=torch.int64)
    order[found.numbers] = torch.arange(1, len(found.numbers) + 1)
    proposals = proposals_from_labels(
        order[found.labels], found.presence, embeddings=found.embeddings, depth=depth, confidence=confidence
    )
    return Detections(**vars(proposals))

"""One step of discovery: the objects of a frame, numbered as in the frames before, in one explicit state.

The slots of each frame are found afresh, as slots that begin with those of the frame before inherit their mistakes.
The masks of the frames before, carried along the flow, hand the numbers on (`detectors.carrying.number_masks`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.carrying import NumberedMasks, number_masks
from detectors.proposals import proposals_from_labels
from detectors.slot_detector import SlotDetector, full_resolution
from scenegraph_track.structures import Detections

DiscoveryState = NumberedMasks
"""What discovery carries from frame to frame; its masks are at 1/2 of the resolution of the images."""

LEAST = 0.35
"""Probability from which a pixel is of a slot's object."""

LEAST_CELLS = 4
"""Cells, at the resolution of the slots, that an object needs."""


@dataclass(frozen=True, eq=False)
class FoundObjects:
    """The objects of one frame, without numbers that last.

    Args:
        masks: (N, h, w) probability that a cell is of the object, at 1/2 of the resolution.
        cells: (N, h, w) bool, cells that each has for itself.
        presence: (N,) in [0, 1].
        embeddings: (N, E) float32.
        size: (H, W) of the image.
    """

    masks: Tensor
    cells: Tensor
    presence: Tensor
    embeddings: Tensor
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.presence)

    def labels(self, numbers: Tensor) -> Tensor:
        """(H, W) int64, the number (of N) of the object of each pixel, 0 for none."""
        if not len(self):
            return torch.zeros(self.size, dtype=torch.int64)
        best, place = full_resolution(self.masks, self.size).max(0)
        return torch.where(best > LEAST, numbers[place], 0)


@dataclass(frozen=True, eq=False)
class Discovered:
    """The objects of a frame of a video.

    Args:
        labels: (H, W) int64, numbers of objects that stay the same through the video; 0 for none.
        numbers: (N,) int64 of the objects.
        objects: The N objects.
    """

    labels: Tensor
    numbers: Tensor
    objects: FoundObjects


def objects_of(net: SlotDetector, image: Tensor, residual: Tensor | None = None) -> FoundObjects:
    """The objects of a frame on its own; arguments as in `discover`."""
    if residual is not None and not bool(residual.isfinite().any()):
        residual = None
    slots = net.detect(image, residual)
    cells = _own_cells(slots.masks)
    seen = cells.flatten(1).sum(1) >= LEAST_CELLS
    size = int(image.shape[1]), int(image.shape[2])
    return FoundObjects(slots.masks[seen], cells[seen], slots.presence[seen], slots.looks[seen], size)


@torch.no_grad()
def discover(
    net: SlotDetector,
    state: DiscoveryState,
    image: Tensor,
    residual: Tensor | None = None,
    flow: Tensor | None = None,
) -> tuple[DiscoveryState, Discovered]:
    """Find the objects of a frame and number them as before; a pure function of its arguments.

    Args:
        net: In evaluation mode.
        state: What the last step returned, or :meth:`DiscoveryState.start`.
        image: (3, H, W) RGB in [0, 1].
        residual: (2, H, W) pixels, flow without the camera's part, NaN where it cannot be trusted; or None.
        flow: (2, H, W) pixels, from this frame to the one before, not finite where unknown; None: nothing has moved.
    """
    found = objects_of(net, image, residual)
    following, numbers = number_masks(state, found.cells, flow)
    return following, Discovered(found.labels(numbers), numbers, found)


def _own_cells(masks: Tensor) -> Tensor:
    """(K, h, w) bool, the cells that each of the slots (K, h, w) has for itself."""
    if not len(masks):
        return masks > LEAST
    best, place = masks.max(0)
    return (place == torch.arange(len(masks))[:, None, None]) & (best > LEAST)


def discovered_detections(found: FoundObjects) -> Detections:
    """The objects of a frame as detections with boxes, masks and embeddings."""
    labels = found.labels(torch.arange(1, len(found) + 1))
    return Detections(**vars(proposals_from_labels(labels, found.presence, embeddings=found.embeddings)))

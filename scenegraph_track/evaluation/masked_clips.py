"""Clips whose target is partly hidden by a patch that goes along with it, from the second frame on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.single_clips import SingleClip, SingleSource

_GRAINS = (3, 9)
"""Random colours along a side of a patch, coarse ones and fine ones."""


@dataclass(frozen=True)
class MaskedSource:
    """The clips of another source with masked targets.

    Args:
        source: Of clips with images.
        share: Of the area of the target's box that is hidden.
    """

    source: SingleSource
    share: float

    def __str__(self) -> str:
        return f"{self.source}, {100 * self.share:.0f} % of each target masked"

    def __len__(self) -> int:
        return len(self.source)

    def single_clips(self, k: int) -> list[SingleClip]:
        """Those of the k-th group."""
        return [masked_clip(clip, self.share, (k, row)) for row, clip in enumerate(self.source.single_clips(k))]


def masked_clip(clip: SingleClip, share: float, seed: tuple[int, ...] = (0,)) -> SingleClip:
    """A clip in which an opaque, textured patch hides a part of the target's box in each frame but the first.

    The patch has the shape of the box and lies in one of its corners, the same in all frames and for all shares, so
    that larger patches hide all that smaller ones hide.  Its texture goes along with the target.  Truth and frames
    that count stay the same for all shares: a patch lies on absent targets nowhere.

    Args:
        clip: With images.
        share: Of the area of the box, from 0 to below 1; 0 leaves the clip as it is.
        seed: Of texture and corner.

    Raises:
        UserError: The share is none, or the clip has no images.
    """
    if not 0 <= share < 1:
        raise UserError(f"masked targets: expected shares from 0 to below 1, found {share:g}")
    if clip.images is None:
        raise UserError(f"{clip.name}: expected images, which masked targets are painted in")
    if share == 0:
        return clip
    rng = np.random.default_rng((*seed, 11))
    texture, corner = _texture(rng), rng.integers(0, 2, 2)
    images = [np.asarray(clip.images[0])]
    for index in range(1, len(clip)):
        image, box = np.array(clip.images[index]), clip.boxes[index]
        if np.isfinite(box).all():
            _paint(image, patch_of(box, share, corner), texture)
        images.append(image)
    visibility = clip.visibility.copy()
    visibility[1:] *= 1 - share
    return replace(clip, images=images, visibility=visibility)


def patch_of(box: NDArray, share: float, corner: NDArray) -> NDArray[np.float64]:
    """The patch (4,) xyxy on a box (4,), in the corner that two numbers of 0 or 1 name (right, lower)."""
    sides = box[2:] - box[:2]
    low = box[:2] + corner * (1 - np.sqrt(share)) * sides
    return np.concatenate([low, low + np.sqrt(share) * sides])


def _texture(rng: np.random.Generator, size: int = 64) -> NDArray[np.uint8]:
    total = np.tile(rng.uniform(40, 215, 3).astype(np.float32), (size, size, 1))
    for cells in _GRAINS:
        grain = rng.uniform(-60, 60, (cells, cells, 3)).astype(np.float32)
        total += cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(total, 0, 255).astype(np.uint8)


def _paint(image: NDArray[np.uint8], patch: NDArray[np.float64], texture: NDArray[np.uint8]) -> None:
    """Put a texture on the whole pixels that a patch covers most of, in place."""
    left, top, right, bottom = np.round(patch).astype(int)
    width, height = max(right - left, 1), max(bottom - top, 1)
    painted = cv2.resize(texture, (width, height), interpolation=cv2.INTER_AREA)
    rows = slice(max(top, 0), min(top + height, image.shape[0]))
    columns = slice(max(left, 0), min(left + width, image.shape[1]))
    image[rows, columns] = painted[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]

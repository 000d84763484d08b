"""Crop, transform, paste: clips with objects whose boxes are known because we have put them there.

After "Crop-Transform-Paste" (Li et al., 2021, arXiv 2106.10900): what is cut out of one frame moves through the frames
of another video, turned, scaled, sheared and coloured a little more in each frame.  Ours pastes several cut-outs at a
time, the later ones in front, so that they also cover one another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

_PATCH_SHAPES = 3
"""Kinds of patches of no object: box, ellipse, polygon."""


class PasteSettings(BaseModel):
    """How cut-outs are pasted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objects: tuple[int, int] = Field((2, 4), description="cut-outs in a clip, drawn from")
    patches: float = Field(0.3, ge=0, le=1, description="share of cut-outs that are patches of no object")
    twins: float = Field(0.3, ge=0, le=1, description="chance that a cut-out is there twice, the other one recoloured")
    sides: tuple[float, float] = Field((14.0, 60.0), description="mean side of a pasted cut-out, pixels, drawn from")
    speed: float = Field(0.5, ge=0, description="typical way from frame to frame, in mean sides")
    scale: float = Field(0.08, ge=0, description="typical change of the logarithm of the size from frame to frame")
    turn: float = Field(0.15, ge=0, description="typical turn from frame to frame, radians")
    shear: float = Field(0.1, ge=0, description="typical shear and change of shape of a frame")
    colour: float = Field(0.1, ge=0, description="typical change of brightness and tint of a frame, logarithms")


@dataclass(frozen=True, eq=False)
class Cutout:
    """A piece of an image.

    Args:
        pixels: (h, w, 3) uint8.
        mask: (h, w) uint8, 255 where the object is.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]

    @cached_property
    def corners(self) -> NDArray[np.int64]:
        """(2, N) x and y of the corners of the first and last pixel of each row of the mask."""
        rows = np.flatnonzero(self.mask.any(1))
        first, last = (self.mask[rows] > 0).argmax(1), self.mask.shape[1] - (self.mask[rows, ::-1] > 0).argmax(1)
        return np.stack([np.tile(np.concatenate([first, last]), 2), np.concatenate([rows, rows, rows + 1, rows + 1])])


def cut_out_object(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Cutout:
    """The piece of an image (H, W, 3) under a mask (H, W) that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    piece = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Cutout(image[piece], mask[piece].astype(np.uint8) * 255)


def cut_out_patch(rng: np.random.Generator, image: NDArray[np.uint8], sides: tuple[float, float]) -> Cutout:
    """A box, an ellipse or a polygon from anywhere in an image (H, W, 3), about as large as ``sides`` say."""
    limit = image.shape[:2]
    height, width = (
        int(np.clip(np.exp(rng.uniform(*np.log(sides))) * math.exp(rng.normal(0, 0.25)), 4, side)) for side in limit
    )
    top, left = (int(rng.integers(side - own + 1)) for side, own in zip(limit, (height, width)))
    mask = np.zeros((height, width), np.uint8)
    kind = int(rng.integers(_PATCH_SHAPES))
    if kind == 0:
        mask[:] = 255
    elif kind == 1:
        cv2.ellipse(mask, (width // 2, height // 2), ((width - 1) // 2, (height - 1) // 2), 0, 0, 360, 255, -1)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 9))))
        reach = rng.uniform(0.5, 1.0, len(angles))
        points = np.stack([np.cos(angles) * width, np.sin(angles) * height], 1) * reach[:, None] / 2
        cv2.fillPoly(mask, [np.round(points + np.array([width / 2, height / 2])).astype(np.int32)], 255)
        mask[height // 2, width // 2] = 255
    return Cutout(image[top : top + height, left : left + width], mask)


def pasted(
    rng: np.random.Generator, images: NDArray[np.uint8], cutouts: list[Cutout], settings: PasteSettings
) -> dict[str, NDArray]:
    """A clip through which cut-outs move.

    Args:
        rng: What is drawn from.
        images: (T, H, W, 3) uint8, of any video.
        cutouts: K, from the farthest to the nearest.
        settings: How they move and change.

    Returns:
        ``images`` (T, H, W, 3) uint8; ``boxes`` (T, K, 4) float32, whole extents cut at the image, xyxy; ``visible``
        (T, K) float32, the part of each that is in the image and not covered.
    """
    count, height, width = images.shape[:3]
    found = images.copy()
    boxes, visible = np.zeros((count, len(cutouts), 4), np.float32), np.zeros((count, len(cutouts)), np.float32)
    limit = np.array([width, height, width, height], np.float32)
    paths = [_path(rng, cutout, count, (width, height), settings) for cutout in cutouts]
    for frame in range(count):
        alphas = []
        for number, (cutout, path) in enumerate(zip(cutouts, paths)):
            boxes[frame, number] = np.clip(_extent(cutout, path[frame]), 0, limit)
            alphas.append(_paste(rng, found[frame], cutout, path[frame], boxes[frame, number], settings.colour))
        free = np.ones((height, width), bool)
        for number in reversed(range(len(cutouts))):
            whole = (cutouts[number].mask > 0).sum() * abs(np.linalg.det(paths[number][frame, :, :2]))
            visible[frame, number] = min((alphas[number] & free).sum() / max(whole, 1.0), 1.0)
            free &= ~alphas[number]
    return {"images": found, "boxes": boxes, "visible": visible}


def recoloured(rng: np.random.Generator, cutout: Cutout) -> Cutout:
    """The same shape and pattern with its channels in another order or other brightness."""
    order = rng.permutation(3)
    gain = np.exp(rng.normal(0, 0.4, 3))
    return Cutout(np.clip(cutout.pixels[..., order] * gain, 0, 255).astype(np.uint8), cutout.mask)


def _path(
    rng: np.random.Generator, cutout: Cutout, count: int, size: tuple[int, int], settings: PasteSettings
) -> NDArray[np.float64]:
    """(T, 2, 3) affine maps from the pixels of a cut-out to those of the frames."""
    own = np.array(cutout.mask.shape[::-1], float)
    side = math.exp(rng.uniform(*np.log(settings.sides)))
    scale = math.log(side / math.sqrt(own.prod())) + np.cumsum(rng.normal(0, settings.scale, count))
    angle = rng.normal(0, 0.3) + np.cumsum(rng.normal(0, settings.turn, count))
    velocity = rng.normal(0, settings.speed, 2) * side
    changes = velocity + rng.normal(0, 0.3 * settings.speed * side, (count, 2))
    place = rng.uniform(0.1, 0.9, 2) * size + np.cumsum(changes, 0) - changes[: count // 2].sum(0)
    maps = np.zeros((count, 2, 3))
    for frame in range(count):
        cosine, sine = math.cos(angle[frame]), math.sin(angle[frame])
        shape = np.eye(2) + rng.normal(0, settings.shear, (2, 2))
        maps[frame, :, :2] = math.exp(scale[frame]) * np.array([[cosine, -sine], [sine, cosine]]) @ shape
        maps[frame, :, 2] = place[frame] - maps[frame, :, :2] @ (own / 2)
    return maps


def _extent(cutout: Cutout, place: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4,) xyxy of all of a placed cut-out, in the image or not."""
    corners = cutout.corners
    there = place[:, :2] @ corners + place[:, 2:]
    return np.concatenate([there.min(1), there.max(1)])


def _paste(
    rng: np.random.Generator,
    image: NDArray[np.uint8],
    cutout: Cutout,
    place: NDArray[np.float64],
    extent: NDArray[np.float32],
    colour: float,
) -> NDArray[np.bool_]:
    """Draw a cut-out into an image, within its extent cut at the image; which pixels it has."""
    found = np.zeros(image.shape[:2], bool)
    left, top = np.floor(extent[:2]).astype(int)
    right, bottom = np.ceil(extent[2:]).astype(int)
    gain = np.exp(rng.normal(0, colour) + rng.normal(0, colour / 2, 3))
    if right <= left or bottom <= top:
        return found
    matrix = place.copy()
    matrix[:, 2] += place[:, :2] @ [0.5, 0.5] - [left + 0.5, top + 0.5]  # OpenCV counts from the first pixel's middle
    size = int(right - left), int(bottom - top)
    drawn = cv2.warpAffine(cutout.pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(cutout.mask, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    there = image[top:bottom, left:right]
    share = alpha[..., None].astype(np.float32) / 255
    there[:] = np.clip(drawn * gain.astype(np.float32), 0, 255) * share + there * (1 - share) + 0.5
    found[top:bottom, left:right] = alpha > 127
    return found

"""Things put in front of what a clip shows: pieces of other images, plain blocks and veils, and what they hide."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def crossed(
    rng: np.random.Generator, images: NDArray[np.uint8], other: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A piece of another image that moves across images (T, H, W, 3), and the pixels (T, H, W) that it hides."""
    frames, height, width = images.shape[:3]
    sides = rng.uniform(0.1, 0.35, 2) * (width, height)
    from_, to = rng.uniform(-0.1, 1.1, (2, 2)) * (width, height)
    ellipse, turn = rng.random() < 0.5, rng.uniform(0, 180)
    images, masks = images.copy(), np.zeros((frames, height, width), np.uint8)
    for t, mask in enumerate(masks):
        middle = from_ + (to - from_) * t / max(frames - 1, 1)
        if ellipse:
            centre, axes = tuple(int(v) for v in middle), tuple(int(v) for v in sides / 2)
            cv2.ellipse(mask, centre, axes, turn, 0, 360, 1, -1)
        else:
            corners = cv2.boxPoints((tuple(map(float, middle)), tuple(map(float, sides)), float(turn)))
            cv2.fillConvexPoly(mask, corners.astype(np.int32), 1)
        shifted = np.roll(other, (int(middle[1]), int(middle[0])), (0, 1))
        images[t][mask > 0] = shifted[mask > 0]
    return images, masks


def covered_at(masks: NDArray[np.uint8], tracks: NDArray) -> NDArray[np.bool_]:
    """Which points (N, T) of tracks (N, T, 2) lie where masks (T, H, W) are set."""
    height, width = masks.shape[1:]
    points = np.nan_to_num(tracks, nan=-1e4)
    x, y = (np.clip(points[..., k], 0, limit - 1).astype(int) for k, limit in ((0, width), (1, height)))
    return masks[np.arange(len(masks)), y, x] > 0


def put(
    rng: np.random.Generator,
    images: NDArray[np.uint8],
    other: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    veiled: float = 0.0,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Another image, one colour or a veil where masks are set; and the pixels that it hides.

    Args:
        rng: Source of randomness.
        images: (T, H, W, 3).
        other: (H, W, 3).
        masks: (T, H, W).
        veiled: Probability that it can be seen through, and so hides nothing.
    """
    images = images.copy()
    plain, veil = rng.random() < 0.3, rng.random() < veiled
    colour = rng.integers(0, 256, 3)
    opacity = rng.uniform(0.2, 0.5) if veil else 1.0
    for image, mask in zip(images, masks):
        where = mask > 0
        paint = np.broadcast_to(colour, (int(where.sum()), 3)) if plain else other[where]
        image[where] = (opacity * paint + (1 - opacity) * image[where] + 0.5).astype(np.uint8)
    return images, np.zeros_like(masks) if veil else masks


def stuck(rng: np.random.Generator, boxes: NDArray, first: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Masks (T, H, W) of a block that lies on boxes (T, 4), from some frame after the first on and for a while."""
    masks = np.zeros((len(boxes), *size), np.uint8)
    begin = int(rng.integers(first + 1, len(boxes)))
    end = int(rng.integers(begin + 1, len(boxes) + 1))
    share = 1.1 if rng.random() < 0.25 else rng.uniform(0.2, 0.7)
    sides = np.sqrt(share) * np.exp(rng.uniform(-0.3, 0.3) * np.array([1, -1]))
    sides = np.minimum(sides, 1.1) if share < 1 else np.array([1.1, 1.1])
    corner = rng.uniform(0, 1, 2) * np.maximum(1 - sides, 0) - np.maximum(sides - 1, 0) / 2
    for t in range(begin, end):
        extent = boxes[t, 2:] - boxes[t, :2]
        low = boxes[t, :2] + corner * extent
        cv2.rectangle(masks[t], (low).astype(int).tolist(), (low + sides * extent).astype(int).tolist(), 1, -1)
    return masks

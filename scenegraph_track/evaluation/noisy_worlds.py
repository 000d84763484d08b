"""Rendered worlds with their truth and noisy detections, and simulated streams of detections in the same form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scenegraph_track.data.streams import simulate
from scenegraph_track.data.worlds import render, sample_scene

LEAST_VISIBLE = 0.25
"""Visible fraction of objects that can be detected."""

MISSED, NOISE = 0.07, 0.04
"""Share of them that is missed, and noise of each side of a box in mean sides."""

SMALLEST = 6.0
"""Pixels: objects of a smaller mean side are not detected."""


@dataclass(frozen=True, eq=False)
class NoisyFrame:
    """A frame with its truth and its detections.

    Args:
        image: (3, H, W) in [0, 1]; None in streams.
        ids: (N,) identities of all objects, the same in each frame.
        visible: (N,) visible fraction.
        boxes: (N, 4) xyxy of the visible part; zeros where there is none.
        whole: (N, 4) xyxy of the whole object, not cut at the image; zeros where it is behind the camera.
        found: (M, 4) xyxy of the detections.
        scores: (M,); of worlds in [0.5, 1], higher where more is visible.
    """

    image: Tensor | None
    ids: NDArray[np.int64]
    visible: NDArray[np.float64]
    boxes: NDArray[np.float64]
    whole: NDArray[np.float64]
    found: NDArray[np.float64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NoisyWorld:
    """A held-out world or stream.

    Args:
        frames: In their order.
        rate: Frames a second.
        size: (W, H) of its images, pixels.
    """

    frames: tuple[NoisyFrame, ...]
    rate: float
    size: tuple[int, int]


def noisy_world(preset: str, seed: int, frames: int, size: tuple[int, int]) -> NoisyWorld:
    """A world of the split test; the same seed gives the same to the last digit.

    Args:
        preset: Kind of world.
        seed: Of the world, its noise and its misses.
        frames: Their number.
        size: (W, H) pixels.
    """
    clip = render(sample_scene(preset, "test", seed=seed, size=size, frames=frames))
    rng, made = np.random.default_rng(seed), []
    for frame in clip.frames:
        visible, boxes = frame.visible_fraction.astype(float), frame.visible_boxes.astype(float)
        side = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
        noisy = boxes + rng.normal(0, NOISE, boxes.shape) * side[:, None]
        noisy[:, 2:] = np.maximum(noisy[:, 2:], noisy[:, :2] + 2)
        kept = (visible > LEAST_VISIBLE) & (side > SMALLEST) & (rng.random(len(boxes)) >= MISSED)
        image = torch.from_numpy(np.ascontiguousarray(frame.image.transpose(2, 0, 1))).float() / 255
        whole = frame.amodal_boxes.astype(float)
        made.append(NoisyFrame(image, frame.ids, visible, boxes, whole, noisy[kept], 0.5 + 0.5 * visible[kept]))
    return NoisyWorld(tuple(made), float(clip.scene.frame_rate), size)


def noisy_stream(preset: str, seed: int, frames: int) -> NoisyWorld:
    """A stream of the split test, without images; the boxes of what is visible are those of the whole objects.

    Args:
        preset: Kind of stream.
        seed: Of all that is drawn.
        frames: Their number.
    """
    stream, made = simulate(preset, seed, "test", frames), []
    for frame in range(stream.frames):
        rows, (found, scores, _) = stream.truth_frame == frame, stream.detections(frame)
        boxes = stream.truth_boxes[rows]
        made.append(NoisyFrame(None, stream.truth_id[rows], stream.truth_visibility[rows], boxes, boxes, found, scores))
    return NoisyWorld(tuple(made), stream.frame_rate, stream.image_size)

"""Pieces of simulated detection streams in the form of worlds: people and cars at scale, without relations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.streams import Stream, simulate

HIDDEN = 0.15
"""Visible part below which an object counts as hidden where it is chosen what is kept."""

_SKIPS = (1, 2, 3, 4)
_SLOWEST = 5.0


def stream_world(
    rng: np.random.Generator, split: str, frames: int, objects: int, preset: str = "mixed"
) -> dict[str, NDArray]:
    """A piece of a simulated stream, some of its frames left out.

    Args:
        rng: What is drawn from.
        split: Of the streams.
        frames: T.
        objects: K; of more, those that are hidden most often are kept.
        preset: Of the streams.

    Returns:
        As `make_scene_world`, besides ``size`` (2,) of the image; without ``relations`` and ``world_from_camera``.
    """
    skip = int(rng.choice(_SKIPS))
    stream = simulate(preset, int(rng.integers(2**31)), split, frames * skip)
    skip = min(skip, max(1, int(stream.frame_rate / _SLOWEST)))
    return piece(stream, skip * np.arange(frames), objects)


def piece(stream: Stream, numbers: NDArray[np.int64], objects: int) -> dict[str, NDArray]:
    """The frames of those numbers, evenly apart."""
    chosen = np.isin(stream.truth_frame, numbers)
    time = np.searchsorted(numbers, stream.truth_frame[chosen])
    ids, slot = np.unique(stream.truth_id[chosen], return_inverse=True)
    width = max(len(ids), objects)
    boxes, visible = np.zeros((len(numbers), width, 4), np.float32), np.zeros((len(numbers), width), np.float32)
    depth = np.full((len(numbers), width, 3), np.nan, np.float32)
    boxes[time, slot], visible[time, slot] = stream.truth_boxes[chosen], stream.truth_visibility[chosen]
    depth[time, slot, 0] = stream.truth_depth[chosen]
    hidden = ((visible < HIDDEN) & (boxes[..., 2] > boxes[..., 0])).sum(0)
    often = np.lexsort((-visible.sum(0), -hidden * (visible > HIDDEN).any(0)))
    kept = np.sort(often[:objects])
    size = np.array(stream.image_size)
    step = numbers[1] - numbers[0]
    return {
        "boxes": boxes[:, kept],
        "visible_boxes": np.clip(boxes[:, kept], 0, np.tile(size, 2)).astype(np.float32),
        "visible": visible[:, kept],
        "hider": np.full((len(numbers), objects), -1),
        "depth": depth[:, kept],
        "intrinsics": np.array([[size[0], 0, size[0] / 2], [0, size[0], size[1] / 2], [0, 0, 1.0]]),
        "rate": np.float64(stream.frame_rate / step),
        "preset": np.int64(-1),
        "size": size,
    }

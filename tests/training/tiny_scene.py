"""A world of the stage `scene` by hand: one object walks behind another, a third walks out of the image."""

from __future__ import annotations

import numpy as np

SIZE = (100, 80)
RATE = 10.0
HIDDEN = range(8, 12)
"""Frames in which object 0 is behind object 1."""


def tiny_world(frames: int = 16, slots: int = 4) -> dict[str, np.ndarray]:
    time = np.arange(frames)
    boxes = np.zeros((frames, slots, 4), np.float32)
    boxes[:, 0] = np.array([10, 20, 22, 50]) + 3 * time[:, None] * np.array([1, 0, 1, 0])
    boxes[:, 1] = [35, 15, 60, 60]
    boxes[:, 2] = np.array([70, 30, 80, 55]) + 4 * time[:, None] * np.array([1, 0, 1, 0])
    visible = np.zeros((frames, slots), np.float32)
    visible[:, :2] = 1
    visible[HIDDEN, 0] = 0
    visible[:, 2] = np.clip((SIZE[0] - boxes[:, 2, 0]) / 10, 0, 1)
    seen = np.clip(boxes, 0, np.tile(SIZE, 2)).astype(np.float32)
    relations = np.zeros((frames, slots, slots), np.uint8)
    relations[:, 0, 2] = 6  # in front of and left of
    relations[:, 1, [0, 2]] = 2  # in front of
    relations[HIDDEN, 1, 0] = 3  # and hides it
    hider = np.full((frames, slots), -1)
    hider[HIDDEN, 0] = 1
    depth = np.full((frames, slots, 3), np.nan, np.float32)
    depth[:, :3] = np.array([[5, 0.1, 0.2], [3, 0.1, 0.2], [6, 0.1, 0.2]])
    return {
        "boxes": boxes,
        "visible_boxes": seen * (visible > 0)[..., None],
        "visible": visible,
        "relations": relations,
        "hider": hider,
        "depth": np.where((visible > 0)[..., None], depth, np.nan).astype(np.float32),
        "intrinsics": np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]]),
        "world_from_camera": np.repeat(np.eye(4)[None], frames, 0),
        "rate": np.float64(RATE),
        "preset": np.int64(0),
    }

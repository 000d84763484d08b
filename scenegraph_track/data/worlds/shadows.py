"""Soft shadows on the ground under every thing, drawn into a map of the ground's brightness."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.scene import Scene, Thing

LIGHT_UNIT = 200.0
"""The value of the light map that leaves the ground's brightness as it is."""
_BITS = 4


class Shadows:
    """The shadow ellipses of a scene for all frames, in the pixels of its light map."""

    def __init__(self, scene: Scene) -> None:
        left, top, side = scene.surroundings.light_square
        self.scale = scene.surroundings.light_map.shape[0] / side
        slide = -scene.light[[0, 2]] / scene.light[1]
        opaque = (*scene.objects, *scene.occluders)
        self.ellipses = np.array([self._ellipses(thing, slide, left, top) for thing in opaque])
        self.ellipses = self.ellipses.reshape(len(opaque), len(scene), 6)

    def _ellipses(self, thing: Thing, slide: NDArray, left: float, top: float) -> NDArray[np.float64]:
        """(T, 6): centre, half axes in map pixels, turn in degrees, darkness."""
        pose, hull = thing.world_from_object, thing.solid.hull(None)
        extent, height = np.abs(hull[:, [0, 2]]).max(0), float(np.ptp(hull[:, 1]))
        lift = np.maximum(0.0, -pose[:, 1, 3] - max(0.0, float(hull[:, 1].max())))
        centre = pose[:, [0, 2], 3] - slide * (lift + 0.25 * height)[:, None]
        axes = np.hypot(1.15 * extent + 0.1, 0.3 * height * np.abs(slide)) * self.scale
        turn = np.degrees(np.arctan2(pose[:, 2, 0], pose[:, 0, 0]))
        dark = LIGHT_UNIT * (0.38 + 0.35 * np.minimum(lift, 1.0))
        place = (centre - [left, top]) * self.scale
        return np.column_stack([place, np.tile(np.maximum(axes, 0.2), (len(pose), 1)), turn, dark])

    def cast(self, light_map: NDArray[np.uint8], frame: int) -> NDArray[np.uint8]:
        """The light map of a frame: the static one with the shadows of that frame."""
        light_map = light_map.copy()
        one = 1 << _BITS
        ellipses = self.ellipses[:, frame]
        near = (np.abs(ellipses[:, :2]) < 3 * len(light_map)).all(1)
        for x, y, long, short, turn, dark in ellipses[near].tolist():
            centre, axes = (round(x * one), round(y * one)), (round(long * one), round(short * one))
            cv2.ellipse(light_map, centre, axes, turn, 0, 360, int(dark), -1, cv2.LINE_AA, _BITS)
        return cv2.GaussianBlur(light_map, (0, 0), max(0.6, 0.1 * self.scale))

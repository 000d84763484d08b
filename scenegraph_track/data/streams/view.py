"""The part of the ground that the camera sees at one time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenegraph_track.data.streams.camera import PERSON_HEIGHT, CameraPath

_NEAREST_PERSON = 0.7  # metres


@dataclass
class View:
    """A trapezoid on the ground, in world coordinates.

    Args:
        eye: Camera centre on the ground, shape (2,), metres.
        velocity: Its velocity, shape (2,), metres per second.
        ahead: Unit vector of the direction of view, shape (2,).
        right: Unit vector to the right, shape (2,).
        half_width: Tangent of half the horizontal field of view.
        near: Depth at which a head leaves the image at its lower border, metres.
        far: Depth at which agents come and go, metres.
    """

    eye: np.ndarray
    velocity: np.ndarray
    ahead: np.ndarray
    right: np.ndarray
    half_width: float
    near: float
    far: float

    def outside(self, place: np.ndarray, margin: float | np.ndarray) -> np.ndarray:
        """Return which places (..., 2) lie outside the view by more than a margin in metres."""
        relative = place - self.eye
        depth, lateral = relative @ self.ahead, np.abs(relative @ self.right)
        beyond = (depth < self.near - margin) | (depth > self.far + margin)
        return beyond | (lateral > np.maximum(depth, 0) * self.half_width + margin)

    def places(self, rng: np.random.Generator, count: int, low: float, spread: float = 1.0) -> np.ndarray:
        """Draw places in the view, not nearer than ``low`` metres, shape (count, 2)."""
        low = max(self.near * 1.05, low)
        depth = low * (self.far / low) ** (0.5 + (rng.random(count) - 0.5) * spread)
        lateral = rng.uniform(-0.95, 0.95, count) * depth * self.half_width
        return self.eye + depth[:, None] * self.ahead + lateral[:, None] * self.right


def views(camera: CameraPath, frames: np.ndarray, far_factor: float) -> list[View]:
    """Return the view of each of the given frames, shape (K,); ``far`` is ``far_factor`` times the middle depth."""
    last = len(camera.times) - 1
    rate = 1 / (camera.times[1] - camera.times[0]) if last else 1.0
    velocity = (camera.position[np.minimum(frames + 1, last), :2] - camera.position[frames, :2]) * rate
    eye, yaw, focal = camera.position[frames], camera.yaw[frames], camera.focal[frames]
    sin, cos = np.sin(yaw), np.cos(yaw)
    lowest_ray = np.arcsin(-camera.camera_from_world[frames, 2, 2]) + np.arctan(camera.image_size[1] / 2 / focal)
    above_heads = np.maximum(eye[:, 2] - PERSON_HEIGHT, 0)
    near = np.maximum(_NEAREST_PERSON, above_heads / np.tan(np.clip(lowest_ray, 0.05, 1.5)))
    far = np.maximum(camera.middle_depth * far_factor, 1.5 * near)
    ahead, right = np.stack([sin, cos], -1), np.stack([cos, -sin], -1)
    columns = (eye[:, :2], velocity, ahead, right, camera.half_width[frames].tolist(), near.tolist(), far.tolist())
    return [View(*row) for row in zip(*columns, strict=True)]

"""A pinhole camera and the smooth paths it moves along.

World axes: x right, y **down** (the ground is ``y = 0``, heights are negative y), z ahead.  Camera axes: x right, y
down, z along the optical axis.  Pixel coordinates are continuous, pixel centres at integer + 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CAMERA_MOTIONS = ("still", "pan", "walk", "drive", "handheld", "orbit")
"""Kinds of ego-motion: on a tripod, turning, walking, driving, held in the hand, moving round the scene."""


@dataclass(frozen=True)
class CameraPath:
    """A camera for every frame of a clip.

    Args:
        motion: One of `CAMERA_MOTIONS`.
        intrinsics: (3, 3) pinhole matrix in pixels, the same for all frames.
        world_from_camera: (T, 4, 4) poses, metres.
    """

    motion: str
    intrinsics: NDArray[np.float64]
    world_from_camera: NDArray[np.float64]

    @property
    def positions(self) -> NDArray[np.float64]:
        """(T, 3) optical centres in the world, metres."""
        return self.world_from_camera[:, :3, 3]


def rotation(yaw: NDArray, pitch: NDArray, roll: NDArray) -> NDArray[np.float64]:
    """World-from-body rotations ``Ry(yaw) Rx(-pitch) Rz(roll)``.

    Args:
        yaw: (...) radians, positive turns from +z towards +x.
        pitch: (...) radians, positive looks down.
        roll: (...) radians about the body's z.

    Returns:
        (..., 3, 3) rotation matrices.
    """
    yaw, pitch, roll = np.broadcast_arrays(yaw, -np.asarray(pitch, float), roll)
    cy, sy, cx, sx, cz, sz = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    rows = [
        [cy * cz + sy * sx * sz, -cy * sz + sy * sx * cz, sy * cx],
        [cx * sz, cx * cz, -sx],
        [-sy * cz + cy * sx * sz, sy * sz + cy * sx * cz, cy * cx],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def rigid(rotations: NDArray, translations: NDArray) -> NDArray[np.float64]:
    """Stack (..., 3, 3) linear parts and (..., 3) translations into (..., 4, 4) transforms."""
    out = np.zeros((*translations.shape[:-1], 4, 4))
    out[..., :3, :3], out[..., :3, 3], out[..., 3, 3] = rotations, translations, 1.0
    return out


def invert(transforms: NDArray) -> NDArray[np.float64]:
    """Inverse of (..., 4, 4) affine transforms."""
    linear = np.linalg.inv(transforms[..., :3, :3])
    return rigid(linear, -np.einsum("...ij,...j->...i", linear, transforms[..., :3, 3]))


def smooth_noise(rng: np.random.Generator, times: NDArray, hertz: tuple[float, float], channels: int) -> NDArray:
    """Band-limited noise: (T, channels), zero mean, deviation about 1, as a sum of five sines per channel."""
    frequency = rng.uniform(*hertz, (5, 1, channels))
    phase = rng.uniform(0, 2 * np.pi, (5, 1, channels))
    weight = rng.uniform(0.3, 1.0, (5, 1, channels))
    waves = weight * np.sin(2 * np.pi * frequency * times[None, :, None] + phase)
    return waves.sum(0) / np.sqrt((weight**2).sum(0) / 2)


def sample_intrinsics(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    """A random focal length (horizontal field of view of 48-82 degrees) and a principal point near the centre."""
    width, height = size
    focal = width / 2 / np.tan(np.radians(rng.uniform(48, 82)) / 2)
    cx, cy = width * (0.5 + rng.uniform(-0.02, 0.02)), height * (0.5 + rng.uniform(-0.02, 0.02))
    return np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1.0]])


def sample_camera(
    rng: np.random.Generator,
    motion: str,
    times: NDArray,
    intrinsics: NDArray,
    start: NDArray,
    yaw: float,
    pitch: float,
    low: NDArray,
    high: NDArray,
    pace: float,
) -> CameraPath:
    """Draw a camera path.

    Args:
        rng: Source of randomness.
        motion: One of `CAMERA_MOTIONS`.
        times: (T,) seconds.
        intrinsics: (3, 3) pinhole matrix.
        start: (3,) position at time 0, metres.
        yaw: Direction of view at the start, radians.
        pitch: Downward tilt, radians.
        low: (3,) smallest allowed position.
        high: (3,) largest allowed position; the path is scaled about its start until it fits.
        pace: Factor on the speed of walking, driving and orbiting.

    Returns:
        The path with one pose per frame.
    """
    shake_hz = (0.15, 1.2)
    angles = np.zeros((len(times), 3))  # yaw, pitch, roll
    offset = np.zeros((len(times), 3))  # right, down, ahead, in the frame of the first view
    if motion == "pan":
        swing, period = np.radians(rng.uniform(8, 28)), rng.uniform(3, 8)
        phase = rng.uniform(0, 2 * np.pi)
        angles[:, 0] = swing * (np.sin(2 * np.pi * times / period + phase) - np.sin(phase))
        angles[:, 1] = np.radians(rng.uniform(0, 3)) * np.sin(2 * np.pi * times / (1.7 * period) + phase)
    elif motion == "walk":
        speed, step = pace * rng.uniform(0.5, 1.5), rng.uniform(1.5, 2.1)
        side = rng.uniform(-0.6, 0.6)
        offset[:, 2], offset[:, 0] = speed * times * np.cos(side), speed * times * np.sin(side)
        offset[:, 1] = 0.025 * np.sin(2 * np.pi * step * times)
        offset[:, 0] += 0.02 * np.sin(np.pi * step * times)
        angles += np.radians([2.0, 0.8, 0.6]) * smooth_noise(rng, times, (0.1, 0.9), 3)
    elif motion == "drive":
        speed, turn = pace * rng.uniform(1.5, 8.0), np.radians(rng.uniform(-9, 9))
        heading = turn * np.sin(2 * np.pi * times / rng.uniform(5, 12))
        step = np.diff(times, prepend=times[0])
        offset[:, 0], offset[:, 2] = (
            np.cumsum(speed * step * np.sin(heading)),
            np.cumsum(speed * step * np.cos(heading)),
        )
        angles[:, 0] = heading
        offset[:, 1] = 0.008 * smooth_noise(rng, times, (0.8, 2.5), 1)[:, 0]
        angles[:, 1] += np.radians(0.3) * smooth_noise(rng, times, (0.8, 2.5), 1)[:, 0]
    elif motion == "handheld":
        angles += np.radians(rng.uniform(0.5, 2.2)) * np.array([1.0, 0.8, 0.5]) * smooth_noise(rng, times, shake_hz, 3)
        offset += rng.uniform(0.01, 0.06) * smooth_noise(rng, times, shake_hz, 3)
    elif motion == "orbit":
        radius, speed = rng.uniform(3.0, 7.0), pace * rng.uniform(0.3, 1.2) * rng.choice([-1.0, 1.0])
        around = speed * times / radius
        offset[:, 0], offset[:, 2] = radius * np.sin(around), radius * (1 - np.cos(around))
        angles[:, 0] = -around
        angles += np.radians(0.5) * smooth_noise(rng, times, shake_hz, 3)
    world_offset = offset @ rotation(yaw, 0.0, 0.0).T
    room = np.where(world_offset > 0, high - start, np.where(world_offset < 0, start - low, np.inf))
    reach = np.abs(world_offset) / np.maximum(room, 1e-6)
    world_offset /= max(1.0, float(reach.max()))
    pose = rigid(rotation(yaw + angles[:, 0], pitch + angles[:, 1], angles[:, 2]), start + world_offset)
    return CameraPath(motion, intrinsics, pose)

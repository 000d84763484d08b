"""The simulated pinhole camera: its path, the projection of upright bodies, and the motion of the background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenegraph_track.data.streams.parameters import CameraParameters
from scenegraph_track.data.streams.processes import smooth_noise

PERSON_HEIGHT = 1.7
NEAREST = 0.25  # metres; a body with a corner nearer than this is not drawn
_BACKDROP = 40.0  # metres at which a ray that misses the ground ends


@dataclass(frozen=True)
class CameraPath:
    """A pinhole camera over T frames in a world with x, y on the ground and z up, in metres.

    Args:
        times: Seconds, shape (T,).
        image_size: Width and height in pixels.
        position: Camera centre in the world, shape (T, 3).
        yaw: Direction of view on the ground, 0 along y, positive towards x, radians, shape (T,).
        camera_from_world: Rotations, shape (T, 3, 3); rows are right, down and forward.
        focal: Focal length in pixels, shape (T,).
        middle_depth: Distance at which a person has the drawn height, metres.
    """

    times: np.ndarray
    image_size: tuple[int, int]
    position: np.ndarray
    yaw: np.ndarray
    camera_from_world: np.ndarray
    focal: np.ndarray
    middle_depth: float

    @property
    def half_width(self) -> np.ndarray:
        """Tangent of half the horizontal field of view, shape (T,)."""
        return self.image_size[0] / 2 / self.focal


def rotations(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Return camera-from-world rotations, shape (T, 3, 3); positive pitch looks down, angles in radians (T,)."""
    sin_y, cos_y, sin_p, cos_p = np.sin(yaw), np.cos(yaw), np.sin(pitch), np.cos(pitch)
    right = np.stack([cos_y, -sin_y, np.zeros_like(yaw)], -1)
    forward = np.stack([cos_p * sin_y, cos_p * cos_y, -sin_p], -1)
    down = np.stack([-sin_p * sin_y, -sin_p * cos_y, -cos_p], -1)
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([c * right + s * down, c * down - s * right, forward], 1)


def draw_path(p: CameraParameters, rng: np.random.Generator, frames: int, play: np.ndarray | None) -> CameraPath:
    """Draw the path of a camera.

    ``p.motion`` is one of ``static``, ``shake`` (held in the hands), ``pan``, ``walk``, ``drive``, ``glide`` (high and
    slow) and ``broadcast`` (follows ``play`` with a lag, and zooms).

    Args:
        p: Parameters.
        rng: Source of randomness.
        frames: Number of frames T.
        play: Centre of the play relative to the middle of the field, metres, shape (T, 2); for broadcast only.

    Returns:
        The path.
    """
    width, height = p.image_size
    times = np.arange(frames) / p.frame_rate
    focal = max(width, height) / 2 / np.tan(np.radians(p.field_of_view) / 2)
    middle = focal * PERSON_HEIGHT / (p.person_share * height)
    camera_height = min(p.camera_height, 0.8 * middle)
    pitch0 = np.arctan2(camera_height, middle) - np.arctan((p.foot_row - 0.5) * height / focal)
    travel = np.zeros(frames)
    yaw = np.zeros(frames)
    log_zoom = np.zeros(frames)
    shake = smooth_noise(rng, times, p.shake_time, 3) * p.shake
    if p.motion == "static":
        shake[:] = 0
    elif p.motion == "pan":
        scale = rng.uniform(1, 4)
        yaw = smooth_noise(rng, times, scale, 1)[:, 0] * p.turn_rate * scale
        shake *= 0.3
    elif p.motion in ("walk", "drive", "glide"):
        pace = np.clip(0.5 + 0.8 * smooth_noise(rng, times, 3.0, 1)[:, 0], 0, 1.5)
        travel = np.cumsum(p.travel_speed * pace) / p.frame_rate
        rate = smooth_noise(rng, times, rng.uniform(1, 4), 1)[:, 0] * p.turn_rate
        yaw = np.cumsum(rate * (0.3 + 0.7 * pace)) / p.frame_rate
        shake *= {"walk": 1.0, "drive": 0.4, "glide": 0.15}[p.motion]
    elif p.motion == "broadcast":
        lag = rng.uniform(0.1, 0.8)
        aim = np.arctan2(play[:, 0], middle + play[:, 1])
        yaw = _lowpass(aim, lag * p.frame_rate)
        log_zoom = smooth_noise(rng, times, rng.uniform(1.5, 5), 1)[:, 0] * p.zoom
        shake *= 0.1
    heading = yaw
    if p.motion in ("walk", "drive", "glide"):
        yaw = yaw + rng.choice([0.0, 0.0, rng.uniform(-0.5, 0.5)])
    step = np.diff(travel, prepend=0.0)
    position = np.stack(
        [np.cumsum(step * np.sin(heading)), np.cumsum(step * np.cos(heading)), np.full(frames, camera_height)], -1
    )
    if p.motion == "walk":
        stride = 2 * np.pi * np.cumsum(0.6 + 0.8 * step * p.frame_rate) / p.frame_rate
        position[:, 2] += 0.025 * np.sin(2 * stride)
        shake[:, 0] += p.shake * np.sin(stride)
    yaw = yaw + shake[:, 0]
    rotation = rotations(yaw, pitch0 + shake[:, 1], 0.5 * shake[:, 2])
    return CameraPath(times, p.image_size, position, yaw, rotation, focal * np.exp(log_zoom), middle)


def project_bodies(
    camera: CameraPath,
    foot: np.ndarray,
    facing: np.ndarray,
    length: np.ndarray,
    width: np.ndarray,
    height: np.ndarray,
    lift: np.ndarray,
    cuboid: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Project upright bodies (elliptic cylinders or cuboids) to their bounding boxes.

    Args:
        camera: The camera over T frames.
        foot: Centre of the body on the ground, shape (T, N, 2), metres.
        facing: Unit vector of the body's long axis, shape (T, N, 2).
        length: Extent along ``facing``, broadcast to (T, N), metres.
        width: Extent across it.
        height: Height of the body.
        lift: Height of its lower end above the ground.
        cuboid: True for a cuboid, false for an elliptic cylinder.

    Returns:
        Boxes (T, N, 4) in pixels, depth of the foot point (T, N) in metres, and whether the whole body is in front of
        the camera (T, N).
    """
    rotation = camera.camera_from_world
    relative = foot - camera.position[:, None, :2]
    sight = relative / np.maximum(np.hypot(relative[..., 0], relative[..., 1]), 1e-9)[..., None]
    side = np.stack([facing[..., 1], -facing[..., 0]], -1)
    long_half, side_half = facing * (length / 2)[..., None], side * (width / 2)[..., None]
    across = np.stack([sight[..., 1], -sight[..., 0]], -1)
    reach_across = np.hypot((across * long_half).sum(-1), (across * side_half).sum(-1))[..., None] * across
    reach_along = np.hypot((sight * long_half).sum(-1), (sight * side_half).sum(-1))[..., None] * sight
    square = np.broadcast_to(cuboid, relative.shape[:2])[..., None]
    a = np.where(square, long_half, (reach_across + reach_along) / 2)
    b = np.where(square, side_half, (reach_across - reach_along) / 2)
    ground = rotation[:, :, :2].transpose(0, 2, 1)
    centre = relative @ ground - (camera.position[:, 2:] * rotation[:, :, 2])[:, None]
    a, b = a @ ground, b @ ground
    up = rotation[:, None, :, 2]
    low, high = up * lift[..., None], up * (lift + height)[..., None]
    corners = np.stack([a + b, a - b, -a + b, -a - b])
    corners = centre + np.concatenate([corners + low, corners + high])
    depth = corners[..., 2]
    in_front = (depth > NEAREST).all(0) & (centre[..., 2] > NEAREST)
    scale = camera.focal[:, None] / np.maximum(depth, NEAREST)
    x = corners[..., 0] * scale
    y = corners[..., 1] * scale
    boxes = np.stack([x.min(0), y.min(0), x.max(0), y.max(0)], -1)
    boxes += np.tile(np.array(camera.image_size) / 2, 2)
    return boxes, centre[..., 2], in_front


def background_motion(camera: CameraPath) -> np.ndarray:
    """Fit an affine map to the motion of the static background between successive frames.

    A grid of pixels is followed on the ground plane, or on a far backdrop above the horizon.

    Args:
        camera: The camera over T frames.

    Returns:
        Previous pixel to this pixel, shape (T, 2, 3); the identity for frame 0.
    """
    width, height = camera.image_size
    u, v = np.meshgrid(np.linspace(0.1, 0.9, 6) * width, np.linspace(0.15, 0.95, 6) * height)
    pixels = np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
    before, now = slice(None, -1), slice(1, None)
    rays = np.stack(np.broadcast_arrays((pixels[0] - width / 2), (pixels[1] - height / 2), 1.0))
    rays = np.tile(rays, (len(camera.times) - 1, 1, 1))
    rays[:, :2] /= camera.focal[before, None, None]
    rays = camera.camera_from_world[before].transpose(0, 2, 1) @ rays
    fall = np.maximum(-rays[:, 2], 1e-6)
    distance = np.minimum(camera.position[before, 2:] / fall, _BACKDROP)
    points = camera.position[before, :, None] + rays * distance[:, None]
    seen = camera.camera_from_world[now] @ (points - camera.position[now, :, None])
    moved = seen[:, :2] / np.maximum(seen[:, 2:], NEAREST) * camera.focal[now, None, None]
    moved += np.array([width / 2, height / 2])[:, None]
    affine = np.zeros((len(camera.times), 2, 3))
    affine[0] = np.eye(2, 3)
    affine[1:] = moved @ np.linalg.pinv(pixels)
    return affine


def _lowpass(values: np.ndarray, frames: float) -> np.ndarray:
    out = values.copy()
    keep = np.exp(-1 / max(frames, 1e-6))
    for t in range(1, len(values)):
        out[t] = keep * out[t - 1] + (1 - keep) * values[t]
    return out

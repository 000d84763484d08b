"""Long occlusions by construction: a wall, and a body that goes behind it and comes out again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.camera import CameraPath, invert
from scenegraph_track.data.worlds.placement import Stage


class Hiding(NamedTuple):
    """A wall and a path behind it.

    Args:
        wall: (2,) x and z of the wall's centre.
        wall_yaw: Its direction, radians.
        wall_width: Metres.
        wall_height: Metres.
        path: (T, 2) x and z of the body.
        heading: Of the body, radians.
    """

    wall: NDArray[np.float64]
    wall_yaw: float
    wall_width: float
    wall_height: float
    path: NDArray[np.float64]
    heading: float


def covered(camera: CameraPath, wall: Hiding, corners: NDArray) -> NDArray[np.bool_]:
    """When a convex body is wholly behind a wall: every line of sight to its corners crosses the wall.

    Args:
        camera: Poses (T).
        wall: The wall.
        corners: (T, V, 3) points whose convex hull holds the body, world metres.

    Returns:
        (T,) bool.
    """
    c, s = np.cos(wall.wall_yaw), np.sin(wall.wall_yaw)
    normal, along = np.array([s, 0.0, c]), np.array([c, 0.0, -s])
    centre = np.array([wall.wall[0], 0.0, wall.wall[1]])
    eye = camera.positions[:, None]
    near, far = (eye - centre) @ normal, (corners - centre) @ normal
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = eye + (near / (near - far))[..., None] * (corners - eye)
    inside = (np.abs((crossing - centre) @ along) < wall.wall_width / 2) & (-crossing[..., 1] < wall.wall_height)
    return (inside & (near * far < 0) & (crossing[..., 1] < 0.02)).all(1)


def in_view(camera: CameraPath, corners: NDArray, size: tuple[int, int]) -> NDArray[np.bool_]:
    """When most of a body's corners are in the image, (T,) bool."""
    view = invert(camera.world_from_camera)
    points = np.einsum("tij,tvj->tvi", view[:, :3, :3], corners) + view[:, None, :3, 3]
    pixels = points @ camera.intrinsics.T
    depth = np.maximum(pixels[..., 2:], 1e-6)
    inside = ((pixels[..., :2] > 0) & (pixels[..., :2] < np.array(size) * depth)).all(-1) & (points[..., 2] > 0.3)
    return inside.mean(1) > 0.6


def body_corners(path: NDArray, radius: float, height: float) -> NDArray[np.float64]:
    """(T, 8, 3) corners of the upright box round a body of any turn that stands on its path."""
    offset = np.array([[x, y, z] for x in (-radius, radius) for y in (0.0, -height) for z in (-radius, radius)])
    return np.stack([path[:, 0], np.zeros(len(path)), path[:, 1]], -1)[:, None] + offset


def longest_run(flags: NDArray[np.bool_]) -> tuple[int, int]:
    """First index and length of the longest run of True, (0, 0) where there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    if not len(edges):
        return 0, 0
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    best = int(lengths.argmax())
    return int(starts[best]), int(lengths[best])


def sample_hiding(
    rng: np.random.Generator, stage: Stage, radius: float, height: float, seconds: tuple[float, float]
) -> Hiding | None:
    """Draw a wall and a path so that the body is wholly hidden for a time within ``seconds``.

    Args:
        rng: Source of randomness.
        stage: Camera, times, bounds.
        radius: Of the body, metres.
        height: Of the body, metres.
        seconds: Shortest and longest time hidden; the longest is cut to 0.55 of the clip.

    Returns:
        The hiding, or None where twelve tries found none that is seen before and after.
    """
    times, duration = stage.times, float(stage.times[-1])
    rate = 1 / (times[1] - times[0])
    longest = min(seconds[1], 0.55 * duration)
    for _ in range(12):
        hidden = rng.uniform(1.1 * seconds[0], max(0.95 * longest, 1.1 * seconds[0]))
        enter = rng.uniform(0.25, 0.75) * (duration - hidden)
        middle = int(np.clip(round((enter + hidden / 2) * rate), 0, len(times) - 1))
        depth, gap = rng.uniform(2.6, 4.5), rng.uniform(0.3, 1.2) + radius
        centre = stage.ground_points(np.array([middle]), np.array([rng.uniform(0.38, 0.62)]), np.array([depth]))[0]
        eye = stage.camera.positions[middle]
        sight = centre - eye[[0, 2]]
        distance = float(np.linalg.norm(sight))
        sight /= distance
        yaw = float(np.arctan2(sight[0], sight[1]))
        along = np.array([np.cos(yaw), -np.sin(yaw)]) * rng.choice([-1.0, 1.0])
        ratio = (distance + gap) / distance
        width = rng.uniform(0.9, 1.9) + 2 * radius / ratio
        zone = max(width * ratio - 2.1 * radius * (1 + gap / distance), 0.1)
        top = -eye[1] + (height + eye[1]) * distance / (distance + gap - radius)
        speed = max(rng.uniform(0.5, 1.3), zone / hidden)
        wait = hidden - zone / speed
        turn_back = rng.random() < 0.25
        exit_side = -1.0 if turn_back else 1.0
        deep = zone * rng.uniform(0.2, 0.8) - zone / 2
        reach_at, leave_at = enter + (deep + zone / 2) / speed, enter + (deep + zone / 2) / speed + wait
        if turn_back:
            wait = hidden - 2 * (deep + zone / 2) / speed
            leave_at = reach_at + max(wait, 0.0)
        knots_t = [0.0, enter, reach_at, leave_at, duration + 1]
        end = deep + exit_side * speed * (duration + 1 - leave_at)
        place = np.interp(times, knots_t, [-zone / 2 - speed * enter, -zone / 2, deep, deep, end])
        path = centre + gap * sight + place[:, None] * along
        found = Hiding(centre, yaw, width, max(top, height) + 0.15, path, float(np.arctan2(along[1], along[0])))
        corners = body_corners(path, radius, height)
        cover = covered(stage.camera, found, corners)
        first, length = longest_run(cover)
        seen = in_view(stage.camera, corners, stage.size) & ~cover
        inside = ((path > stage.low + radius) & (path < stage.high - radius)).all()
        clear = np.hypot(*(centre - stage.camera.positions[:, [0, 2]]).T).min() > width / 2 + 0.6
        before, after = int(seen[:first].sum()), int(seen[first + length :].sum())
        if (
            inside
            and clear
            and seconds[0] * rate <= length - 1
            and length + 1 <= seconds[1] * rate
            and min(before, after) >= min(4, 0.08 * len(times))
        ):
            return found
    return None

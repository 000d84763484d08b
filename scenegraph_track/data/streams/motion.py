"""How agents move on the ground: goals, groups, stops, contact, and their coming and going."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenegraph_track.data.streams.camera import CameraPath
from scenegraph_track.data.streams.crowd import Crowd
from scenegraph_track.data.streams.parameters import MotionParameters
from scenegraph_track.data.streams.processes import smooth_noise
from scenegraph_track.data.streams.view import views


@dataclass(frozen=True)
class Trajectories:
    """Where S slots of agents are over T frames; a slot holds one life after another.

    Args:
        position: On the ground, shape (T, S, 2), metres.
        velocity: Shape (T, S, 2), metres per second.
        facing: Unit vectors, shape (T, S, 2).
        life: Number of the life that the slot holds, shape (T, S), int, -1 where it is empty.
        kind: Kind of each life (index into `KINDS`), shape (L,).
    """

    position: np.ndarray
    velocity: np.ndarray
    facing: np.ndarray
    life: np.ndarray
    kind: np.ndarray


def draw_play(p: MotionParameters, rng: np.random.Generator, times: np.ndarray, size: float) -> np.ndarray:
    """Draw the path of the centre of play on a field of the given size, shape (T, 2), metres."""
    scale = rng.uniform(1, 3) * max(1.0, size / max(p.sprint_speed, 1.0))
    return smooth_noise(rng, times, scale, 2) * np.array([0.55, 0.3]) * size


def move(p: MotionParameters, rng: np.random.Generator, camera: CameraPath, play: np.ndarray) -> Trajectories:
    """Move all agents of a sequence.

    Each agent accelerates towards the velocity that leads to its way point (relaxation time ``relax_time``), away from
    others (exponential repulsion) and at random; kinds differ in how they choose way points.

    Args:
        p: Parameters.
        rng: Source of randomness.
        camera: The camera; agents come and go at the borders of its view.
        play: Centre of the play relative to the middle of the field, shape (T, 2), metres (athletes only).

    Returns:
        The trajectories at the camera's frames.
    """
    duration = camera.times[-1] if len(camera.times) > 1 else 0.0
    frame_rate = (len(camera.times) - 1) / duration if duration > 0 else 1.0
    step = float(np.clip(1.5 / frame_rate, 0.1, 0.2))
    steps = int(np.ceil(duration / step)) + 2
    frame = np.minimum(np.round(np.arange(steps) * step * frame_rate).astype(int), len(camera.times) - 1)
    seen = views(camera, frame, p.far_factor)
    crowd = Crowd(p, rng, camera, play[0], step, seen[0])
    noise = rng.standard_normal((steps, crowd.slots, 2)) * (p.restlessness / np.sqrt(step))
    veer = p.wander * smooth_noise(rng, np.arange(steps) * step, 2.0, crowd.slots)
    record = np.empty((steps, crowd.slots, 6))
    lives = np.empty((steps, crowd.slots), int)
    for k in range(steps):
        record[k, :, :2], record[k, :, 2:4], record[k, :, 4:] = crowd.pos, crowd.vel, crowd.facing
        lives[k] = np.where(crowd.active, crowd.life, -1)
        crowd.advance(k * step, seen[k], play[frame[k]], noise[k], veer[k])
    return _interpolate(record, lives, camera.times, step, np.array(crowd.kinds, int))


def _interpolate(
    record: np.ndarray, lives: np.ndarray, times: np.ndarray, step: float, kind: np.ndarray
) -> Trajectories:
    place = times / step
    index = place.astype(int)
    u = (place - index)[:, None, None]
    a, b = record[index], record[index + 1]
    cubic = (2 * u - 3) * u * u
    position = a[..., :2] * (1 + cubic) - b[..., :2] * cubic
    position += step * (a[..., 2:4] * u * (1 - u) ** 2 - b[..., 2:4] * u * u * (1 - u))
    facing = a[..., 4:] * (1 - u) + b[..., 4:] * u
    facing /= np.maximum(np.hypot(facing[..., 0], facing[..., 1]), 1e-9)[..., None]
    life = np.where(lives[index] == lives[index + 1], lives[index], -1)
    return Trajectories(position, a[..., 2:4] * (1 - u) + b[..., 2:4] * u, facing, life, kind)

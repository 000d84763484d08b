"""Sizes and poses of bodies, and static things in the scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenegraph_track.data.streams.camera import CameraPath, project_bodies
from scenegraph_track.data.streams.crowd import ATHLETE, CYCLIST, DANCER, VEHICLE
from scenegraph_track.data.streams.motion import Trajectories
from scenegraph_track.data.streams.parameters import MotionParameters
from scenegraph_track.data.streams.processes import smooth_noise

# length, width, height in metres and weight
_VEHICLES = np.array(
    [[4.3, 1.8, 1.5, 6], [4.8, 2.0, 1.9, 2], [6.0, 2.2, 2.6, 1], [11.0, 2.6, 3.2, 1], [2.1, 0.8, 1.6, 1]]
)
_POLE, _WALL, _PARKED = range(3)


@dataclass(frozen=True)
class Boxes:
    """Projected boxes of N things over T frames: ``boxes`` (T, N, 4), ``depth`` (T, N), ``present`` (T, N)."""

    boxes: np.ndarray
    depth: np.ndarray
    present: np.ndarray


def project_agents(
    p: MotionParameters, rng: np.random.Generator, camera: CameraPath, agents: Trajectories
) -> tuple[Boxes, np.ndarray]:
    """Give agents sizes and poses and project them.

    Args:
        p: Parameters.
        rng: Source of randomness.
        camera: The camera.
        agents: Where they are.

    Returns:
        Their amodal boxes, and the phase of their steps (T, S) in radians.
    """
    kind = agents.kind
    lives = len(kind)
    grown = np.where(rng.random(lives) < 0.07, rng.uniform(0.6, 0.85, lives), 1.0)
    height = np.clip(rng.normal(1.72, 0.09, lives), 1.45, 2.05) * grown
    width = rng.normal(0.56, 0.06, lives).clip(0.4, 0.8) * grown * p.aspect
    length = rng.normal(0.45, 0.05, lives).clip(0.3, 0.6) * grown * p.aspect
    rides = kind == CYCLIST
    height[rides], width[rides], length[rides] = 1.75, 0.65, 1.75
    model = rng.choice(len(_VEHICLES), lives, p=_VEHICLES[:, 3] / _VEHICLES[:, 3].sum())
    drives = kind == VEHICLE
    scale = rng.normal(1, 0.05, lives).clip(0.85, 1.15)
    for value, column in ((length, 0), (width, 1), (height, 2)):
        value[drives] = (_VEHICLES[model, column] * scale)[drives]
    stiff = np.array([0.12, 0.1, 1.0, 1.0, 0.0, 0.1])[kind] * p.pose_amplitude
    life = np.maximum(agents.life, 0)
    slots = life.shape[1]
    speed = np.hypot(agents.velocity[..., 0], agents.velocity[..., 1])
    frame_time = camera.times[1] - camera.times[0] if len(camera.times) > 1 else 1.0
    phase = np.cumsum(speed, axis=0) * (frame_time * 2 * np.pi / 1.5) + rng.uniform(0, 2 * np.pi, slots)
    active = (kind == ATHLETE) | (kind == DANCER)
    length, width, height, stiff = length[life], width[life], height[life], stiff[life]
    stride = np.where(drives | rides, 0.0, 0.4)[life] * np.minimum(1, speed / 1.2)
    if active.any():
        stride = stride * (1 + 0.8 * active[life] * np.minimum(1, speed / 5))
    smoothed = 0.6 + 0.25 * np.sin(phase)
    length = length + stride * smoothed
    if p.aspect_changes < 1:
        upright = ~drives[life]
        excess = 0.5 * (1 - p.aspect_changes) * (length - width) * upright * ~rides[life]
        length, width = length - excess, width + excess
    lift = np.zeros_like(length)
    pose = smooth_noise(rng, camera.times, p.pose_time, 3 * slots).reshape(len(camera.times), 3, slots)
    width = width * (1 + stiff * 0.55 * np.maximum(pose[:, 0], -0.3))
    crouch = np.maximum(pose[:, 1] - 0.4, 0)
    height = height * (1 - np.minimum(0.45, 0.3 * stiff * crouch))
    if active.any():
        length = length * (1 + 0.6 * stiff * np.maximum(pose[:, 1], 0))
        jump = np.maximum(pose[:, 2] - 1.0, 0) * active[life] * p.pose_amplitude
        lift = np.minimum(0.7, 0.5 * jump)
        height = height * (1 + 0.1 * np.minimum(jump, 1.5))
        down = np.clip((-pose[:, 2] - 2.0) * 4, 0, 1) * active[life] * min(1.0, p.pose_amplitude)
        height = height * (1 - 0.6 * down)
        length = length + 0.9 * down
    boxes, depth, in_front = project_bodies(
        camera, agents.position, agents.facing, length, width, height, lift, drives[life]
    )
    size = boxes[..., 2:] - boxes[..., :2]
    error = smooth_noise(rng, camera.times, p.annotation_time, 4 * slots).reshape(len(boxes), slots, 4)
    boxes += p.annotation_noise * error * np.concatenate([size, size], -1)
    w, h = camera.image_size
    sane = (boxes[..., 2] - boxes[..., 0] < 3 * w) & (boxes[..., 3] - boxes[..., 1] < 3 * h)
    return Boxes(boxes, depth, in_front & (agents.life >= 0) & sane), phase


def project_occluders(p: MotionParameters, rng: np.random.Generator, camera: CameraPath, near: float) -> Boxes:
    """Put poles, walls and parked cars into the view (along the way of a moving camera) and project them.

    Args:
        p: Parameters.
        rng: Source of randomness.
        camera: The camera.
        near: Least depth in metres.

    Returns:
        Their boxes.
    """
    travelled = np.hypot(*np.diff(camera.position[:, :2], axis=0).T).sum() / camera.middle_depth
    turned = np.abs(np.diff(camera.yaw)).sum() / (2 * np.arctan(np.median(camera.half_width)))
    more = 1 + min(8.0, 0.7 * travelled + 0.3 * min(turned, 5.0))
    counts = rng.poisson(np.array([p.poles, p.walls, p.parked]) * more)
    kind = np.repeat([_POLE, _WALL, _PARKED], counts)
    n = len(kind)
    low, high = max(near, 0.5 * camera.middle_depth), 1.4 * camera.middle_depth
    place = static_places(rng, camera, n, low, high)
    length = np.select(
        [kind == _POLE, kind == _WALL],
        [rng.uniform(0.12, 0.5, n), p.wall_width * np.exp(0.3 * rng.standard_normal(n))],
        4.4,
    )
    width = np.select([kind == _POLE, kind == _WALL], [length, 0.3], 1.8)
    height = np.select(
        [kind == _POLE, kind == _WALL],
        [rng.uniform(2.5, 7, n), rng.choice([0.9, 1.3, 2.3, 3.0], n)],
        1.5,
    )
    across = np.median(camera.yaw) + np.where(kind == _PARKED, rng.choice([0, np.pi / 2], n), 0)
    across = across + rng.normal(0, 0.15, n)
    facing = np.stack([np.cos(across), -np.sin(across)], -1)
    shape = (len(camera.times), n)
    boxes, depth, present = project_bodies(
        camera,
        np.broadcast_to(place, (*shape, 2)),
        np.broadcast_to(facing, (*shape, 2)),
        np.broadcast_to(length, shape),
        np.broadcast_to(width, shape),
        np.broadcast_to(height, shape),
        np.zeros(shape),
        kind != _POLE,
    )
    return _open_view(Boxes(boxes, depth, present), camera.image_size)


def _open_view(things: Boxes, image_size: tuple[int, int]) -> Boxes:
    """Leave out what blocks too much of the view: a camera is not set up behind a wall."""
    wide, tall = image_size
    width = np.clip(things.boxes[..., 2], 0, wide) - np.clip(things.boxes[..., 0], 0, wide)
    height = np.clip(things.boxes[..., 3], 0, tall) - np.clip(things.boxes[..., 1], 0, tall)
    area = (width * height * things.present) / (wide * tall)
    share = (width * things.present).mean(0) / wide
    keep = (area.max(0, initial=0) < 0.3) & (np.cumsum(share) < 0.6)
    return Boxes(things.boxes[:, keep], things.depth[:, keep], things.present[:, keep])


def static_places(rng: np.random.Generator, camera: CameraPath, count: int, low: float, high: float) -> np.ndarray:
    """Draw places on the ground that some frame of the sequence sees at a depth between two bounds, (count, 2)."""
    frame = rng.integers(len(camera.times), size=count)
    depth = low * (high / low) ** rng.random(count)
    lateral = rng.uniform(-1, 1, count) * depth * camera.half_width[frame]
    yaw = camera.yaw[frame]
    ahead, right = np.stack([np.sin(yaw), np.cos(yaw)], -1), np.stack([np.cos(yaw), -np.sin(yaw)], -1)
    return camera.position[frame, :2] + depth[:, None] * ahead + lateral[:, None] * right

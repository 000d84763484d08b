"""False positives: static things that look like an object, and boxes anywhere that last a few frames."""

from __future__ import annotations

import numpy as np

from scenegraph_track.data.streams.bodies import static_places
from scenegraph_track.data.streams.camera import CameraPath, project_bodies
from scenegraph_track.data.streams.parameters import DetectorParameters
from scenegraph_track.data.streams.processes import autoregressive
from scenegraph_track.data.streams.suppression import Found


def clutter_places(p: DetectorParameters, rng: np.random.Generator, camera: CameraPath) -> Found:
    """Draw static things in the world that are taken for objects now and then."""
    travelled = np.hypot(*np.diff(camera.position[:, :2], axis=0).T).sum() / camera.middle_depth
    count = min(40, rng.poisson(p.clutter_places * (1 + 0.4 * min(8.0, travelled))))
    frames = len(camera.times)
    shape = (frames, count)
    place = static_places(rng, camera, count, 0.4 * camera.middle_depth, 2.5 * camera.middle_depth)
    width = rng.uniform(0.35, 1.0, count)
    facing = np.broadcast_to([1.0, 0.0], (*shape, 2))
    boxes, _, present = project_bodies(
        camera,
        np.broadcast_to(place, (*shape, 2)),
        facing,
        np.broadcast_to(width, shape),
        np.broadcast_to(width, shape),
        np.broadcast_to(rng.uniform(1.0, 2.2, count), shape),
        np.broadcast_to(rng.choice([0.0, 0.0, 0.0, 1.0, 2.0], count), shape),
        np.zeros(count, bool),
    )
    rate = 1 / (camera.times[1] - camera.times[0]) if frames > 1 else 1.0
    luck = autoregressive(rng, frames, np.full(count, p.luck_time * rate))
    quality = p.threshold + p.clutter_quality + rng.normal(0, 1.2, count) + (0.5 + p.luck_spread) * luck
    quality += p.frame_noise * rng.standard_normal(shape)
    frame, which = np.nonzero(present)
    size = boxes[frame, which, 2:] - boxes[frame, which, :2]
    jitter = np.clip(rng.normal(0, 1.5 * p.jitter, (len(frame), 4)), -0.4, 0.4) * np.tile(size, 2)
    moved = boxes[frame, which] + jitter
    return Found(frame, moved, quality[frame, which], np.full(len(frame), -1))


def random_clutter(p: DetectorParameters, rng: np.random.Generator, camera: CameraPath, usual: float) -> Found:
    """Draw false positives anywhere in the image that last a few frames."""
    frames = len(camera.times)
    rate = 1 / (camera.times[1] - camera.times[0]) if frames > 1 else 1.0
    count = rng.poisson(p.random_rate * np.exp(-0.35 * min(p.threshold, 0)) * frames)
    start = rng.integers(frames, size=count)
    length = 1 + rng.geometric(1 / (1 + p.random_time * rate), count) - 1
    wide, tall = camera.image_size
    height = usual * np.exp(rng.normal(0, 0.6, count))
    width = height * np.exp(rng.normal(np.log(0.42), 0.3, count))
    centre = rng.uniform([0, 0.15 * tall], [wide, 0.95 * tall], (count, 2))
    quality = p.threshold + rng.exponential(p.random_tail, count)
    event = np.repeat(np.arange(count), length)
    frame = start[event] + np.arange(len(event)) - np.repeat(np.cumsum(length) - length, length)
    size = np.stack([width, height], -1)[event] * np.exp(rng.normal(0, 0.05, (len(event), 2)))
    middle = centre[event] + rng.normal(0, 0.04, (len(event), 2)) * size
    boxes = np.hstack([middle - size / 2, middle + size / 2])
    flicker = quality[event] + p.frame_noise * rng.standard_normal(len(event))
    return Found(frame, boxes, flicker, np.full(len(event), -1)).rows(frame < frames)

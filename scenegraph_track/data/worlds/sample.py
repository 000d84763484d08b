"""Drawing a world from (preset, split, seed)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.camera import rigid, rotation, sample_camera, sample_intrinsics
from scenegraph_track.data.worlds.families import PATHS, SPLITS, families
from scenegraph_track.data.worlds.hiding import Hiding, sample_hiding
from scenegraph_track.data.worlds.motion import Track, delayed, sample_bend, sample_squash, sample_track
from scenegraph_track.data.worlds.placement import Stage
from scenegraph_track.data.worlds.places import Place, sample_place
from scenegraph_track.data.worlds.presets import PRESETS, Preset
from scenegraph_track.data.worlds.promise import hides_and_shows
from scenegraph_track.data.worlds.scene import STATIC_LABEL, Attributes, Scene, Thing, sample_photometry
from scenegraph_track.data.worlds.solids import Card, Ellipsoid
from scenegraph_track.data.worlds.things import Look, sample_look, sample_occluder
from scenegraph_track.errors import UserError

SMALLEST = 16
"""Pixels that an image has at least on each side."""

_STILL = ("still", "still")
_CROWDED = 0.4
"""Penalty (`Stage.penalties`) from which a place is not taken."""


def sample_scene(
    preset: str = "standard",
    split: str = "train",
    seed: int | tuple[int, ...] = 0,
    size: tuple[int, int] = (128, 128),
    frames: int | None = None,
    frame_rate: float | None = None,
) -> Scene:
    """Draw a world.

    Args:
        preset: A key of `PRESETS`.
        split: "train", "val" or "test"; they share no texture, outline, ground or motion family (`families`).
        seed: Not negative; the same numbers give the same world, another split or preset another one.
        size: (width, height) of the image in pixels.
        frames: Length of the clip; None for the preset's own.
        frame_rate: Frames per second; None to draw it (for "long_occlusion", low enough for the promised seconds).

    Returns:
        The description, ready for `render`.

    Raises:
        UserError: A name is unknown, a number is out of range, or the clip is too short for what the preset promises.
    """
    if preset not in PRESETS:
        raise UserError(f"preset: expected one of {', '.join(PRESETS)}, found {preset!r}")
    if split not in SPLITS:
        raise UserError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
    kind = PRESETS[preset]
    frames = kind.frames if frames is None else frames
    if frames < 1 or min(size) < SMALLEST:
        least = f"at least 1 frame of {SMALLEST} x {SMALLEST} pixels"
        raise UserError(f"frames and size: expected {least}, found {frames} of {size}")
    entropy = seed if isinstance(seed, tuple) else (seed,)
    if min(entropy) < 0:
        raise UserError(f"seed: expected a number of at least 0, found {seed}")
    if frame_rate is not None and not frame_rate > 0:
        raise UserError(f"frame_rate: expected more than 0 frames per second, found {frame_rate}")
    shortest = 0.0 if kind.hidden is None else 2.2 * kind.hidden[0]
    if frame_rate is not None and frames - 1 < shortest * frame_rate:
        raise UserError(
            f"preset {preset}: expected a clip of at least {shortest} s, found {frames} frames at {frame_rate}/s"
        )
    key = (*entropy, list(PRESETS).index(preset), SPLITS.index(split), 20)
    for attempt in range(50):
        rng = np.random.default_rng(np.random.SeedSequence(key, spawn_key=(attempt,)))
        rate = frame_rate if frame_rate is not None else float(rng.choice(kind.frame_rates))
        if frames - 1 < shortest * rate:
            rate = np.floor(10 * (frames - 1) / shortest) / 10
        builder = _Builder(rng, kind, split, size, np.arange(frames) / rate)
        if builder.fill():
            scene = Scene(preset, split, seed, size, rate, *builder.parts())
            if kind.hidden is None or hides_and_shows(scene, kind.hidden):
                return scene
    raise UserError(
        f"preset {preset}: no world found for seed {seed} with {frames} frames at {size}; ask for a longer clip"
    )


@dataclass(frozen=True)
class _Mover:
    """A placed object that others may follow, cross or copy."""

    look: Look
    track: Track
    path: NDArray[np.float64]
    heading: float


class _Builder:
    """A world while it is being filled: surroundings, camera, occluders, then objects one after the other."""

    def __init__(
        self, rng: np.random.Generator, kind: Preset, split: str, size: tuple[int, int], times: NDArray
    ) -> None:
        self.rng, self.kind, self.split, self.size, self.times = rng, kind, split, size, times
        self.texels = 64 if max(size) <= 192 else 128 if max(size) <= 400 else 256
        place = sample_place(rng, str(rng.choice(kind.places)), split, 256 if max(size) <= 192 else 512)
        self.place: Place = place
        world = place.surroundings
        margin = np.array([0.5, 0.25, 0.5])
        low, high = world.low + margin, world.high - margin
        if world.kind == "room":  # not up to the wall ahead
            low, high = (place.start + 0.6 * (corner - place.start) for corner in (low, high))
        if world.fronts is not None:
            low[0], high[0] = world.fronts[0] + 0.5, world.fronts[1] - 0.5
        motion = str(rng.choice(kind.cameras))
        intrinsics = sample_intrinsics(rng, size)
        self.camera = sample_camera(
            rng, motion, times, intrinsics, place.start, place.yaw, place.pitch, low, high, place.pace
        )
        steepest = place.pitch + np.arctan(0.85 * (size[1] - intrinsics[1, 2]) / intrinsics[1, 1])
        self.nearest = max(place.reach[0], -place.start[1] / np.tan(max(steepest, 0.1)))
        self.stage = Stage(self.camera, times, size, place.low, place.high)
        self.objects: list[Thing] = []
        self.occluders: list[Thing] = []
        self.screens: list[Thing] = []
        self.movers: list[_Mover] = []

    def parts(self) -> tuple:
        """What `Scene` wants after its frame rate."""
        rng = self.rng
        elevation, azimuth = np.radians(rng.uniform(35, 75)), rng.uniform(0, 2 * np.pi)
        light = np.array([np.cos(elevation) * np.cos(azimuth), -np.sin(elevation), np.cos(elevation) * np.sin(azimuth)])
        photometry = sample_photometry(rng, self.times, self.kind.nuisances)
        things = tuple(self.objects), tuple(self.occluders), tuple(self.screens)
        return self.camera, self.place.surroundings, *things, light, photometry

    def fill(self) -> bool:
        """Place everything; False where a promised long occlusion could not be built."""
        rng, kind = self.rng, self.kind
        wanted = int(rng.integers(kind.objects[0], kind.objects[1] + 1))
        if kind.hidden is not None:
            for _ in range(min(wanted, int(rng.integers(1, 3)))):
                self._hide()
            if not self.objects:
                return False
        for _ in range(int(rng.integers(kind.occluders[0], kind.occluders[1] + 1))):
            self._occluder(str(rng.choice(["pillar", "pillar", "wall", "fence"])))
        for _ in range(int(rng.integers(kind.screens[0], kind.screens[1] + 1))):
            self._occluder("screen")
        twin_at = int(rng.integers(1, wanted)) if wanted > 1 and rng.random() < kind.twins else -1
        for index in range(len(self.objects), wanted):
            crowd_twin = wanted > 25 and rng.random() < 0.2
            self._object(twin=bool(self.movers) and (index >= twin_at > 0 or crowd_twin))
            twin_at = -1 if index >= twin_at else twin_at
        return True

    def _occluder(self, kind: str) -> None:
        rng, u = self.rng, self.rng.uniform
        ceiling = -self.place.surroundings.low[1]
        width, height = {
            "pillar": (u(0.3, 0.7), min(u(2.4, 4.0), ceiling)),
            "wall": (u(1.1, 2.4), u(1.1, 2.1)),
            "fence": (u(2.5, 4.5), u(0.8, 1.2)),
            "screen": (u(1.0, 2.2), u(1.2, 2.2)),
        }[kind]
        look = sample_occluder(rng, self.split, self.texels, kind, width, height)
        still = sample_track(rng, *_STILL, 0.0, float(self.times[-1]))
        spot = self.stage.find(rng, still, look.radius, max(u(2.6, 6.0), self.nearest))
        if spot.penalty < _CROWDED:
            self._stand(look, kind, spot.path[0], self._facing(spot.path[0], 0) + u(-0.5, 0.5))
            self.stage.add(spot.path, look.radius if kind == "pillar" else 0.5 * look.radius)

    def _stand(self, look: Look, kind: str, place: NDArray, yaw: float) -> None:
        """Add a static thing."""
        frames = len(self.times)
        pose = rigid(rotation(yaw, 0.0, 0.0), np.array([place[0], 0.0, place[1]]))
        screen = kind == "screen"
        label = 0 if screen else STATIC_LABEL + len(self.occluders)
        thing = Thing(
            label,
            look.solid,
            look.texture,
            np.broadcast_to(pose, (frames, 4, 4)),
            None,
            float(self.rng.uniform(0.3, 0.6)) if screen else 1.0,
            _attributes(look, "still", "still"),
        )
        (self.screens if screen else self.occluders).append(thing)

    def _facing(self, point: NDArray, frame: int) -> float:
        """The yaw that turns a card's plane across the line of sight."""
        sight = point - self.camera.positions[frame][[0, 2]]
        return float(np.arctan2(sight[0], sight[1]))

    def _hide(self) -> None:
        rng = self.rng
        look = sample_look(rng, self.split, self.texels, 0.8)
        hiding: Hiding | None = sample_hiding(rng, self.stage, look.radius, look.height, self.kind.hidden)
        if hiding is None:
            return
        wall = sample_occluder(rng, self.split, self.texels, "wall", hiding.wall_width, hiding.wall_height)
        self._stand(wall, "wall", hiding.wall, hiding.wall_yaw)
        self.stage.add(hiding.wall[None], 0.5 * wall.radius)
        family = str(rng.choice(families(PATHS, self.split)["stop_and_go"]))
        track = Track("stop_and_go", family, lambda t: np.zeros((len(t), 2)), np.zeros_like)
        self._add(look, track, hiding.path, hiding.heading, "hider", deform=False)

    def _object(self, twin: bool) -> None:
        rng, kind, place = self.rng, self.kind, self.place
        look = sample_look(rng, self.split, self.texels, kind.scale)
        if twin:
            look = self.movers[int(rng.integers(len(self.movers)))].look
        duration = float(self.times[-1])
        word = "still" if rng.random() < kind.still else str(rng.choice(list(PATHS)))
        family = "still" if word == "still" else str(rng.choice(families(PATHS, self.split)[word]))
        speed = place.pace * float(np.exp(rng.uniform(np.log(0.4), np.log(2.6))))
        speed *= 1.6 if look.shape == "car" and place.pace == 1.0 else 1.0
        track = sample_track(rng, word, family, speed, duration)
        moving = [m for m in self.movers if m.track.word != "still"]
        if moving and word != "still" and rng.random() < kind.pairs:
            leader = moving[int(rng.integers(len(moving)))]
            if rng.random() < 0.5:
                late = delayed(leader.track, (leader.look.radius + look.radius + rng.uniform(0.2, 0.8)) / speed)
                c, s = np.cos(leader.heading), np.sin(leader.heading)
                lag = (late.plane(self.times) - leader.track.plane(self.times)) @ np.array([[c, s], [-s, c]])
                path = leader.path + lag
                if self.stage.penalties(path[None], look.radius)[0] < _CROWDED:
                    self._add(look, late, path, leader.heading, "follower")
                    return
            else:
                frame = int(rng.integers(len(self.times)))
                spot = self.stage.find(rng, track, look.radius, 5.0, (frame, leader.path[frame], leader.heading))
                self._add(look, track, spot.path, spot.heading, "crossing")
                return
        focal = self.camera.intrinsics[0, 0]
        share = np.exp(rng.uniform(np.log(0.11), np.log(0.5))) * self.size[1]
        depth = float(np.clip(focal * look.height / share, self.nearest, max(place.reach[1], self.nearest)))
        spot = self.stage.find(rng, track, look.radius, depth)
        if spot.penalty > 0.25:
            calm = sample_track(rng, word, family, 0.4 * speed, duration)
            again = self.stage.find(rng, calm, look.radius, depth * rng.uniform(0.8, 1.5))
            track, spot = (calm, again) if again.penalty < spot.penalty else (track, spot)
        self._add(look, track, spot.path, spot.heading, "twin" if twin else "")

    def _add(self, look: Look, track: Track, path: NDArray, heading: float, role: str, deform: bool = True) -> None:
        """Turn a look, a motion and a path into a thing."""
        rng, times, u = self.rng, self.times, self.rng.uniform
        lift = track.lift(times)
        solid, shape = look.solid, look.shape
        flies = shape not in ("figure", "car", "tree") and track.word in ("steady", "curved") and u() < 0.15
        if flies and role != "hider":
            lift = lift + u(0.2, 0.9) + 0.06 * np.sin(2 * np.pi * (u(0.3, 0.8) * times + u()))
        squash, bend = np.ones((len(times), 3)), None
        if deform and u() < self.kind.deforming:
            if isinstance(solid, Card) and shape != "car" and u() < 0.6:
                bend = sample_bend(rng, times, look.height)
            else:
                squash = sample_squash(rng, times)
        if isinstance(solid, Card):
            turning = u(-0.3, 0.3) if track.word != "still" and u() < 0.4 else 0.0
            yaw = self._facing(path[len(path) // 2], len(path) // 2) + u(-0.5, 0.5) + turning * times
        else:
            direction = np.full(len(times), heading)
            if track.turns and len(times) > 1:
                step = np.gradient(path, axis=0)
                direction = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
            yaw = np.pi / 2 - direction + (u(0, 2 * np.pi) if track.word == "still" else 0.0)
        turn = rotation(yaw, 0.0, 0.0)
        height = lift
        if isinstance(solid, Ellipsoid):
            height = lift + solid.radii[1] * squash[:, 1]
            if look.shape_family == "sphere" and track.word != "still":
                ahead = (path - path[0]) @ np.array([np.cos(heading), np.sin(heading)])
                turn = turn @ rotation(0.0, ahead / solid.radii[1], 0.0)
        position = np.stack([path[:, 0], -height, path[:, 1]], -1)
        pose = rigid(turn * squash[:, None, :], position)
        attributes = replace(_attributes(look, track.word, track.family), role=role)
        self.objects.append(Thing(len(self.objects) + 1, solid, look.texture, pose, bend, 1.0, attributes))
        self.movers.append(_Mover(look, track, path, heading))
        self.stage.add(path, look.radius)


def _attributes(look: Look, motion: str, family: str) -> Attributes:
    return Attributes(
        look.colour, look.pattern, look.shape, look.size, motion, look.texture_family, look.shape_family, family
    )

"""The frozen description of one world: everything that `render` needs, and nothing that it computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.camera import CameraPath
from scenegraph_track.data.worlds.solids import Solid
from scenegraph_track.data.worlds.surroundings import Surroundings

STATIC_LABEL = 1000
"""Instance ids from here on are static occluders; 0 is the surroundings and 1..N are the objects."""


@dataclass(frozen=True)
class Attributes:
    """What a sentence may say of a thing, in words, and the families it was drawn from.

    Args:
        colour: A key of `COLOURS`.
        pattern: A key of `PATTERNS`.
        shape: A key of `SHAPES`, or "wall", "pillar", "fence", "screen".
        size: "small" (lower than 0.6 m), "large" (higher than 1.5 m) or "medium".
        motion: A key of `PATHS`, or "still".
        texture_family: Family of the pattern.
        shape_family: Family of the shape.
        motion_family: Family of the motion, or "still".
        role: "" or "follower", "crossing", "twin", "hider": how it was placed.
    """

    colour: str
    pattern: str
    shape: str
    size: str
    motion: str
    texture_family: str
    shape_family: str
    motion_family: str
    role: str = ""


@dataclass(frozen=True)
class Thing:
    """One body in the world.

    Args:
        label: Its instance id; 0 for a screen, which has none.
        solid: Its form.
        texture: Mip levels, (s, s, 4) uint8 RGBA; alpha is the signed distance to the outline (cards) or 255.
        world_from_object: (T, 4, 4) affine motion, metres; scaling deforms the body.
        bend: (T, 2) sway of a card in metres (`Card.card_from_material`), or None.
        opacity: 1, or less for a screen that tints what is behind it.
        attributes: Words about it.
    """

    label: int
    solid: Solid
    texture: tuple[NDArray[np.uint8], ...]
    world_from_object: NDArray[np.float64]
    bend: NDArray[np.float64] | None
    opacity: float
    attributes: Attributes


@dataclass(frozen=True)
class Photometry:
    """What the camera does to the colours, frame by frame; flow, depth and masks know nothing of it.

    Args:
        gains: (T, 3) factor on red, green and blue: drift of the light and steps of the exposure.
        blur: (T,) deviation of a Gaussian in pixels; 0 for none.
        noise: (T,) deviation of the noise in grey levels.
        jpeg_quality: 0 for no compression, else 1-100.
        seed: Seed of the noise.
    """

    gains: NDArray[np.float64]
    blur: NDArray[np.float64]
    noise: NDArray[np.float64]
    jpeg_quality: int
    seed: int


@dataclass(frozen=True)
class Scene:
    """One world and the camera in it.

    Args:
        preset: Name of the preset it was drawn from.
        split: "train", "val" or "test".
        seed: What to draw it from again.
        size: (width, height) in pixels.
        frame_rate: Frames per second.
        camera: Intrinsics and poses.
        surroundings: The large planes.
        objects: The N objects, label i + 1 at index i.
        occluders: Static opaque things, label `STATIC_LABEL` + i.
        screens: Static semi-transparent things; they tint the image and change no other truth.
        light: (3,) unit vector to the light, world axes.
        photometry: Nuisances.
    """

    preset: str
    split: str
    seed: int | tuple[int, ...]
    size: tuple[int, int]
    frame_rate: float
    camera: CameraPath
    surroundings: Surroundings
    objects: tuple[Thing, ...]
    occluders: tuple[Thing, ...]
    screens: tuple[Thing, ...]
    light: NDArray[np.float64]
    photometry: Photometry

    def __len__(self) -> int:
        return len(self.camera.world_from_camera)

    @property
    def times(self) -> NDArray[np.float64]:
        """(T,) seconds since the first frame."""
        return np.arange(len(self)) / self.frame_rate


def clean(frames: int) -> Photometry:
    """No nuisances at all."""
    return Photometry(np.ones((frames, 3)), np.zeros(frames), np.zeros(frames), 0, 0)


def sample_photometry(rng: np.random.Generator, times: NDArray, strength: float) -> Photometry:
    """Draw nuisances; ``strength`` 0 gives none, 1 the full range."""
    frames = len(times)
    if strength == 0:
        return clean(frames)
    seconds = times[:, None]
    drift = 0.10 * strength * np.sin(2 * np.pi * (rng.uniform(0.05, 0.4) * seconds + rng.random()))
    tint = 0.05 * strength * np.sin(2 * np.pi * (rng.uniform(0.03, 0.2, 3) * seconds + rng.random(3)))
    gains = (1 + drift) * (1 + tint) * (1 + 0.12 * strength * rng.uniform(-1, 1))
    if rng.random() < 0.3 * strength and frames > 2:
        gains[int(rng.integers(1, frames)) :] *= rng.uniform(0.75, 1.25)
    blur, noise = np.zeros(frames), np.zeros(frames)
    if rng.random() < 0.35 * strength:
        blur += np.maximum(0.0, rng.uniform(0.2, 0.8) * (1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.2, 1) * times)))
    if rng.random() < 0.7 * strength:
        noise += rng.uniform(1.0, 6.0) * strength
    quality = int(rng.integers(45, 95)) if rng.random() < 0.4 * strength else 0
    return Photometry(gains, blur, noise, quality, int(rng.integers(2**31)))

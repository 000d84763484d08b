"""Drawing bodies: which shape, which texture, how large."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.families import COLOURS, PATTERNS, SHAPES, families, is_unseen
from scenegraph_track.data.worlds.noise import pyramid
from scenegraph_track.data.worlds.silhouettes import aspect, distance_map, outline
from scenegraph_track.data.worlds.solids import Card, Ellipsoid, Polyhedron, Solid, box, prism
from scenegraph_track.data.worlds.textures import sample_texture

_HEIGHTS = {"figure": (1.45, 1.9), "car": (1.2, 1.7), "tree": (1.6, 3.2)}


@dataclass(frozen=True)
class Look:
    """How a body looks, before it is placed: two of the same look are twins.

    Args:
        colour: A key of `COLOURS`.
        pattern: A key of `PATTERNS`.
        shape: A key of `SHAPES` or a kind of occluder.
        texture_family: Family of the pattern.
        shape_family: Family of the shape.
        solid: The form.
        texture: Mip levels, RGBA.
        height: Metres.
        radius: Half its largest horizontal extent, metres.
    """

    colour: str
    pattern: str
    shape: str
    texture_family: str
    shape_family: str
    solid: Solid
    texture: tuple[NDArray[np.uint8], ...]
    height: float
    radius: float

    @property
    def size(self) -> str:
        """The word for its height."""
        return "small" if self.height < 0.6 else "large" if self.height > 1.5 else "medium"


def sample_words(rng: np.random.Generator, split: str) -> tuple[str, str, str]:
    """A colour, a pattern and a shape: never an unseen combination outside test, every second time one in test."""
    wanted = split == "test" and rng.random() < 0.5
    while True:
        words = tuple(str(rng.choice(list(table))) for table in (COLOURS, PATTERNS, SHAPES))
        if is_unseen(*words) == wanted:
            return words


def _opaque(texture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    return pyramid(cv2.cvtColor(texture, cv2.COLOR_RGB2RGBA))


def _cut_out(texture: NDArray[np.uint8], distance: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    return pyramid(cv2.merge([*cv2.split(texture), distance]))


def sample_look(rng: np.random.Generator, split: str, texels: int, scale: float) -> Look:
    """Draw the look of an object.

    Args:
        rng: Source of randomness.
        split: "train", "val" or "test".
        texels: Side of its texture, a power of two.
        scale: Factor on its size.

    Returns:
        Its look.
    """
    colour, pattern, shape = sample_words(rng, split)
    texture_family = str(rng.choice(families(PATTERNS, split)[pattern]))
    shape_family = str(rng.choice(families(SHAPES, split)[shape]))
    texture = sample_texture(rng, texture_family, colour, texels)
    low, high = _HEIGHTS.get(shape, (0.4, 1.7))
    height = float(np.exp(rng.uniform(np.log(low), np.log(high)))) * scale
    if shape in ("box", "prism", "pyramid", "ball"):
        solid, height = _sample_solid(rng, shape_family, height)
        levels = _opaque(texture)
    else:
        rings, holes = outline(rng, shape_family)
        levels = _cut_out(texture, distance_map(rings, holes, (texels, texels)))
        solid = Card(min(height * aspect(rings), 4.5), height)
    extent = solid.hull(None)[:, [0, 2]]
    radius = float(np.ptp(extent, axis=0).max() / 2)
    return Look(colour, pattern, shape, texture_family, shape_family, solid, levels, height, radius)


def _sample_solid(rng: np.random.Generator, family: str, height: float) -> tuple[Polyhedron | Ellipsoid, float]:
    u = rng.uniform
    shifts = rng.random((12, 2))
    if family in ("sphere", "flat_ball", "long_ball"):
        flat = {"sphere": 1.0, "flat_ball": u(0.55, 0.75), "long_ball": u(1.3, 1.6)}[family]
        radius = height / 2 * (0.9 if flat == 1.0 else 0.8)
        radii = np.array([radius, radius * flat, radius])
        return Ellipsoid(radii, (2.0, 1.0)), 2 * float(radii[1])
    if family.endswith("box") or family == "cube":
        w, h, d = {
            "cube": (1.0, 1.0, 1.0),
            "tall_box": (0.5, 1.0, 0.5),
            "long_box": (0.6, 0.6, 1.4),
            "flat_box": (1.1, 0.4, 0.9),
        }[family]
        sides = height * np.array([w, h, d]) * rng.uniform(0.85, 1.15, 3)
        return box(*sides, tile=float(sides.max()), shifts=shifts), float(sides[1])
    sides = int(family[-1])
    radius, top = height * u(0.35, 0.6), 0.0 if family.startswith("pyramid") else u(0.75, 1.0)
    return prism(sides, radius, height, top, tile=height, shifts=shifts), height


def sample_occluder(rng: np.random.Generator, split: str, texels: int, kind: str, width: float, height: float) -> Look:
    """Draw a static occluder.

    Args:
        rng: Source of randomness.
        split: "train", "val" or "test".
        texels: Side of its texture.
        kind: "wall", "pillar", "fence" or "screen".
        width: Metres.
        height: Metres.

    Returns:
        Its look.
    """
    colour = str(rng.choice(["white", "grey", "brown", "black", "red", "green", "blue", "yellow"]))
    pattern = str(rng.choice(["plain", "plain", "checked", "marbled", "striped"]))
    family = str(rng.choice(families(PATTERNS, split)[pattern]))
    texture, shifts = sample_texture(rng, family, colour, texels), rng.random((12, 2))
    shape_family = kind
    if kind == "wall":
        levels, solid = _opaque(texture), box(width, height, 0.15, min(width, 1.5), shifts)
    elif kind == "pillar":
        shape_family = {"train": "square_pillar", "val": "pillar_6", "test": "pillar_10"}[split]
        solid = box(width, height, width, 1.2, shifts)
        if split != "train":
            solid = prism(int(shape_family.split("_")[1]), width / 2, height, 1.0, 1.2, shifts)
        levels = _opaque(texture)
    else:
        shape_family = {"train": "pickets", "val": "railing", "test": "lattice"}[split] if kind == "fence" else "pane"
        rings, holes = outline(rng, shape_family)
        levels = _cut_out(texture, distance_map(rings, holes, (texels, texels)))
        solid = Card(width, height)
    return Look(colour, pattern, kind, family, shape_family, solid, levels, height, width / 2)

"""Kinds of worlds to draw from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """What a kind of world is made of; ranges hold both ends.

    Args:
        about: One line for people.
        objects: Range of the number of objects.
        occluders: Range of the number of opaque static occluders (walls, pillars, fences).
        screens: Range of the number of semi-transparent static screens.
        places: Kinds of surroundings.
        cameras: Kinds of ego-motion.
        still: Share of objects that stand still.
        twins: Probability that some object has a look-alike.
        deforming: Share of objects that sway or breathe.
        pairs: Probability that an object follows or crosses another one.
        nuisances: Strength of the photometric nuisances, 0-1.
        scale: Factor on the size of objects.
        hidden: Range of seconds that at least one object is wholly hidden behind a wall or pillar, or None.
        frames: Frames in a clip where the caller does not say.
        frame_rates: Frame rates drawn from where the caller does not say.
    """

    about: str
    objects: tuple[int, int] = (2, 12)
    occluders: tuple[int, int] = (0, 3)
    screens: tuple[int, int] = (0, 1)
    places: tuple[str, ...] = ("room", "street", "open")
    cameras: tuple[str, ...] = ("still", "pan", "walk", "drive", "handheld", "orbit")
    still: float = 0.15
    twins: float = 0.4
    deforming: float = 0.3
    pairs: float = 0.25
    nuisances: float = 1.0
    scale: float = 1.0
    hidden: tuple[float, float] | None = None
    frames: int = 24
    frame_rates: tuple[float, ...] = (8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0)


PRESETS = {
    "easy": Preset(
        "two to four rigid objects, a quiet camera, nothing in the way, clean images",
        objects=(2, 4),
        occluders=(0, 0),
        screens=(0, 0),
        places=("room", "open"),
        cameras=("still", "pan", "handheld"),
        twins=0.0,
        deforming=0.0,
        pairs=0.0,
        nuisances=0.0,
        scale=1.25,
    ),
    "standard": Preset("two to twelve objects, every kind of place, camera, motion, occluder and nuisance"),
    "crowded": Preset(
        "thirty to a hundred objects that hide one another",
        objects=(30, 100),
        screens=(0, 0),
        places=("street", "open"),
        cameras=("still", "pan", "walk", "handheld"),
        twins=1.0,
        pairs=0.15,
        scale=0.85,
    ),
    "long_occlusion": Preset(
        "objects walk behind walls and come out one to five seconds later",
        objects=(2, 7),
        occluders=(0, 1),
        screens=(0, 0),
        places=("room", "open", "street"),
        cameras=("still", "pan", "handheld", "orbit"),
        twins=0.7,
        hidden=(1.0, 5.0),
        frames=64,
        frame_rates=(8.0, 10.0, 12.0),
    ),
    "static": Preset(
        "nothing moves but the camera",
        occluders=(0, 2),
        screens=(0, 0),
        cameras=("pan", "walk", "drive", "handheld", "orbit"),
        still=1.0,
        deforming=0.0,
        pairs=0.0,
        nuisances=0.6,
    ),
}
"""The presets by name."""

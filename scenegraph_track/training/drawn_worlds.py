"""Worlds that stages learn from: the settings of clips that are rendered once and kept, and how worlds are drawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from scenegraph_track.data.worlds import PRESETS, Scene, sample_scene


def _known(presets: dict[str, float]) -> dict[str, float]:
    if unknown := [name for name in presets if name not in PRESETS]:
        raise ValueError(f"expected some of {', '.join(PRESETS)}, found {unknown[0]}")
    return presets


Presets = Annotated[dict[str, float], AfterValidator(_known), Field(description="share of each kind of world")]
Folder = Annotated[str, Field(description="where the clips are kept, and found again")]
Scenes = Annotated[int, Field(ge=1, description="clips")]
Frames = Annotated[int, Field(ge=3, description="of each clip")]


class ClipSettings(BaseModel):
    """Which clips are rendered, once, and kept; each kind of clips says its own folder, number, presets and length."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Folder
    scenes: Scenes
    presets: Presets
    size: tuple[int, int] = Field((192, 144), description="width and height of the images, pixels")
    frames: Frames
    objects: int = Field(12, ge=1, description="most objects of a clip")
    seed: int = Field(0, ge=0, description="of the scenes")
    workers: int = Field(2, ge=1, description="processes that render")


def drawn_preset(rng: np.random.Generator, presets: Mapping[str, float]) -> str:
    """One of the kinds of worlds, as often as their shares say."""
    names, shares = list(presets), np.array(list(presets.values()))
    return str(rng.choice(names, p=shares / shares.sum()))


def drawn_scene(
    rng: np.random.Generator, preset: str, size: tuple[int, int], frames: int, frame_rate: float | None = None
) -> Scene:
    """A world of a kind, of those to train on; the frame rate is the preset's where none is given."""
    return sample_scene(preset, "train", int(rng.integers(2**62)), size, frames, frame_rate)


def scene_with_camera(
    rng: np.random.Generator, preset: str, cameras: Collection[str], size: int, frames: int, frame_rate: float
) -> Scene:
    """A world of a kind whose camera moves in one of these ways, in square images."""
    while True:
        scene = drawn_scene(rng, preset, (size, size), frames, frame_rate)
        if scene.camera.motion in cameras:
            return scene


def check_cameras(preset: str, cameras: Collection[str]) -> None:
    """Refuse a kind of worlds that has no camera of these.

    Raises:
        ValueError: It has none, or there is no such kind.
    """
    known = PRESETS[preset].cameras if preset in PRESETS else ()
    if not set(known) & set(cameras):
        raise ValueError(f"preset {preset}: expected one with cameras of {cameras}, found {list(known)}")

"""What the scene graph learns from: the truth of rendered worlds, and tracks whose identities are given."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scenegraph_track.data.worlds import sample_scene
from scenegraph_track.data.worlds.raster import Studio
from scenegraph_track.data.worlds.truth import ObjectTruth, object_truth
from scenegraph_track.structures import RELATIONS
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.drawn_worlds import ClipSettings, Presets, drawn_preset

NAME = "scene_worlds"
"""Of the files."""

HIDER = 0.25
"""Part of an object's silhouette from which another one counts as what hides it."""

NOBODY, STATIC = -1, -2
"""In place of the row of what hides an object: nothing, and an occluder that is no object."""


class SceneWorldSettings(ClipSettings):
    """Which worlds are drawn, once, and kept."""

    folder: str = Field("runs/scene_worlds", description="where the worlds are kept, and found again")
    scenes: int = Field(640, ge=1, description="worlds")
    split: Literal["train", "val", "test"] = Field("train", description="of the worlds")
    presets: Presets = Field({"standard": 0.5, "long_occlusion": 0.4, "crowded": 0.1})
    size: tuple[int, int] = Field((160, 120), description="width and height of the images, pixels")
    frames: int = Field(48, ge=3, description="of each world")
    objects: int = Field(24, ge=2, description="most objects of a world; of more, the largest are kept")


def make_scene_world(index: int, settings: SceneWorldSettings) -> dict[str, NDArray]:
    """The truth of the world of a number, for T frames and ``settings.objects`` K rows, 0 where there are fewer.

    Returns:
        ``boxes`` (T, K, 4) whole extents and ``visible_boxes`` (T, K, 4), xyxy pixels; ``visible`` (T, K) part of the
        silhouette; ``relations`` (T, K, K) uint8, bit r for relation r; ``hider`` (T, K) row of the object that covers
        most of it (at least `HIDER`), else `STATIC` or `NOBODY`; ``depth`` (T, K, 3) mean, standard deviation and range
        of the depth of what is visible, metres, NaN where nothing is; ``intrinsics`` (3, 3); ``world_from_camera``
        (T, 4, 4); ``rate`` () frames per second; ``preset`` () number of the kind in the order of the settings.
    """
    rng = np.random.default_rng((settings.seed, index, 11))
    preset, seed = drawn_preset(rng, settings.presets), int(rng.integers(2**62))
    scene = sample_scene(preset, settings.split, seed, settings.size, settings.frames)
    studio = Studio(scene)
    frames = []
    for number in range(len(scene)):
        raster = studio.draw(number)
        truth = object_truth(studio, raster, number)
        frames.append(_frame(truth, 1 / raster.inverse_depth))
    whole = {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}
    kept = _largest(whole["visible_boxes"], settings.objects)
    hidden_by, by_static = whole.pop("occluded_by")[:, kept], whole.pop("occluded_by_static")[:, kept]
    relations = whole.pop("relations")[:, kept][:, :, kept]
    rows = {name: values[:, kept] for name, values in whole.items()} | {"hider": _hiders(hidden_by, by_static, kept)}
    missing = settings.objects - len(kept)
    return {
        **{name: np.pad(v, ((0, 0), (0, missing), *((0, 0),) * (v.ndim - 2))) for name, v in rows.items()},
        "relations": np.pad(relations, ((0, 0), (0, missing), (0, missing))),
        "intrinsics": scene.camera.intrinsics,
        "world_from_camera": scene.camera.world_from_camera,
        "rate": np.float64(scene.frame_rate),
        "preset": np.int64(list(settings.presets).index(preset)),
    }


def _frame(truth: ObjectTruth, depth: NDArray) -> dict[str, NDArray]:
    count = len(truth.visible_fraction)
    inside = np.full((count, 3), np.nan, np.float32)
    for row in np.flatnonzero(truth.visible_fraction > 0):
        seen = depth[truth.instance == row + 1]
        inside[row] = seen.mean(), seen.std(), np.ptp(seen)
    return {
        "boxes": truth.amodal_boxes,
        "visible_boxes": truth.visible_boxes,
        "visible": truth.visible_fraction,
        "relations": np.packbits(truth.relations, -1, bitorder="little")[..., 0].reshape(count, count),
        "occluded_by": truth.occluded_by,
        "occluded_by_static": truth.occluded_by_static.sum(1),
        "depth": inside,
    }


def _largest(boxes: NDArray, most: int) -> NDArray[np.intp]:
    """Rows of the objects that are largest in the image, on average, in their order."""
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1).mean(0)
    return np.sort(np.argsort(-area, kind="stable")[:most])


def _hiders(hidden_by: NDArray, by_static: NDArray, kept: NDArray) -> NDArray[np.int64]:
    """(T, K) see `make_scene_world`, from shares (T, K, N) of all objects and (T, K) of static occluders."""
    place = np.full(hidden_by.shape[2], STATIC)  # objects that are not kept are nothing that one could name
    place[kept] = np.arange(len(kept))
    most = hidden_by.argmax(2)
    share = np.take_along_axis(hidden_by, most[..., None], 2)[..., 0]
    static = by_static >= np.maximum(share, HIDER)
    return np.where(static, STATIC, np.where(share >= HIDER, place[most], NOBODY))


def scene_worlds(
    settings: SceneWorldSettings, few: bool = False, rank: int = 0, world_size: int = 1
) -> Chunks[SceneWorldSettings]:
    """The worlds of a folder in memory, one row each; see `Chunks`."""
    return Chunks(settings, make_scene_world, NAME, few, rank, world_size)


def unpacked(relations: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(..., 6) from the bits of ``relations``."""
    return np.unpackbits(relations[..., None], -1, len(RELATIONS), "little").astype(np.float32)

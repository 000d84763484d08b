"""Where the surface points of one frame are in another one: exact flow, and whether the points are seen there."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.projection import NEAR
from scenegraph_track.data.worlds.raster import Raster, Studio, linear

DEPTH_TOLERANCE = np.float32(1.01)
"""A point is hidden where the pixel that it falls on shows another surface that is more than 1 % nearer."""


def pixel_motion(studio: Studio, body: int, source: int, target: int) -> NDArray[np.float32]:
    """How the pixels of a rigid (or affinely deforming) body move between two frames.

    Args:
        studio: The scene.
        body: Index into `Studio.things`, or -1 for all that stands still.
        source: Frame of the source pixels.
        target: Frame of the target pixels.

    Returns:
        (3, 4) P: the homogeneous target pixel is ``P [x, y, 1, w]`` for a source pixel (x, y) with inverse depth w; its
        last entry is the ratio of the depths.
    """
    camera = studio.scene.camera
    if body < 0:
        moved = studio.view[target] @ camera.world_from_camera[source]
    else:
        projection = studio.projections[body]
        moved = projection.camera_from_object[target] @ projection.object_from_camera[source]
    pixels = camera.intrinsics @ moved[:3]
    pixels[:, :3] = pixels[:, :3] @ studio.inverse_intrinsics
    return pixels.astype(np.float32)


def _targets(motion: NDArray, x: NDArray, y: NDArray, w: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Target columns, rows and inverse depths (0 behind the camera) of pixels under a motion."""
    hx, hy, hz = linear(motion[:, :3], x, y)
    for h, factor in zip((hx, hy, hz), motion[:, 3]):
        h += factor * w
    ratio = 1 / np.maximum(hz, np.float32(1e-6))
    hx *= ratio
    hy *= ratio
    ratio *= w
    ratio *= hz > 0
    return hx, hy, ratio


def seen_at(
    raster: Raster, x: NDArray, y: NDArray, inverse: NDArray, surface: NDArray, curved: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether points are visible in a frame.

    Args:
        raster: The frame.
        x: Column coordinates in pixels, any shape.
        y: Row coordinates.
        inverse: Inverse depths of the points in this frame.
        surface: Their surface numbers.
        curved: For each surface number, whether it can hide parts of itself.

    Returns:
        True where the point is in the image and the pixel that holds it shows the same flat surface, or nothing that
        is more than 1 % nearer.
    """
    height, width = raster.inverse_depth.shape
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height) & (inverse < 1 / NEAR) & (inverse > 0)
    column, row = np.clip(x, 0, width - 1).astype(np.int32), np.clip(y, 0, height - 1).astype(np.int32)
    at = row * width + column
    same = np.take(raster.surface, at) == surface
    if curved.any():
        same &= ~np.take(curved, surface)
    return inside & (same | (np.take(raster.inverse_depth, at) <= inverse * DEPTH_TOLERANCE))


def flow(
    studio: Studio, rasters: dict[int, Raster], source: int, target: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Exact optical flow.

    Args:
        studio: The scene.
        rasters: The two frames.
        source: Frame whose pixels are asked for.
        target: Frame in which their surface points are looked up.

    Returns:
        (H, W, 2) displacement in pixels of the surface point at each pixel's centre, and (H, W) bool: the point is not
        visible in the target frame.
    """
    here, there = rasters[source], rasters[target]
    x, y = studio.x, studio.y
    target_x, target_y, inverse = _targets(pixel_motion(studio, -1, source, target), x, y, here.inverse_depth)
    for index in studio.moving:
        rows, columns = window = here.footprints[index].window
        first = int(studio.first_surface[index])
        pieces = here.surface[window]
        seen = (pieces >= first) & (pieces < first + studio.things[index].solid.faces)
        if not seen.any():
            continue
        if studio.things[index].bend is None:
            motion = pixel_motion(studio, index, source, target)
            moved = _targets(motion, x[columns], y[rows], here.inverse_depth[window])
            for whole, part in zip((target_x, target_y, inverse), moved):
                np.copyto(whole[window], part, where=seen)
        else:
            _bent(studio, index, source, target, here, seen, target_x, target_y, inverse)
    hidden = ~seen_at(there, target_x, target_y, inverse, here.surface, studio.curved)
    return cv2.merge([target_x - x, target_y - y[:, None]]), hidden


def _bent(
    studio: Studio,
    index: int,
    source: int,
    target: int,
    here: Raster,
    seen: NDArray[np.bool_],
    target_x: NDArray,
    target_y: NDArray,
    inverse: NDArray,
) -> None:
    """Correct the targets on a swaying card: through its unbent material."""
    window = here.footprints[index].window
    rows, columns = np.nonzero(seen)
    rows, columns = rows + window[0].start, columns + window[1].start
    x, y, z = studio.x[columns], studio.y[rows], 1 / here.inverse_depth[rows, columns]
    thing, projection = studio.things[index], studio.projections[index]
    rays = projection.rays[source] @ np.stack([x, y, np.ones_like(x)])
    point = projection.object_from_camera[source, :3, 3, None] + rays * z
    material = thing.solid.material_from_card(point[0], point[1], thing.bend[source])
    point[0] = thing.solid.card_from_material(material, point[1], thing.bend[target])
    pose = projection.camera_from_object[target]
    pixel = studio.scene.camera.intrinsics @ (pose[:3, :3] @ point + pose[:3, 3, None])
    depth = np.maximum(pixel[2], 1e-6)
    target_x[rows, columns], target_y[rows, columns] = pixel[0] / depth, pixel[1] / depth
    inverse[rows, columns] = np.where(pixel[2] > 0, 1 / depth, 0)

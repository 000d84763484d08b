"""Tracks of any surface points through a clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.flow import seen_at
from scenegraph_track.data.worlds.projection import NEAR
from scenegraph_track.data.worlds.raster import Raster, Studio
from scenegraph_track.data.worlds.solids import Ellipsoid
from scenegraph_track.errors import UserError


def track_points(
    studio: Studio, rasters: tuple[Raster, ...], queries: NDArray
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Follow the surface points that are seen at given pixels.

    Args:
        studio: The scene.
        rasters: Its T drawn frames.
        queries: (Q, 3) frame index, x and y in pixels (continuous, pixel centres at + 0.5).

    Returns:
        Positions (T, Q, 2) in pixels, exact also where the point is hidden or outside the image (NaN where it is behind
        the camera), and (T, Q) bool: visible by the rule of `flow.seen_at`.  The surface is that of the pixel which
        holds the query.

    Raises:
        UserError: A query is not in the clip or not in the image.
    """
    queries = np.asarray(queries, float).reshape(-1, 3)
    width, height = studio.scene.size
    limits = np.array([len(rasters), width, height])
    wrong = ((queries < 0) | (queries >= limits)).any(1) | (queries[:, 0] != np.floor(queries[:, 0]))
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(
            f"queries: expected (frame, x, y) inside {len(rasters)} frames of {width} x {height}, row {row} is"
            f" {queries[row].tolist()}"
        )
    frames, columns, rows = queries.astype(int).T
    surface = np.array([rasters[f].surface[r, c] for f, r, c in zip(frames, rows, columns)], np.uint16)
    camera = studio.scene.camera
    positions = np.empty((len(rasters), len(queries), 2), np.float32)
    inverse = np.empty((len(rasters), len(queries)), np.float32)
    for number in np.unique(surface):
        chosen = surface == number
        points = _material_points(studio, int(number), queries[chosen])
        in_camera = _in_camera(studio, int(number), points)
        pixels = in_camera @ camera.intrinsics.T
        depth = np.where(pixels[..., 2] > NEAR, pixels[..., 2], np.nan)
        positions[:, chosen] = pixels[..., :2] / depth[..., None]
        inverse[:, chosen] = np.nan_to_num(1 / depth)
    visible = np.stack(
        [
            seen_at(raster, *np.nan_to_num(positions[t], nan=-1.0).T, inverse[t], surface, studio.curved)
            for t, raster in enumerate(rasters)
        ]
    )
    visible[frames, np.arange(len(queries))] = True
    return positions, visible


def _material_points(studio: Studio, number: int, queries: NDArray) -> NDArray[np.float64]:
    """(Q, 3) points of a surface, in the world for the surroundings, else in the axes of the unbent thing."""
    frames = queries[:, 0].astype(int)
    pixel = np.concatenate([queries[:, 1:], np.ones((len(queries), 1))], 1)
    body = int(studio.body_of_surface[number]) - 1
    if body < 0:
        poses = studio.scene.camera.world_from_camera[frames]
        origin, matrix = poses[:, :3, 3], poses[:, :3, :3] @ studio.inverse_intrinsics
        normal, offset = studio.scene.surroundings.plane(number)
    else:
        projection, solid = studio.projections[body], studio.things[body].solid
        origin, matrix = projection.object_from_camera[frames, :3, 3], projection.rays[frames]
        if not isinstance(solid, Ellipsoid):
            normal, offset = solid.plane(number - int(studio.first_surface[body]))
    ray = (matrix @ pixel[..., None])[..., 0]
    if body >= 0 and isinstance(solid, Ellipsoid):
        o, d = origin / solid.radii, ray / solid.radii
        a, b, c = (d * d).sum(1), (o * d).sum(1), (o * o).sum(1) - 1
        depth = (-b - np.sqrt(np.maximum(b * b - a * c, 0))) / a
    else:
        depth = (offset - origin @ normal) / (ray @ normal)
    points = origin + ray * depth[:, None]
    if body >= 0 and studio.things[body].bend is not None:
        bend = studio.things[body].bend[frames]
        n = points[:, 1] / solid.height
        points[:, 0] -= (bend[:, 0] + bend[:, 1] * n) * n
    return points


def _in_camera(studio: Studio, number: int, points: NDArray) -> NDArray[np.float64]:
    """(T, Q, 3) camera coordinates of material points in every frame."""
    body = int(studio.body_of_surface[number]) - 1
    transforms = studio.view if body < 0 else studio.projections[body].camera_from_object
    moved = np.broadcast_to(points, (len(transforms), *points.shape))
    if body >= 0 and studio.things[body].bend is not None:
        moved = moved.copy()
        thing = studio.things[body]
        moved[..., 0] = thing.solid.card_from_material(moved[..., 0], moved[..., 1], thing.bend[:, None])
    return moved @ transforms[:, :3, :3].transpose(0, 2, 1) + transforms[:, None, :3, 3]


def grid_queries(frame: int, size: tuple[int, int], spacing: float) -> NDArray[np.float32]:
    """(Q, 3) queries on a regular grid of one frame, ``spacing`` pixels apart."""
    x, y = (np.arange(spacing / 2, length, spacing) for length in size)
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    return np.concatenate([np.full((len(grid), 1), frame), grid], 1).astype(np.float32)

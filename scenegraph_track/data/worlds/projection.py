"""Where a thing is in every frame: computed for a whole clip at once, before any pixel is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.camera import CameraPath, invert
from scenegraph_track.data.worlds.scene import Thing
from scenegraph_track.data.worlds.solids import Card

NEAR = 0.12
"""Nothing nearer than this is drawn, metres."""


@dataclass(frozen=True)
class Projection:
    """One thing seen by the camera in T frames.

    Args:
        camera_from_object: (T, 4, 4).
        object_from_camera: (T, 4, 4).
        rays: (T, 3, 3): homogeneous pixels to directions in object axes, scaled to a depth of 1.
        points: (T, V, 3) hull points in the camera, metres.
        pixels: (T, V, 2) their projections; not finite where they are behind the camera.
        boxes: (T, 4) xyxy bounds of the whole projection, not cut at the image; zeros where nothing is in front.
        depth: (T,) depth of the middle of the body, metres.
        card_scale: (T,) pixels per metre of a card, the square root of the factor on its area; 0 for other bodies.
    """

    camera_from_object: NDArray[np.float64]
    object_from_camera: NDArray[np.float64]
    rays: NDArray[np.float64]
    points: NDArray[np.float64]
    pixels: NDArray[np.float64]
    boxes: NDArray[np.float64]
    depth: NDArray[np.float64]
    card_scale: NDArray[np.float64]


def project(thing: Thing, camera: CameraPath, view: NDArray, inverse_intrinsics: NDArray) -> Projection:
    """Project a thing for all frames.

    Args:
        thing: The thing.
        camera: The camera.
        view: (T, 4, 4) camera-from-world transforms.
        inverse_intrinsics: (3, 3).

    Returns:
        Its projection.
    """
    camera_from_object = view @ thing.world_from_object
    object_from_camera = invert(camera_from_object)
    hull = thing.solid.hull(thing.bend)
    if hull.ndim == 2:
        hull = np.broadcast_to(hull, (len(view), *hull.shape))
    points = hull @ camera_from_object[:, :3, :3].transpose(0, 2, 1) + camera_from_object[:, None, :3, 3]
    homogeneous = points @ camera.intrinsics.T
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = homogeneous[..., :2] / homogeneous[..., 2:]
    boxes = np.concatenate([pixels.min(1), pixels.max(1)], -1)
    nearest, farthest = points[..., 2].min(1), points[..., 2].max(1)
    boxes[farthest <= NEAR] = 0
    for frame in np.flatnonzero((nearest <= NEAR) & (farthest > NEAR)):
        clipped = clip_near(points[frame], camera.intrinsics)
        boxes[frame] = np.concatenate([clipped.min(0), clipped.max(0)])
    depth = points[..., 2].mean(1)
    rays = object_from_camera[:, :3, :3] @ inverse_intrinsics
    scale = np.zeros(len(view))
    if isinstance(thing.solid, Card):
        x_axis, y_axis = camera_from_object[:, :3, 0], camera_from_object[:, :3, 1]
        middle = camera_from_object[:, :3, 3] - thing.solid.height / 2 * y_axis
        away = np.maximum(middle[:, 2], NEAR)
        area = np.abs((np.cross(x_axis, y_axis) * middle).sum(1)) / away
        scale = camera.intrinsics[0, 0] / away * np.sqrt(np.maximum(area, 1e-6))
    return Projection(camera_from_object, object_from_camera, rays, points, pixels, boxes, depth, scale)


def clip_near(points: NDArray, intrinsics: NDArray) -> NDArray[np.float64]:
    """Project the part of a convex hull that lies beyond `NEAR`: (M, 2) pixels whose hull is its image."""
    front, behind = points[points[:, 2] > NEAR], points[points[:, 2] <= NEAR]
    a, b = np.repeat(front, len(behind), 0), np.tile(behind, (len(front), 1))
    share = ((a[:, 2] - NEAR) / (a[:, 2] - b[:, 2]))[:, None]
    kept = np.concatenate([front, a + share * (b - a)]) @ intrinsics.T
    return kept[:, :2] / kept[:, 2:]


def hull_edges(projection: Projection, frame: int, intrinsics: NDArray) -> NDArray[np.float32] | None:
    """The edges of the projected convex hull, (E, 3): ``a x + b y + c`` is the distance inwards in pixels."""
    points = projection.points[frame]
    pixels = projection.pixels[frame] if points[:, 2].min() > NEAR else clip_near(points, intrinsics)
    start = pixels[0]
    corners = cv2.convexHull((pixels - start).astype(np.float32), clockwise=True)[:, 0]
    if len(corners) < 3:
        return None
    along = np.concatenate([corners[1:], corners[:1]]) - corners
    along /= np.maximum(np.sqrt((along * along).sum(1, keepdims=True)), 1e-9)
    normal = along[:, ::-1] * np.float32([1, -1])
    offset = -(normal * (corners + start)).sum(1)
    return np.concatenate([normal, offset[:, None]], 1).astype(np.float32)

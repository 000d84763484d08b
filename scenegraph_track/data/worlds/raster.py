"""Drawing one frame: every thing is traced per pixel in its window and kept where it is nearer than what is there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.camera import invert
from scenegraph_track.data.worlds.projection import NEAR, hull_edges, project
from scenegraph_track.data.worlds.scene import Scene, Thing
from scenegraph_track.data.worlds.shadows import LIGHT_UNIT, Shadows
from scenegraph_track.data.worlds.silhouettes import DISTANCE_STEP, MARGIN
from scenegraph_track.data.worlds.solids import Card, Ellipsoid, Hit
from scenegraph_track.data.worlds.surroundings import GROUND, PLANES, view

_LARGEST_INVERSE = np.float32(1 / NEAR)


@dataclass(frozen=True)
class Footprint:
    """The whole silhouette of a thing in a frame.

    Args:
        window: The part of the image that holds it, (rows, columns); empty where it is out of view.
        mask: (h, w) bool in that window, as if nothing were before it.
        area: Pixels of the whole silhouette, also those outside the image (to one image size beyond).
        box: xyxy of the whole silhouette, not cut at the image; zeros where nothing is in front of the camera.
    """

    window: tuple[slice, slice]
    mask: NDArray[np.bool_]
    area: int
    box: NDArray[np.float32]


@dataclass(frozen=True)
class Raster:
    """One drawn frame.

    Args:
        image: (H, W, 4) uint8 RGBA before the photometric nuisances.
        inverse_depth: (H, W) float32, 1 / metres, of the nearest opaque surface.
        surface: (H, W) uint16 number of the planar or smooth piece seen there (`Studio.first_surface`).
        veil: (H, W) float32, how much a screen hides the pixel, 0-1.
        footprints: One per object, then one per occluder.
    """

    image: NDArray[np.uint8]
    inverse_depth: NDArray[np.float32]
    surface: NDArray[np.uint16]
    veil: NDArray[np.float32]
    footprints: tuple[Footprint, ...]


_NOWHERE = Footprint((slice(0, 0), slice(0, 0)), np.zeros((0, 0), bool), 0, np.zeros(4, np.float32))


@lru_cache(maxsize=4)
def pixel_axes(width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixel centres from one image size before the image to one after: (3 W,) and (3 H,)."""
    return (np.arange(-width, 2 * width) + 0.5).astype(np.float32), (np.arange(-height, 2 * height) + 0.5).astype(
        np.float32
    )


def linear(rows: NDArray, x: NDArray, y: NDArray) -> NDArray[np.float32]:
    """``a x + b y + c`` for each row (a, b, c) of ``rows`` (R, 3) on a grid of columns x and rows y: (R, H, W)."""
    rows = rows.astype(np.float32)
    return (rows[:, 1:2] * y + rows[:, 2:])[:, :, None] + (rows[:, :1] * x)[:, None, :]


class Studio:
    """A scene made ready for drawing.

    Attributes:
        things: Objects, then occluders, then screens.
        first_surface: Surface number of the first piece of each of `things`; the surroundings have the numbers 0-7.
        label_of_surface: Instance id of each surface number.
        curved: For each surface number, whether it can hide parts of itself.
        moving: Indices of the objects that move or deform.
        body_of_surface: 0 for the surroundings, else 1 + the index into `things`.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        camera = scene.camera
        self.view = invert(camera.world_from_camera)
        self.inverse_intrinsics = np.linalg.inv(camera.intrinsics)
        self.things: tuple[Thing, ...] = (*scene.objects, *scene.occluders, *scene.screens)
        self.projections = [project(thing, camera, self.view, self.inverse_intrinsics) for thing in self.things]
        faces = [thing.solid.faces for thing in self.things]
        self.first_surface = np.concatenate([[0], np.cumsum(faces)]).astype(int)[:-1] + len(PLANES)
        self.label_of_surface = np.concatenate(
            [np.zeros(len(PLANES), np.uint16), np.repeat(np.array([t.label for t in self.things], np.uint16), faces)]
        )
        self.body_of_surface = np.concatenate(
            [np.zeros(len(PLANES), np.intp), np.repeat(np.arange(1, len(self.things) + 1), faces)]
        )
        round_ones = np.repeat(np.array([isinstance(t.solid, Ellipsoid) for t in self.things], bool), faces)
        self.curved = np.concatenate([np.zeros(len(PLANES), bool), round_ones])
        width, height = scene.size
        x, y = pixel_axes(width, height)
        self.x, self.y = x[width : 2 * width], y[height : 2 * height]
        self.ray_length = np.sqrt((linear(self.inverse_intrinsics, self.x, self.y) ** 2).sum(0))
        self.moving = [
            index
            for index, thing in enumerate(scene.objects)
            if thing.bend is not None or (thing.world_from_object != thing.world_from_object[:1]).any()
        ]
        self.shadows = Shadows(scene)
        self.object_light = [light_in_object(thing, scene.light) for thing in self.things]

    def draw(self, frame: int) -> Raster:
        """Draw one frame."""
        scene = self.scene
        pose = scene.camera.world_from_camera[frame]
        to_world = pose[:3, :3] @ self.inverse_intrinsics
        rays = linear(to_world, self.x, self.y)
        focal = float(scene.camera.intrinsics[0, 0])
        behind = view(scene.surroundings, pose[:3, 3], rays, self.ray_length, focal)
        image, inverse = behind.image, behind.inverse_depth
        self._light_ground(image, behind.surface == GROUND, behind.ground_x, behind.ground_z, frame)
        surface, veil = behind.surface.astype(np.uint16), np.zeros(inverse.shape, np.float32)
        bodies = len(scene.objects) + len(scene.occluders)
        footprints = [_NOWHERE] * bodies
        depths = np.array([projection.depth[frame] for projection in self.projections])
        for index in np.argsort(-depths, kind="stable"):
            drawn = self._draw_thing(index, frame, image, inverse, surface, veil)
            if index < bodies:
                footprints[index] = drawn
        return Raster(image, inverse, surface, veil, tuple(footprints))

    def _light_ground(self, image: NDArray, ground: NDArray, x: NDArray, z: NDArray, frame: int) -> None:
        """Darken and brighten the ground: large-scale light, and a soft shadow under every thing."""
        left, top, side = self.scene.surroundings.light_square
        light_map = self.shadows.cast(self.scene.surroundings.light_map, frame)
        scale = np.float32(light_map.shape[0] / side)
        map_x, map_y = (x - np.float32(left)) * scale - np.float32(0.5), (z - np.float32(top)) * scale - np.float32(0.5)
        gain = cv2.remap(light_map, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        np.copyto(gain, np.uint8(LIGHT_UNIT), where=~ground)
        cv2.multiply(image, cv2.merge([gain] * 4), dst=image, scale=1 / LIGHT_UNIT)

    def _draw_thing(
        self, index: int, frame: int, image: NDArray, inverse: NDArray, surface: NDArray, veil: NDArray
    ) -> Footprint:
        """Trace a thing in its window and put it into the buffers where it is nearest."""
        thing, projection = self.things[index], self.projections[index]
        width, height = self.scene.size
        x1, y1, x2, y2 = projection.boxes[frame].tolist()
        if x2 <= x1 or x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            return Footprint(_NOWHERE.window, _NOWHERE.mask, 0, projection.boxes[frame].astype(np.float32))
        left, top = max(math.floor(x1) - 1, -width), max(math.floor(y1) - 1, -height)
        right, bottom = min(math.ceil(x2) + 1, 2 * width), min(math.ceil(y2) + 1, 2 * height)
        x, y = pixel_axes(width, height)
        x, y = x[left + width : right + width], y[top + height : bottom + height]
        traced = self._trace(index, frame, x, y)
        if traced is None:
            return Footprint(_NOWHERE.window, _NOWHERE.mask, 0, projection.boxes[frame].astype(np.float32))
        hit, alpha, texels = traced
        mask = (alpha >= 0.5) & (hit.inverse_depth < _LARGEST_INVERSE)
        a, b, c, d = cv2.boundingRect(mask.view(np.uint8))
        box = np.array([left + a, top + b, left + a + c, top + b + d] if c else [0, 0, 0, 0], np.float32)
        rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
        cut = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
        here, window = hit.inverse_depth[cut], (rows, columns)
        passes = (here > inverse[window]) & (here < _LARGEST_INVERSE)
        soft = alpha[cut] * passes * np.float32(thing.opacity)
        target = image[window]
        target[:] = cv2.blendLinear(_shaded(texels[cut], hit.shade, cut), target, soft, 1 - soft)
        seen = mask[cut] & passes
        if thing.opacity < 1:
            veil[window] += soft * (1 - veil[window])
            return _NOWHERE
        np.copyto(inverse[window], here, where=seen)
        number = (
            hit.face + self.first_surface[index]
            if isinstance(hit.face, int)
            else hit.face[cut] + np.uint16(self.first_surface[index])
        )
        np.copyto(surface[window], number, where=seen, casting="unsafe")
        if self.scene.screens:
            np.copyto(veil[window], 0, where=seen)
        return Footprint(window, mask[cut], cv2.countNonZero(mask.view(np.uint8)), box)

    def _trace(
        self, index: int, frame: int, x: NDArray, y: NDArray
    ) -> tuple[Hit, NDArray[np.float32], NDArray[np.uint8]] | None:
        """Hit, coverage in [0, 1] and RGBA texels of a thing on a grid of pixels; None where it cannot be seen."""
        thing, projection = self.things[index], self.projections[index]
        solid = thing.solid
        origin, matrix = projection.object_from_camera[frame, :3, 3], projection.rays[frame]
        focal = float(self.scene.camera.intrinsics[0, 0])
        if isinstance(solid, Card) and abs(origin[2]) < 1e-4:
            return None
        rays = linear(matrix, x, y)
        bend = None if thing.bend is None else thing.bend[frame]
        hit = solid.trace(origin, rays, bend, self.object_light[index][frame])
        if hit is None:
            return None
        side = thing.texture[0].shape[0]
        if isinstance(solid, Card):
            pixels_per_metre = projection.card_scale[frame]
            inner = side - 2 * MARGIN
            metres_per_texel = np.sqrt(solid.width * solid.height) / inner
            level = self._level(thing, 1 / (metres_per_texel * pixels_per_metre))
            ratio = 1 / (1 << level)
            map_x = hit.u * np.float32(inner * ratio) + np.float32(MARGIN * ratio - 0.5)
            map_y = hit.v * np.float32(inner * ratio) + np.float32(MARGIN * ratio - 0.5)
            texels = cv2.remap(thing.texture[level], map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            crisp = np.float32(metres_per_texel * pixels_per_metre / DISTANCE_STEP)
            alpha = np.clip((texels[..., 3] - np.float32(127.5)) * crisp + np.float32(0.5), 0, 1)
            return hit, alpha, texels
        if isinstance(solid, Ellipsoid):
            conic = solid.outline(origin, matrix)
            gx, gy, g1 = linear(conic, x, y)
            value = gx * x + gy * y[:, None] + g1
            alpha = np.clip(value * 0.5 / np.sqrt(gx * gx + gy * gy + np.float32(1e-30)) + np.float32(0.5), 0, 1)
            tile = 2 * np.pi * float(solid.radii[0]) / solid.repeats[0]
        else:
            edges = hull_edges(projection, frame, self.scene.camera.intrinsics)
            if edges is None:
                return None
            alpha = np.clip(linear(edges, x, y).min(0) + np.float32(0.5), 0, 1)
            tile = 1 / float(np.linalg.norm(solid.axes[0, 0]))
        depth = max(float(projection.depth[frame]), NEAR)
        level = self._level(thing, side / tile * depth / focal * 1.2)
        side >>= level
        map_x, map_y = hit.u * np.float32(side) - np.float32(0.5), hit.v * np.float32(side) - np.float32(0.5)
        texels = cv2.remap(thing.texture[level], map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return hit, alpha, texels

    @staticmethod
    def _level(thing: Thing, texels_per_pixel: float) -> int:
        """The mip level whose texels are about as large as the pixels."""
        return min(max(math.floor(math.log2(max(texels_per_pixel, 1e-6)) + 0.35), 0), len(thing.texture) - 1)


def _shaded(texels: NDArray[np.uint8], shade: NDArray | float, cut: tuple[slice, slice]) -> NDArray[np.uint8]:
    """Multiply colours by a brightness per pixel or for all."""
    if isinstance(shade, float):
        return cv2.convertScaleAbs(texels, alpha=shade)
    return cv2.multiply(texels, cv2.merge([shade[cut]] * 4), dtype=cv2.CV_8U)


def light_in_object(thing: Thing, light: NDArray) -> NDArray[np.float64]:
    """(T, 3) unit direction to the light in the axes of a thing."""
    inward = np.einsum("tji,j->ti", thing.world_from_object[:, :3, :3], light)
    return inward / np.linalg.norm(inward, axis=1, keepdims=True)

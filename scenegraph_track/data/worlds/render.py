"""Rendering a scene: images with all their ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.captions import Caption, Captioner
from scenegraph_track.data.worlds.flow import flow
from scenegraph_track.data.worlds.photometry import Developer
from scenegraph_track.data.worlds.points import track_points
from scenegraph_track.data.worlds.raster import Raster, Studio
from scenegraph_track.data.worlds.scene import Scene
from scenegraph_track.data.worlds.truth import object_truth


@dataclass(frozen=True, eq=False)
class WorldFrame:
    """One image and everything that is true of it.

    Boxes are xyxy in pixels, continuous, around whole pixels; world and camera axes as in `camera`.  Depth, flow, ids
    and surfaces are those of the nearest *opaque* surface: a semi-transparent screen changes the image and `veil` only,
    and what is behind it counts as visible.

    Args:
        index: 0-based.
        timestamp: Seconds.
        image: (H, W, 3) uint8 RGB, with the photometric nuisances.
        depth: (H, W) float32 metres along the camera's z axis.
        intrinsics: (3, 3) float64, pixels.
        world_from_camera: (4, 4) float64, metres.
        instance: (H, W) uint16: 0 the surroundings, 1..N the objects, from `STATIC_LABEL` on the static occluders.
        surface: (H, W) uint16 number of the planar or smooth piece: two pixels with the same number are of one piece.
        veil: (H, W) float32 in [0, 1], how much a semi-transparent screen hides the pixel.
        ids: (N,) int64, 1..N.
        amodal_masks: (N, H, W) bool, the part of the whole silhouette that is in the image.
        visible_boxes: (N, 4) float32 of the visible pixels; zeros where there are none.
        amodal_boxes: (N, 4) float32 of the whole silhouette, not cut at the image (followed to one image size beyond
            its border); zeros where nothing is in front of the camera.
        visible_fraction: (N,) float32, visible pixels over pixels of the whole silhouette, that outside the image
            included (to one image size beyond); 0 where out of view.
        occluded_by: (N, N) float32, share of the row object's silhouette where the column object is seen.
        occluded_by_static: (N, S) float32, the same for the static occluders.
        relations: (N, N, 6) bool, see `truth.relations`.
        positions: (N, 3) float32 middle of each body in camera axes, metres.
        flow_forward: (H, W, 2) float32 pixels, where the surface point at the pixel's centre goes in the next frame;
            zero in the last one.
        flow_backward: (H, W, 2) float32 pixels, the same to the frame before; zero in the first one.
        occluded_forward: (H, W) bool, that point is not visible in the next frame; True in the last one.
        occluded_backward: (H, W) bool, that point is not visible in the frame before; True in the first one.
        captions: N captions.
    """

    index: int
    timestamp: float
    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    world_from_camera: NDArray[np.float64]
    instance: NDArray[np.uint16]
    surface: NDArray[np.uint16]
    veil: NDArray[np.float32]
    ids: NDArray[np.int64]
    amodal_masks: NDArray[np.bool_]
    visible_boxes: NDArray[np.float32]
    amodal_boxes: NDArray[np.float32]
    visible_fraction: NDArray[np.float32]
    occluded_by: NDArray[np.float32]
    occluded_by_static: NDArray[np.float32]
    relations: NDArray[np.bool_]
    positions: NDArray[np.float32]
    flow_forward: NDArray[np.float32]
    flow_backward: NDArray[np.float32]
    occluded_forward: NDArray[np.bool_]
    occluded_backward: NDArray[np.bool_]
    captions: tuple[Caption, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The N sentences."""
        return tuple(caption.sentence for caption in self.captions)

    @property
    def sentence_identifies(self) -> NDArray[np.bool_]:
        """(N,) whether each sentence is true of its object alone among those that can be seen."""
        return np.array([caption.identifies for caption in self.captions], bool)


@dataclass(frozen=True, eq=False)
class WorldClip:
    """A rendered scene.

    Args:
        scene: What was rendered.
        frames: Its T frames.
        rasters: The drawing behind each frame, for `track_points`.
    """

    scene: Scene
    frames: tuple[WorldFrame, ...]
    rasters: tuple[Raster, ...]

    def __len__(self) -> int:
        return len(self.frames)

    @cached_property
    def _studio(self) -> Studio:
        return Studio(self.scene)

    def track_points(self, queries: NDArray) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Follow any number of surface points.

        Args:
            queries: (Q, 3) frame index, x and y in pixels.

        Returns:
            Positions (T, Q, 2) in pixels and visibility (T, Q), see `points.track_points`.

        Raises:
            UserError: A query is not in the clip or not in the image.
        """
        return track_points(self._studio, self.rasters, queries)


def _frames(scene: Scene) -> Iterator[tuple[WorldFrame, Raster]]:
    """Render with a window of three frames in memory."""
    studio, developer = Studio(scene), Developer(scene)
    captioner = Captioner(studio)
    ids = np.arange(1, len(scene.objects) + 1)
    width, height = scene.size
    no_flow = np.zeros((height, width, 2), np.float32), np.ones((height, width), bool)
    rasters = {0: studio.draw(0)}
    for index, timestamp in enumerate(scene.times):
        rasters.pop(index - 2, None)
        if index + 1 < len(scene):
            rasters[index + 1] = studio.draw(index + 1)
        raster = rasters[index]
        truth = object_truth(studio, raster, index)
        forward, forward_hidden = flow(studio, rasters, index, index + 1) if index + 1 in rasters else no_flow
        backward, backward_hidden = flow(studio, rasters, index, index - 1) if index else no_flow
        frame = WorldFrame(
            index,
            float(timestamp),
            developer.develop(raster.image, index),
            1 / raster.inverse_depth,
            scene.camera.intrinsics,
            scene.camera.world_from_camera[index],
            truth.instance,
            raster.surface,
            raster.veil,
            ids,
            truth.amodal_masks,
            truth.visible_boxes,
            truth.amodal_boxes,
            truth.visible_fraction,
            truth.occluded_by,
            truth.occluded_by_static,
            truth.relations,
            truth.positions,
            forward,
            backward,
            forward_hidden,
            backward_hidden,
            captioner.describe(truth, index),
        )
        yield frame, raster


def iter_frames(scene: Scene) -> Iterator[WorldFrame]:
    """Render frame by frame, for clips that do not fit in memory."""
    return (frame for frame, _ in _frames(scene))


def render(scene: Scene) -> WorldClip:
    """Render a whole clip.

    Args:
        scene: From `sample_scene`.

    Returns:
        Its frames, and point tracks on demand.
    """
    frames, rasters = zip(*_frames(scene))
    return WorldClip(scene, frames, rasters)

"""What the detector is taught by: objects of rendered clips that motion cuts out, without labels.

Cameras that stand or only turn leave the cleanest motion: what a homography does not explain moves on its own
(`detectors.motion_segments`).  A detector that has learned from them what objects look like finds those that stand
still too.  The truth that the worlds know is not looked at.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from detectors.motion_segments import homography_flow, segment_motion
from geometry import optical_flow
from scenegraph_track.data.worlds import render
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.drawn_worlds import check_cameras, scene_with_camera
from scenegraph_track.training.labels import estimator

NAME = "objects"
"""Of the files."""

UNKNOWN = 255
"""Label of pixels that may be of an object."""


class ObjectLabelSettings(BaseModel):
    """Which clips are labelled, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str = Field("runs/objects", description="where the labels are kept, and found again")
    scenes: int = Field(2304, ge=1, description="one labelled frame each")
    preset: str = Field("standard", description="kind of world")
    cameras: list[str] = Field(["still", "pan", "handheld"], min_length=1, description="kinds of ego-motion")
    size: int = Field(128, ge=32, description="side of the images, pixels")
    frame_rates: list[float] = Field([5.0, 6.0, 8.0, 10.0, 12.0], description="of the clips, drawn from")
    flow: str = Field("embedded", description="dis_fast, dis_sparse, dis_fine, embedded, or weights of a flow network")
    gain: float = Field(0.3, description="least gain of a segment, see MotionSegments")
    spread: float = Field(0.5, gt=0, description="largest spread of a segment, pixels")
    area: int = Field(30, ge=1, description="least area of a segment, pixels")
    seed: int = Field(0, ge=0, description="of the scenes")
    workers: int = Field(2, ge=1, description="processes that make labels")

    @model_validator(mode="after")
    def _cameras_of_preset(self) -> Self:
        check_cameras(self.preset, self.cameras)
        return self


def make_object_label(index: int, settings: ObjectLabelSettings) -> dict[str, np.ndarray]:
    """The label of one scene, which follows from its number and the settings.

    Returns:
        ``image`` (3, H, W) uint8; ``flow`` and ``residual`` (2, 2, H, W) float16 to the next frame and to the one
        before, pixels; ``labels`` (H, W) uint8: 0 the surroundings and what stands still, `UNKNOWN`, else an object.
    """
    rng = np.random.default_rng((settings.seed, index, 1))
    rate = float(rng.choice(settings.frame_rates))
    scene = scene_with_camera(rng, settings.preset, settings.cameras, settings.size, 3, rate)
    before, frame, after = (f.image for f in render(scene).frames)
    method = estimator(settings.flow)
    images = [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image in (frame, after, before)]
    flows = [optical_flow(images[0], other, method).flow.permute(1, 2, 0).numpy() for other in images[1:]]
    cameras = [homography_flow(flow) for flow in flows]
    colours = [image.astype(np.float32) / 255 for image in (frame, after, before)]
    found = segment_motion(colours[0], colours[1:], flows, cameras)
    labels = found.chosen(settings.gain, settings.spread, settings.area)
    unsure = (found.moving | (found.labels > 0)) & (labels == 0)
    residuals = [flow - camera for flow, camera in zip(flows, cameras)]
    return {
        "image": images[0].numpy(),
        "flow": np.stack(flows).transpose(0, 3, 1, 2).astype(np.float16),
        "residual": np.stack(residuals).transpose(0, 3, 1, 2).astype(np.float16),
        "labels": np.where(unsure, UNKNOWN, np.minimum(labels, UNKNOWN - 1)).astype(np.uint8),
    }


def object_labels(
    settings: ObjectLabelSettings, few: bool = False, rank: int = 0, world_size: int = 1
) -> Chunks[ObjectLabelSettings]:
    """The labels of a folder in memory, one row a scene; see `Chunks`."""
    return Chunks(settings, make_object_label, NAME, few, rank, world_size)

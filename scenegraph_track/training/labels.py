"""What depth and pose networks are taught by: triangulated depth and camera motion of rendered clips, without labels.

Each scene gives one reference frame.  Flow to the next frame and to one well before and after it, and their camera
motions, are fitted together (`geometry.triangulate`), which gives depth where the camera moved enough, with a
confidence, and the motion to the next frame in the same scale.  The truth that the worlds know is not looked at.
Labels are made once and kept in a folder.
"""

from __future__ import annotations

from functools import cache
from typing import Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from geometry import optical_flow, triangulate
from geometry.embedded import flow_estimator
from geometry.flow import FlowEstimator
from geometry.triangulation import VideoDepth, choose_stride, choose_targets
from scenegraph_track.data.worlds import render
from scenegraph_track.data.worlds.camera import CAMERA_MOTIONS
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.drawn_worlds import check_cameras, drawn_preset, scene_with_camera

NAME = "labels"
"""Of the files."""


class LabelSettings(BaseModel):
    """Which clips are labelled, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str = Field("runs/labels", description="where the labels are kept, and found again")
    scenes: int = Field(2560, ge=1, description="one labelled frame each")
    presets: dict[str, float] = Field({"standard": 0.75, "static": 0.25}, description="share of each kind of world")
    cameras: list[str] = Field([*CAMERA_MOTIONS], min_length=1, description="kinds of ego-motion that are rendered")
    size: int = Field(128, ge=32, description="side of the images, pixels")
    frames: int = Field(9, ge=3, description="of each clip; the middle one is labelled")
    frame_rates: list[float] = Field([5.0, 6.0, 8.0, 10.0, 15.0, 25.0], description="of the clips, drawn from")
    flow: str = Field(
        "dis_sparse", description="dis_fast, dis_sparse, dis_fine, embedded, or weights of a flow network"
    )
    seed: int = Field(0, ge=0, description="of the scenes")
    workers: int = Field(2, ge=1, description="processes that make labels")

    @model_validator(mode="after")
    def _cameras_of_presets(self) -> Self:
        for preset in self.presets:
            check_cameras(preset, self.cameras)
        return self


def make_label(index: int, settings: LabelSettings, flow: str | FlowEstimator) -> dict[str, np.ndarray]:
    """The label of one scene, which follows from its number and the settings.

    Returns:
        ``image`` and ``other`` (3, H, W) uint8, the reference and the next frame; ``intrinsics`` (3, 3); ``depth``
        (H, W) float16 over its median, 0 where unknown; ``confidence`` (H, W) uint8 of 255; ``flow`` (2, H, W) float16
        to the next frame and ``trusted`` (H, W); ``motion`` (4, 4) ``other_from_image`` in the scale of the depth;
        ``translates``: whether that scale and the direction are known.
    """
    rng, preset = _drawn(index, settings)
    rate = float(rng.choice(settings.frame_rates))
    clip = render(scene_with_camera(rng, preset, settings.cameras, settings.size, settings.frames, rate))
    images = [torch.from_numpy(frame.image).permute(2, 0, 1).contiguous() for frame in clip.frames]
    intrinsics = torch.from_numpy(clip.scene.camera.intrinsics).float()
    middle = len(images) // 2
    there = optical_flow(images[middle], images[middle + 1], flow)
    around = choose_targets(len(images), middle, choose_stride(there.flow, largest=middle))
    further = sorted({around[0], around[-1]} - {middle + 1})
    found = [there, *(optical_flow(images[middle], images[k], flow) for k in further)]
    flows, masks = torch.stack([f.flow for f in found]), torch.stack([f.consistent for f in found])
    depth = triangulate(flows, masks, intrinsics, image=images[middle])
    depth, translates = _unit_median(depth)
    return {
        "image": images[middle].numpy(),
        "other": images[middle + 1].numpy(),
        "intrinsics": intrinsics.numpy(),
        "depth": depth.depth.numpy().astype(np.float16),
        "confidence": (depth.confidence.numpy() * 255).round().astype(np.uint8),
        "flow": there.flow.numpy().astype(np.float16),
        "trusted": there.consistent.numpy(),
        "motion": depth.target_from_reference[0].numpy().astype(np.float32),
        "translates": np.array(translates),
    }


def _drawn(index: int, settings: LabelSettings) -> tuple[np.random.Generator, str]:
    rng = np.random.default_rng((settings.seed, index))
    return rng, drawn_preset(rng, settings.presets)


def preset_of(index: int, settings: LabelSettings) -> str:
    """The kind of world that a label is of."""
    return _drawn(index, settings)[1]


def _unit_median(depth: VideoDepth) -> tuple[VideoDepth, bool]:
    """The same with a median depth of 1 over sure pixels, and whether there are any."""
    sure = depth.confidence > 0.5
    if not bool(sure.any()):
        return depth, False
    return depth.scaled(1 / float(depth.depth[sure].median())), True


@cache
def estimator(name: str) -> str | FlowEstimator:
    """What `optical_flow` takes for the setting ``flow``."""
    return flow_estimator(name) if name.endswith(".safetensors") else name


def make_row(index: int, settings: LabelSettings) -> dict[str, np.ndarray]:
    """`make_label` with the flow that the settings name."""
    return make_label(index, settings, estimator(settings.flow))


def labels_of(settings: LabelSettings, few: bool = False, rank: int = 0, world_size: int = 1) -> Chunks[LabelSettings]:
    """The labels of a folder in memory, one row a scene; see `Chunks`."""
    return Chunks(settings, make_row, NAME, few, rank, world_size)

"""Short windows of worlds with their classical flow and camera motion, for self-supervision of depth and motion."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from geometry.ego_motion import fit_ego_motion, scale_to_depth
from geometry.flow import optical_flow
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.training.batches import Item
from scenegraph_track.training.drawn_worlds import Presets, drawn_preset

ATTEMPTS = 8
"""Worlds that are looked at for one with enough parallax."""

SURE = 0.5
"""Share of the trusted flow that a classical motion has to explain to be a teacher."""

SOURCES = (0, 2)
"""Frames of a window that its middle one is compared with."""


class WindowData(BaseModel):
    """What the networks are shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    presets: Presets = Field({"static": 1.0})
    frame_rates: list[float] = Field([3.0, 4.0, 6.0], description="drawn from; a median flow of a few pixels teaches")
    size: int = Field(64, ge=32, description="side of the images, pixels")
    worlds: int | None = Field(400, ge=1, description="different windows, each rendered once; None: always new ones")
    parallax: float = Field(0.3, ge=0, description="least median of the classical estimate, pixels")
    windows: int = Field(8, ge=1, description="in a batch")
    flow: str = Field("dis_fine", description="classical flow: dis_fast, dis_sparse or dis_fine")
    workers: int = Field(0, ge=0, description="processes that render")
    validation_windows: int = Field(24, ge=1, description="from held-out worlds")


def draw_window(rng: np.random.Generator, data: WindowData) -> Item:
    """One window, mirrored or not.

    Returns:
        ``images`` (1, 3, 3, H, W) in [0, 1], the middle frame, the one before and the one after; ``intrinsics``
        (1, 3, 3); ``flow`` (1, 2, 2, H, W) from the middle frame to the others and ``trusted`` (1, 2, 1, H, W);
        ``motion`` (1, 2, 4, 4), the classical source_from_middle, its translation in units of the depth of a plane that
        fits best; ``sure`` (1, 2), 1 where it can teach, else 0; ``depth`` (1, 1, H, W) and ``truth`` (1, 2, 4, 4),
        which no loss may look at.
    """
    number = int(rng.integers(data.worlds or 2**62))
    window = held_window(data, "train", number) if data.worlds else make_window(data, "train", number)
    window = {name: value[None] for name, value in window.items()}
    return mirrored(window, torch.diag(torch.tensor([-1.0, 1.0, 1.0]))) if rng.random() < 0.5 else window


def held_window(data: WindowData, split: str, number: int) -> Item:
    """As `make_window`, rendered once a process."""
    return _held(data.model_dump_json(include={"presets", "frame_rates", "size", "parallax", "flow"}), split, number)


@lru_cache(maxsize=1024)
def _held(data: str, split: str, number: int) -> Item:
    return make_window(WindowData.model_validate_json(data), split, number)


def make_window(data: WindowData, split: str, number: int) -> Item:
    """Window ``number`` of a split, as in `draw_window` without the first axis."""
    rng = np.random.default_rng(number)
    for _ in range(ATTEMPTS):
        preset = drawn_preset(rng, data.presets)
        rate, seed = float(rng.choice(data.frame_rates)), int(rng.integers(2**62))
        size = (data.size, data.size)
        frames = render(sample_scene(preset, split, seed=seed, size=size, frames=3, frame_rate=rate)).frames
        images = [torch.from_numpy(frame.image).permute(2, 0, 1) for frame in frames]
        intrinsics = torch.from_numpy(frames[1].intrinsics)
        flows = [optical_flow(images[1], images[source], data.flow) for source in SOURCES]
        fits = [fit_ego_motion(flow.flow, intrinsics, flow.consistent) for flow in flows]
        if min(fit.parallax if fit.translates else 0.0 for fit in fits) >= data.parallax:
            break
    plane = torch.ones(size)
    poses = [
        torch.from_numpy(np.linalg.inv(frames[k].world_from_camera) @ frames[1].world_from_camera) for k in SOURCES
    ]
    return {
        "images": torch.stack([images[k] for k in (1, *SOURCES)]).float() / 255,
        "intrinsics": intrinsics.float(),
        "flow": torch.stack([flow.flow for flow in flows]),
        "trusted": torch.stack([flow.consistent[None] for flow in flows]),
        "motion": torch.stack(
            [scale_to_depth(fit, flow.flow, plane, intrinsics) for fit, flow in zip(fits, flows)]
        ).float(),
        "sure": torch.tensor([float(fit.inlier_ratio > SURE) for fit in fits]),
        "depth": torch.from_numpy(frames[1].depth)[None],
        "truth": torch.stack(poses).float(),
    }


def mirrored(window: Item, axes: Tensor) -> Item:
    """The same windows (N, ...) of square images in mirrors.

    Args:
        window: As `draw_window` gives it.
        axes: Orthogonal (3, 3) of zeros, ones and minus ones that leaves the optical axis: how the axes of the camera
            are changed.
    """
    turned = dict(window)
    swap, signs = bool(axes[0, 1] != 0), axes[:2].sum(1)
    for name in ("images", "flow", "trusted", "depth"):
        values = window[name].transpose(-1, -2) if swap else window[name]
        turned[name] = values.flip([-1 - k for k in (0, 1) if signs[k] < 0])
    turned["flow"] = (turned["flow"].flip(2) if swap else turned["flow"]) * signs[:, None, None]
    intrinsics = axes @ window["intrinsics"] @ axes.mT
    size = window["images"].shape[-1]
    intrinsics[:, :2, 2] += size * (signs < 0)
    whole = torch.block_diag(axes, torch.ones(1, 1)).to(axes)
    return {**turned, "intrinsics": intrinsics, **{n: whole @ window[n] @ whole.mT for n in ("motion", "truth")}}

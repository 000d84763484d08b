"""What depth and pose networks are taught by: triangulated depth and camera motion of rendered clips, without labels.

Each scene gives one reference frame.  Flow to the next frame and to one well before and after it, and their camera
motions, are fitted together (`geometry.triangulate`), which gives depth where the camera moved enough, with a
confidence, and the motion to the next frame in the same scale.  The truth that the worlds know is not looked at.
Labels are made once and kept in a folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from geometry import optical_flow, triangulate
from geometry.embedded import flow_estimator
from geometry.flow import FlowEstimator
from geometry.triangulation import VideoDepth, choose_stride, choose_targets
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.files import atomic_write

CHUNK = 32
"""Scenes in a file."""

_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class LabelSettings(BaseModel):
    """Which clips are labelled, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str = Field("runs/labels", description="where the labels are kept, and found again")
    scenes: int = Field(2560, ge=1, description="one labelled frame each")
    presets: dict[str, float] = Field({"standard": 0.75, "static": 0.25}, description="share of each kind of world")
    size: int = Field(128, ge=32, description="side of the images, pixels")
    frames: int = Field(9, ge=3, description="of each clip; the middle one is labelled")
    frame_rates: list[float] = Field([5.0, 6.0, 8.0, 10.0, 15.0, 25.0], description="of the clips, drawn from")
    flow: str = Field(
        "dis_sparse", description="dis_fast, dis_sparse, dis_fine, embedded, or weights of a flow network"
    )
    seed: int = Field(0, ge=0, description="of the scenes")
    workers: int = Field(2, ge=1, description="processes that make labels")


def make_label(index: int, settings: LabelSettings, flow: str | FlowEstimator) -> dict[str, np.ndarray]:
    """The label of one scene, which follows from its number and the settings.

    Returns:
        ``image`` and ``other`` (3, H, W) uint8, the reference and the next frame; ``intrinsics`` (3, 3); ``depth``
        (H, W) float16 over its median, 0 where unknown; ``confidence`` (H, W) uint8 of 255; ``flow`` (2, H, W) float16
        to the next frame and ``trusted`` (H, W); ``motion`` (4, 4) ``other_from_image`` in the scale of the depth;
        ``translates``: whether that scale and the direction are known.
    """
    rng = np.random.default_rng((settings.seed, index))
    names, shares = list(settings.presets), np.array(list(settings.presets.values()))
    preset = str(rng.choice(names, p=shares / shares.sum()))
    seed, size = int(rng.integers(2**62)), (settings.size, settings.size)
    rate = float(rng.choice(settings.frame_rates))
    clip = render(sample_scene(preset, "train", seed=seed, size=size, frames=settings.frames, frame_rate=rate))
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


def _make_chunk(number: int, settings: LabelSettings) -> None:
    path = _chunk_path(settings, number)
    if path.exists():
        return
    flow = estimator(settings.flow)
    scenes = range(number * CHUNK, min((number + 1) * CHUNK, settings.scenes))
    labels = [make_label(index, settings, flow) for index in scenes]
    with atomic_write(path, "wb") as file:
        np.savez(file, **{name: np.stack([label[name] for label in labels]) for name in labels[0]})


def _one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _chunk_path(settings: LabelSettings, number: int) -> Path:
    """Named for what the labels depend on, so that those of other settings are not taken for them."""
    told = settings.model_dump(mode="json", exclude={"folder", "workers", "scenes"})
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    count = min(CHUNK, settings.scenes - number * CHUNK)
    part = "" if count == CHUNK else f"-{count}"
    return Path(settings.folder) / f"labels-{digest}-{number:05d}{part}.npz"


def make_labels(settings: LabelSettings, share: range | None = None) -> None:
    """Make the labels that are not there yet.

    Args:
        settings: What to make.
        share: Numbers of the files to make; None: all.
    """
    chunks = range(-(-settings.scenes // CHUNK)) if share is None else share
    wanted = [number for number in chunks if not _chunk_path(settings, number).exists()]
    if not wanted:
        return
    Path(settings.folder).mkdir(parents=True, exist_ok=True)
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # read when a new process loads its numerical libraries
    try:
        with ProcessPoolExecutor(settings.workers, get_context("spawn"), _one_thread) as pool:
            for _ in pool.map(partial(_make_chunk, settings=settings), wanted):
                pass
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


class Labels:
    """The labels of a folder in memory, by name, one row a scene.

    Args:
        settings: What was made; files that are missing are made first.
        few: Make two labels in memory and none in the folder, to try a stage.
    """

    def __init__(self, settings: LabelSettings, few: bool = False) -> None:
        if few:
            labels = [make_label(index, settings, estimator(settings.flow)) for index in range(2)]
            parts = [{name: value[None] for name, value in label.items()} for label in labels]
        else:
            make_labels(settings)
            parts = [dict(np.load(_chunk_path(settings, k))) for k in range(-(-settings.scenes // CHUNK))]
        self.arrays: dict[str, np.ndarray] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def __len__(self) -> int:
        return len(self.arrays["image"])

    def rows(self, chosen: Any) -> Iterator[dict[str, np.ndarray]]:
        """The labels of some scenes."""
        for index in chosen:
            yield {name: values[index] for name, values in self.arrays.items()}

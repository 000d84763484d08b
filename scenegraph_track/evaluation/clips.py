"""Clips with exact geometry to measure on: worlds, and recordings of a real RGB-D camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geometry.camera import rigid_flow
from scenegraph_track.data.rgbd import RgbdRecording, read_rgbd
from scenegraph_track.data.worlds import Scene, iter_frames, render, sample_scene
from scenegraph_track.data.worlds.render import WorldClip
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.flow import flow_regions

MAP_SEED = 70_000
"""First seed of the training worlds behind the mean depth map."""


class Clip(Protocol):
    """Frames with their truth.

    Args:
        name: Of the sequence.
        images: T images (3, H, W) uint8 RGB.
        intrinsics: (3, 3) float32 of all frames.
        world_from_camera: (T, 4, 4) metres.
        pairs: Frames whose flow and camera motion to the next frame are measured.
        frames: Those of them whose depth and motion residual are measured too.
        moves: Whether the camera translates.
    """

    name: str
    images: Sequence[Tensor]
    intrinsics: Tensor
    world_from_camera: NDArray[np.float64]
    pairs: tuple[int, ...]
    frames: tuple[int, ...]
    moves: bool

    def depth(self, index: int) -> NDArray[np.float32]:
        """(H, W) metres along z, 0 where unknown."""
        ...

    def still(self, index: int) -> NDArray[np.bool_]:
        """(H, W): pixels of the surroundings, which stand still, that the next frame shows too."""
        ...

    def flow(self, index: int) -> tuple[NDArray, dict[str, NDArray[np.bool_]]]:
        """Flow (H, W, 2) to the next frame, and masks of the regions in which errors are counted apart."""
        ...


def motion_to_next(clip: Clip, index: int) -> NDArray[np.float64]:
    """True motion (4, 4) ``target_from_source`` of the camera from a frame to the next."""
    return np.linalg.inv(clip.world_from_camera[index + 1]) @ clip.world_from_camera[index]


def camera_flow(clip: Clip, index: int) -> NDArray[np.float64]:
    """Flow (2, H, W) that the true depth and the true motion give; where depth is unknown it means nothing."""
    depth = torch.from_numpy(clip.depth(index))[None, None].double()
    motion = torch.from_numpy(motion_to_next(clip, index))[None]
    return rigid_flow(depth, motion, clip.intrinsics[None].double())[0].numpy()


def _translates(scene: Scene) -> bool:
    return scene.camera.motion not in ("still", "pan")


class SyntheticClip:
    """A rendered world: depth of the middle frame, motion there and at a quarter."""

    def __init__(self, world: WorldClip, name: str) -> None:
        self.name = name
        self._frames, self._objects = world.frames, len(world.scene.objects)
        self.images = [torch.from_numpy(np.ascontiguousarray(f.image.transpose(2, 0, 1))) for f in world.frames]
        self.intrinsics = torch.from_numpy(world.scene.camera.intrinsics).float()
        self.world_from_camera = np.stack([frame.world_from_camera for frame in world.frames])
        middle = len(world) // 2
        self.pairs, self.frames = (middle // 2, middle), (middle,)
        self.moves = _translates(world.scene)

    def depth(self, index: int) -> NDArray[np.float32]:
        """See `Clip`."""
        return self._frames[index].depth

    def still(self, index: int) -> NDArray[np.bool_]:
        """See `Clip`."""
        return (self._frames[index].instance == 0) & ~self._frames[index].occluded_forward

    def flow(self, index: int) -> tuple[NDArray, dict[str, NDArray[np.bool_]]]:
        """See `Clip`; regions as in `flow_regions`."""
        return self._frames[index].flow_forward, flow_regions(self._frames[index], self._objects)


class RecordedClip:
    """A real recording of what stands still; every frame that is measured, is measured in full."""

    def __init__(self, recording: RgbdRecording, name: str, frames: tuple[int, ...]) -> None:
        self.name, self.frames, self.pairs, self.moves = name, frames, frames, True
        self._recording, self.images = recording, recording.images
        self.intrinsics = torch.from_numpy(recording.intrinsics).float()
        self.world_from_camera = recording.trajectory.world_from_camera

    def depth(self, index: int) -> NDArray[np.float32]:
        """See `Clip`."""
        return self._recording.depth(index)

    def still(self, index: int) -> NDArray[np.bool_]:
        """See `Clip`; all pixels with a depth."""
        return self.depth(index) > 0

    def flow(self, index: int) -> tuple[NDArray, dict[str, NDArray[np.bool_]]]:
        """See `Clip`: the flow of the camera, which is ``background`` where depth is known and it stays inside."""
        flow = camera_flow(self, index).transpose(1, 2, 0)
        height, width = flow.shape[:2]
        ends = flow + np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1)
        stays = ((ends > 0) & (ends < (width, height))).all(-1)
        return flow, {"background": self.still(index) & stays}


def whole_boxes(clip: WorldClip) -> NDArray[np.float32]:
    """(T, K, 4) the whole extents of a clip's objects, cut at the image."""
    limit = np.array([*clip.scene.size, *clip.scene.size], np.float32)
    return np.stack([np.clip(frame.amodal_boxes, 0, limit) for frame in clip.frames])


def visible_parts(clip: WorldClip) -> NDArray[np.float32]:
    """(T, K) of a clip's objects."""
    return np.stack([frame.visible_fraction for frame in clip.frames])


@dataclass(frozen=True)
class RenderedWorlds:
    """Worlds to measure on, rendered when they are asked for.

    Args:
        preset: Kind of world.
        split: "train", "val" or "test".
        sequences: How many, seeds 0, 1, 2 ...
        size: (W, H) pixels.
        frames: Length of each; None for the preset's own.
    """

    preset: str = "standard"
    split: str = "test"
    sequences: int = 40
    size: tuple[int, int] = (128, 128)
    frames: int | None = None

    def __str__(self) -> str:
        return f"worlds {self.preset}, {self.split}, {self.size[0]}x{self.size[1]}"

    def __len__(self) -> int:
        return self.sequences

    def world(self, k: int) -> WorldClip:
        """The k-th world, with all of its truth."""
        return render(self._scene(k))

    def name(self, k: int) -> str:
        """What the k-th world is called."""
        return f"{self.preset}_{self.split}_{k:04d}"

    def _scene(self, k: int) -> Scene:
        return sample_scene(self.preset, self.split, seed=k, size=self.size, frames=self.frames)


@dataclass(frozen=True)
class Worlds(RenderedWorlds):
    """The same as clips with exact geometry."""

    def clip(self, k: int) -> Clip:
        """The k-th world."""
        return SyntheticClip(self.world(k), self.name(k))

    @property
    def long_clips(self) -> int:
        """Number of clips to follow the camera through."""
        return self.sequences

    def moves(self, k: int) -> bool:
        """Whether the camera translates in the k-th of them."""
        return _translates(self._scene(k))

    def long_clip(self, k: int) -> Clip:
        """The k-th of them."""
        return self.clip(k)


@dataclass(frozen=True)
class Recording:
    """A folder of a real RGB-D camera, see `data.rgbd`; measured every few frames, each counting as a sequence.

    Args:
        folder: Of the recording.
        every: Frames between those that are measured.
        first: The first one.
    """

    folder: Path
    every: int = 6
    first: int = 2

    def __str__(self) -> str:
        return f"recording {self.folder.name}"

    @property
    def _opened(self) -> RgbdRecording:
        return _open(self.folder)

    @property
    def _chosen(self) -> range:
        chosen = range(self.first, len(self._opened) - 1, self.every)
        if not chosen:
            raise UserError(f"{self.folder}: expected at least {self.first + 2} frames, found {len(self._opened)}")
        return chosen

    @property
    def size(self) -> tuple[int, int]:
        """(W, H) pixels."""
        height, width = self._opened.images[0].shape[1:]
        return int(width), int(height)

    def __len__(self) -> int:
        return len(self._chosen)

    def clip(self, k: int) -> Clip:
        """The recording, with its k-th frame to be measured."""
        index = self._chosen[k]
        return RecordedClip(self._opened, self._opened.images.paths[index].stem, (index,))

    @property
    def long_clips(self) -> int:
        """Number of clips to follow the camera through: one."""
        return 1

    def moves(self, k: int) -> bool:
        """Yes."""
        return True

    def long_clip(self, k: int) -> Clip:
        """The whole recording."""
        return RecordedClip(self._opened, self._opened.folder.name, ())


_open = lru_cache(maxsize=1)(read_rgbd)

Source = Worlds | Recording


def mean_depth_map(preset: str, size: tuple[int, int], worlds: int = 150) -> Tensor:
    """Median over training worlds of their depth over its median, (H, W) float32.

    Args:
        preset: Kind of world.
        size: (W, H) pixels.
        worlds: How many; the first frame of each.
    """
    maps = []
    for seed in range(MAP_SEED, MAP_SEED + worlds):
        depth = next(iter_frames(sample_scene(preset, "train", seed=seed, frames=1, size=size))).depth
        maps.append(depth / np.median(depth))
    return torch.from_numpy(np.median(maps, 0).astype(np.float32))


def prior_for(source: Source, preset: str, worlds: int = 150) -> Tensor:
    """The mean depth map (H, W) at the size of a source; large ones are enlarged from about 160 pixels."""
    import cv2

    width, height = source.size
    factor = min(1.0, 160 / max(width, height))
    small = mean_depth_map(preset, (max(round(width * factor), 16), max(round(height * factor), 16)), worlds)
    return torch.from_numpy(cv2.resize(small.numpy(), (width, height), interpolation=cv2.INTER_LINEAR))

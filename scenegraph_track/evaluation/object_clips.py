"""Clips in which objects are to be found, with the truth: worlds, and annotated real videos."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geometry.camera import guess_intrinsics
from geometry.video import FrameGeometry, reduced
from scenegraph_track.data.image_files import read_image
from scenegraph_track.data.masks import MaskSequence, boxes_of_mask
from scenegraph_track.data.mot import TruthFile
from scenegraph_track.data.sequences import Sequence as Video
from scenegraph_track.data.sequences import find_sequences
from scenegraph_track.data.worlds.render import WorldClip, WorldFrame
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.clips import SyntheticClip, Worlds, camera_flow
from scenegraph_track.evaluation.estimators import Estimators
from scenegraph_track.evaluation.object_cues import WORKING_SIZE, clip_cues

LEAST_VISIBLE = 0.5
"""Visible part of an object from which its box is to be found."""

STILL = 0.25
"""Pixels a frame: median of an object's own motion, under which it stands still."""

PART = 80
"""Frames of the parts into which long videos are cut."""

IGNORED = -1
"""Label of pixels that are not judged."""

VOID = 255
"""The value of such pixels in files."""


@dataclass(frozen=True, eq=False)
class FrameTruth:
    """What is true of one frame, in pixels of the original image.

    Args:
        size: (H, W) of the image.
        ids: (N,) int64 identities of the boxes that are to be found.
        boxes: (N, 4) xyxy, cut at the image: of objects that are visible by at least half, as far as that is known.
        labels: (H, W) integers: 1.. the visible part of each object, 0 none, or `IGNORED`; None where only boxes are
            known.
    """

    size: tuple[int, int]
    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.integer] | None = None


@dataclass(frozen=True, eq=False)
class ObjectClip:
    """What a method sees of a clip, and what it is judged by.

    Args:
        name: Of the sequence.
        images: (T, 3, H, W) uint8 RGB.
        intrinsics: (3, 3) float32 of all images; guessed where nobody knows them.
        cues: Geometry of each frame at the same size, see `clip_cues`.
        truth: Of each frame, None where nothing is known; it may be of a larger size.
        still: Whether each object stands still, by its identity; those that are missing are not told apart.
        ms_cues: CPU time of the cues, milliseconds a frame.
    """

    name: str
    images: Tensor
    intrinsics: Tensor
    cues: Sequence[FrameGeometry]
    truth: tuple[FrameTruth | None, ...]
    still: dict[int, bool] = field(default_factory=dict)
    ms_cues: float = float("nan")

    def __len__(self) -> int:
        return len(self.images)


def _prepared(
    name: str,
    images: Tensor,
    intrinsics: Tensor,
    used: Estimators,
    truth: Sequence[FrameTruth | None],
    still: dict[int, bool],
) -> ObjectClip:
    start = time.process_time()
    cues = clip_cues(list(images), intrinsics, used.flow, used.depth)
    spent = (time.process_time() - start) * 1000 / max(len(images), 1)
    return ObjectClip(name, images, intrinsics, cues, tuple(truth), still, spent)


def world_truth(frame: WorldFrame, objects: int) -> FrameTruth:
    """Truth of a frame of a world; static occluders are background.

    Args:
        frame: Rendered.
        objects: Number of objects; greater instance numbers are static occluders.
    """
    labels = np.where(frame.instance <= objects, frame.instance, 0).astype(np.int32)
    counted = frame.visible_fraction >= LEAST_VISIBLE
    return FrameTruth(labels.shape, frame.ids[counted], frame.visible_boxes[counted].astype(np.float64), labels)


def still_objects(world: WorldClip, name: str) -> dict[int, bool]:
    """Whether each object of a world stands still.

    It does where its own motion, the true flow without that of the camera, is under `STILL` pixels: the median over
    its pixels that the next frame shows too, of these the median over frames.  Objects that are in no two frames are
    left out.
    """
    clip, lengths = SyntheticClip(world, name), {}
    for index, frame in enumerate(world.frames[:-1]):
        own = np.linalg.norm(frame.flow_forward.transpose(2, 0, 1) - camera_flow(clip, index), axis=0)
        for one in frame.ids.tolist():
            seen = (frame.instance == one) & ~frame.occluded_forward
            if seen.any():
                lengths.setdefault(one, []).append(np.median(own[seen]))
    return {one: bool(np.median(values) < STILL) for one, values in lengths.items()}


@dataclass(frozen=True)
class Videos:
    """Annotated real videos, a folder of one or of several: MOTChallenge (boxes) or DAVIS (masks).

    Args:
        folder: As for `find_sequences`.
        frames: Longer ones are cut into even parts of at most so many frames, each of which counts as a sequence.
        longest: Longer side in pixels to which images are reduced; the truth keeps its size.
    """

    folder: Path
    frames: int = PART
    longest: int = WORKING_SIZE

    def __str__(self) -> str:
        return f"videos {self.folder.name}"

    def __len__(self) -> int:
        return len(_parts(self.folder, self.frames))

    def object_clip(self, k: int, used: Estimators) -> ObjectClip:
        """The k-th part, with cues by these estimators.

        Raises:
            UserError: An image cannot be read.
            FormatError: The truth does not fit its format.
        """
        video, indices = _parts(self.folder, self.frames)[k]
        assert video.images is not None
        images, size = [], (0, 0)
        for path in (video.images[index] for index in indices):
            rgb = read_image(path)
            if isinstance(rgb, str):
                raise UserError(f"{path} {rgb}")
            if images and rgb.shape[:2] != size:
                raise UserError(f"{path}: expected an image of the same size as the others, {size[1]} x {size[0]}")
            size = rgb.shape[:2]
            images.append(reduced(torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))), self.longest))
        stacked = torch.stack(images)
        intrinsics = guess_intrinsics(stacked.shape[3], stacked.shape[2])
        name = video.name if len(indices) == len(video.images) else f"{video.name}_{indices[0]:05d}"
        return _prepared(name, stacked, intrinsics, used, _video_truth(video, indices, size), {})


@dataclass(frozen=True)
class ObjectWorlds(Worlds):
    """Worlds in which objects are to be found."""

    def object_clip(self, k: int, used: Estimators) -> ObjectClip:
        """The k-th world, with cues by these estimators."""
        world, name = self.world(k), self.name(k)
        images = torch.from_numpy(np.stack([frame.image.transpose(2, 0, 1) for frame in world.frames]))
        intrinsics = torch.from_numpy(world.scene.camera.intrinsics).float()
        truth = [world_truth(frame, len(world.scene.objects)) for frame in world.frames]
        return _prepared(name, images, intrinsics, used, truth, still_objects(world, name))


@lru_cache(maxsize=1)
def _parts(folder: Path, frames: int) -> list[tuple[Video, list[int]]]:
    """The videos with images and truth at a path, and the frames of each of their parts."""
    videos = [v for v in find_sequences(folder) if v.kind in ("mot", "masks") and v.images and v.truth]
    if not videos:
        raise UserError(
            f"{folder}: expected videos with images and truth, MOTChallenge (img1, gt) or DAVIS (JPEGImages, "
            "Annotations), found none"
        )
    return [
        (video, part.tolist())
        for video in videos
        for part in np.array_split(np.arange(len(video.images)), -(-len(video.images) // frames))
    ]


def _video_truth(video: Video, indices: Sequence[int], size: tuple[int, int]) -> list[FrameTruth | None]:
    truth = video.read_truth()
    if isinstance(truth, MaskSequence):
        assert video.images is not None
        files = {path.stem: index for index, path in enumerate(truth.files)}
        numbers = [files.get(video.images[index].stem) for index in indices]
        return [None if number is None else _mask_truth(truth.files[number], truth[number], size) for number in numbers]
    assert isinstance(truth, TruthFile)
    unseen = truth.tracks.visibility < LEAST_VISIBLE  # not where it is unknown, NaN
    tracks = truth.tracks[torch.from_numpy(truth.considered) & ~unseen]
    height, width = size
    found: list[FrameTruth | None] = []
    for rows in map(tracks.at, indices):
        boxes = np.clip(rows.boxes.double().numpy(), 0, [width, height, width, height])
        inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
        found.append(FrameTruth(size, rows.ids.numpy()[inside], boxes[inside]))
    return found


def _mask_truth(path: Path, mask: NDArray, size: tuple[int, int]) -> FrameTruth:
    if mask.shape != size:
        found = "{1} x {0}".format(*mask.shape)
        raise UserError(f"{path}: expected a mask of the size of the images, {size[1]} x {size[0]}, found {found}")
    labels = np.where(mask == VOID, IGNORED, mask.astype(np.int32))
    ids, boxes = boxes_of_mask(np.maximum(labels, 0))
    return FrameTruth(size, ids, boxes, labels)

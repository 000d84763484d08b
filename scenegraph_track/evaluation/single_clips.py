"""Sequences of one target each: cut from worlds, or real folders with boxes or masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.image_files import read_image
from scenegraph_track.data.masks import MaskSequence, boxes_of_mask
from scenegraph_track.data.sequences import Sequence as Video
from scenegraph_track.data.sequences import find_sequences
from scenegraph_track.data.single import SingleTrack
from scenegraph_track.data.tables import parse_table
from scenegraph_track.data.worlds.render import WorldClip
from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.evaluation.clips import Worlds, visible_parts
from scenegraph_track.evaluation.vot import place_anchors
from scenegraph_track.files import read_text

TARGETS = 2
"""Targets of a world, if it has so many."""

BEGUN_VISIBLE, LEAST_SIDE, LEAST_PRESENT = 0.6, 10.0, 0.5
"""A target's least visible fraction and shorter side (pixels) in the first frame, and share of frames with it."""

ABSENT = 1 / 16
"""Visible fraction under which a target is absent: it rounds to none of the eighths of GOT-10k."""

VOID = 255
"""Number of the pixels of masks that are of no object and not judged."""


@dataclass(frozen=True, eq=False)
class SingleClip:
    """One target through T frames.

    Args:
        name: Names the results.
        images: T images (H, W, 3) uint8 RGB, read when they are asked for; None where there are none.
        boxes: (T, 4) float64 xyxy, continuous; NaN where the target is absent or there is no truth.
        absent: (T,) bool, the target cannot be seen.
        visibility: (T,) visible fraction, NaN where it is not known.
        size: (W, H) of the images, None without them.
        anchors: Frames and directions (1 or -1) of VOT's runs.
        origin: What result files in the coordinates of the annotation have at the left and upper border.
        text: A sentence that is true of the target alone in the first frame; empty where there is none.
    """

    name: str
    images: Sequence[NDArray[np.uint8]] | None
    boxes: NDArray[np.float64]
    absent: NDArray[np.bool_]
    visibility: NDArray[np.float64]
    size: tuple[int, int] | None
    anchors: Sequence[tuple[int, int]]
    origin: float = 0.0
    text: str = ""

    def __len__(self) -> int:
        return len(self.boxes)


class SingleSource(Protocol):
    """Clips in groups that are measured one after the other."""

    def __len__(self) -> int: ...

    def single_clips(self, k: int) -> list[SingleClip]:
        """Those of the k-th group."""
        ...


@dataclass(frozen=True)
class SingleWorlds(Worlds):
    """Worlds, of each of which some objects are targets, see `world_targets`.

    Args:
        preset: Kind of world.
        split: "train", "val" or "test".
        sequences: How many worlds, seeds 0, 1, 2 ...
        size: (W, H) pixels.
        frames: Length of each.
    """

    sequences: int = 24
    size: tuple[int, int] = (192, 144)
    frames: int | None = 60

    def single_clips(self, k: int) -> list[SingleClip]:
        """The targets of the k-th world, `TARGETS` at most."""
        world = self.world(k)
        found = world_targets(world)
        chosen = sorted(np.random.default_rng(k).permutation(found)[:TARGETS].tolist())
        return [world_clip(world, index, f"{self.name(k)}_{index + 1}") for index in chosen]


def world_targets(world: WorldClip) -> NDArray[np.int64]:
    """The objects of a world that can be targets, indices from 0, by the rules of `BEGUN_VISIBLE` and its like.

    The whole first box, cut at the image, is measured.
    """
    visible = visible_parts(world)
    first = cut_boxes(world.frames[0].amodal_boxes, world.scene.size)
    large = (first[:, 2:] - first[:, :2]).min(1, initial=np.inf) >= LEAST_SIDE
    there = (visible >= ABSENT).mean(0) >= LEAST_PRESENT
    return np.flatnonzero((visible[0] >= BEGUN_VISIBLE) & large & there)


def world_clip(world: WorldClip, index: int, name: str) -> SingleClip:
    """An object of a world as a target: its whole (amodal) box, cut at the image, where it is not absent.

    Args:
        world: Rendered.
        index: Of the object, from 0.
        name: Of the clip.
    """
    visibility = np.array([frame.visible_fraction[index] for frame in world.frames], np.float64)
    boxes = cut_boxes(np.stack([frame.amodal_boxes[index] for frame in world.frames]), world.scene.size)
    absent = visibility < ABSENT
    caption = world.frames[0].captions[index]
    return SingleClip(
        name,
        [frame.image for frame in world.frames],
        np.where(absent[:, None], np.nan, boxes),
        absent,
        visibility,
        world.scene.size,
        place_anchors(visibility >= BEGUN_VISIBLE),
        text=caption.sentence if caption.identifies else "",
    )


def cut_boxes(boxes: NDArray, size: tuple[int, int]) -> NDArray[np.float64]:
    """Boxes (N, 4) xyxy cut at an image (W, H)."""
    return np.clip(boxes.astype(np.float64), 0, [*size, *size])


@dataclass(frozen=True)
class SingleFolder:
    """Real sequences: a folder of one or of several, of the single-object benchmarks (boxes) or DAVIS (masks).

    Args:
        folder: As for `find_sequences`.
    """

    folder: Path

    def __str__(self) -> str:
        return f"sequences {self.folder.name}"

    def __len__(self) -> int:
        return len(_videos(self.folder))

    def single_clips(self, k: int) -> list[SingleClip]:
        """The k-th sequence; of masks each object of the first frame is a target.

        Raises:
            FormatError: The truth does not fit its format.
        """
        video = _videos(self.folder)[k]
        truth = video.read_truth()
        if isinstance(truth, MaskSequence):
            return _mask_clips(video, truth)
        assert isinstance(truth, SingleTrack)
        return [_track_clip(video, truth)]


class _Images(Sequence[NDArray[np.uint8]]):
    """Image files, read when they are asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:  # type: ignore[override]
        image = read_image(self.paths[index])
        if isinstance(image, str):
            raise UserError(f"{self.paths[index]} {image}")
        return image


@lru_cache(maxsize=1)
def _videos(folder: Path) -> list[Video]:
    found = [video for video in find_sequences(folder) if video.truth and video.kind in ("single", "masks")]
    found = [video for video in found if video.kind == "single" or video.images]
    if not found:
        raise UserError(
            f"{folder}: expected sequences of a single-object benchmark (groundtruth.txt, groundtruth_rect.txt) or "
            "with masks (JPEGImages, Annotations), found none"
        )
    return found


def _track_clip(video: Video, track: SingleTrack) -> SingleClip:
    assert video.truth is not None
    images = None if track.images is None else _Images(track.images)
    seen = np.isfinite(track.boxes).all(1)
    anchors = _read_anchors(video.truth.parent / "anchor.value", len(track))
    return SingleClip(
        video.name,
        images,
        track.boxes,
        track.absent,
        track.visibility,
        video.size,
        place_anchors(seen) if anchors is None else [one for one in anchors if seen[one[0]]],
        track.origin,
        track.sentence or "",
    )


def _read_anchors(path: Path, length: int) -> list[tuple[int, int]] | None:
    """Anchors of a VOT sequence: a number a frame, positive to run forwards from it, negative backwards."""
    if not path.is_file():
        return None
    values = parse_table(path, read_text(path), 1)[:, 0]
    if len(values) > length:
        raise FormatError(path, None, f"at most {length} numbers, one a frame", str(len(values)))
    return [(int(frame), 1 if values[frame] > 0 else -1) for frame in np.flatnonzero(values)]


def _mask_clips(video: Video, masks: MaskSequence) -> list[SingleClip]:
    """Frames without a mask are left out."""
    assert video.images is not None
    stems = {path.stem: index for index, path in enumerate(masks.files)}
    paths = [path for path in video.images if path.stem in stems]
    if video.size != masks.size or not paths:
        raise UserError(f"{video.path}: expected masks of the names and of the size of the images")
    found = [boxes_of_mask(masks[stems[path.stem]]) for path in paths]
    targets = [one for one in found[0][0].tolist() if one != VOID]
    clips = []
    for one in targets:
        boxes = np.full((len(paths), 4), np.nan)
        for index, (ids, rows) in enumerate(found):
            boxes[index] = rows[ids == one][0] if one in ids else np.nan
        absent = np.isnan(boxes[:, 0])
        name = video.name if len(targets) == 1 else f"{video.name}_{one}"
        unknown = np.full(len(paths), np.nan)
        clips.append(SingleClip(name, _Images(paths), boxes, absent, unknown, video.size, place_anchors(~absent)))
    return clips

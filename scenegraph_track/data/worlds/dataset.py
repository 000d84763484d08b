"""An endless, worker-safe stream of rendered clips as tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from scenegraph_track.data.worlds.points import grid_queries
from scenegraph_track.data.worlds.render import WorldClip, render
from scenegraph_track.data.worlds.sample import sample_scene
from scenegraph_track.errors import UserError


def _stack(name: str) -> Callable[[WorldClip], torch.Tensor]:
    return lambda clip: torch.from_numpy(np.stack([getattr(frame, name) for frame in clip.frames]))


def _channels_first(name: str) -> Callable[[WorldClip], torch.Tensor]:
    return lambda clip: _stack(name)(clip).permute(0, 3, 1, 2).contiguous()


FIELDS: dict[str, Callable[[WorldClip], Any]] = {
    "image": _channels_first("image"),
    "depth": lambda clip: _stack("depth")(clip)[:, None],
    "intrinsics": lambda clip: torch.from_numpy(clip.scene.camera.intrinsics).float(),
    "world_from_camera": lambda clip: _stack("world_from_camera")(clip).float(),
    "timestamp": lambda clip: torch.from_numpy(clip.scene.times),
    "instance": lambda clip: _stack("instance")(clip).int(),
    "veil": lambda clip: _stack("veil")(clip)[:, None],
    "ids": lambda clip: torch.from_numpy(clip.frames[0].ids),
    "amodal_masks": _stack("amodal_masks"),
    "visible_boxes": _stack("visible_boxes"),
    "amodal_boxes": _stack("amodal_boxes"),
    "visible_fraction": _stack("visible_fraction"),
    "occluded_by": _stack("occluded_by"),
    "occluded_by_static": _stack("occluded_by_static"),
    "relations": _stack("relations"),
    "positions": _stack("positions"),
    "flow_forward": _channels_first("flow_forward"),
    "flow_backward": _channels_first("flow_backward"),
    "occluded_forward": _stack("occluded_forward"),
    "occluded_backward": _stack("occluded_backward"),
    "sentences": lambda clip: [list(frame.sentences) for frame in clip.frames],
    "sentence_identifies": _stack("sentence_identifies"),
}
"""What a sample may hold: name to (T, ...) tensor, see `WorldFrame`; images and flow are channels first."""


class WorldDataset(IterableDataset):
    """Clips of one preset and split; scene i of the stream is defined by (seed, i) alone.

    Rank r of R takes the scenes r, r + R, ...; of those, worker k of n takes every n-th.  So the set of scenes does not
    depend on the number of workers, and no two of them share one.  A `DataLoader` with ``batch_size=None`` asks its
    workers in turn, so that the order does not depend on their number either (`ordered_loader`).

    A sample is a dictionary of tensors: ``index`` (scene number), the `FIELDS` asked for, and with ``points`` also
    ``queries`` (Q, 3) of frame, x, y, ``tracks`` (T, Q, 2) in pixels and ``tracks_visible`` (T, Q).

    Args:
        preset: A key of `PRESETS`.
        split: "train", "val" or "test".
        seed: Not negative.
        size: (width, height) in pixels.
        frames: Frames per clip, or None for the preset's own.
        frame_rate: Frames per second, or None to draw it.
        length: Scenes in the stream over all ranks, or None for an endless one.
        start: First scene number, to go on with a stream.
        fields: Names of `FIELDS`.
        points: Point tracks per clip, half of them on objects.
        rank: This process among ``world_size``.
        world_size: Number of processes that share the stream.

    Raises:
        UserError: A name is unknown or a number is out of range.
    """

    def __init__(
        self,
        preset: str = "standard",
        split: str = "train",
        seed: int = 0,
        size: tuple[int, int] = (128, 128),
        frames: int | None = None,
        frame_rate: float | None = None,
        length: int | None = None,
        start: int = 0,
        fields: tuple[str, ...] = tuple(FIELDS),
        points: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        unknown = [name for name in fields if name not in FIELDS]
        if unknown:
            raise UserError(f"fields: expected names of {', '.join(FIELDS)}, found {unknown[0]!r}")
        if not 0 <= rank < world_size:
            raise UserError(f"rank: expected a number from 0 to {world_size - 1}, found {rank}")
        if start < 0 or points < 0 or (length is not None and length < 0):
            raise UserError(f"start, points and length: expected at least 0, found {start}, {points} and {length}")
        self.draw = {"preset": preset, "split": split, "size": size, "frames": frames, "frame_rate": frame_rate}
        self.seed, self.length, self.start = seed, length, start
        self.fields, self.points = tuple(fields), points
        self.rank, self.world_size = rank, world_size
        sample_scene(**self.draw, seed=(seed, start))  # refuse wrong settings here, not in a worker

    def indices(self, worker: int = 0, workers: int = 1) -> Iterator[int]:
        """The scene numbers that a worker of this rank renders, in order."""
        index = self.start + self.rank + self.world_size * worker
        while self.length is None or index < self.start + self.length:
            yield index
            index += self.world_size * workers

    def __iter__(self) -> Iterator[dict[str, Any]]:
        info = get_worker_info()
        if info is not None:
            cv2.setNumThreads(0)  # sequential; 1 would wait for the threads of the parent, which a fork has not copied
        for index in self.indices(*((0, 1) if info is None else (info.id, info.num_workers))):
            yield self.sample(index)

    def sample(self, index: int) -> dict[str, Any]:
        """Render scene ``index`` of the stream."""
        clip = render(sample_scene(**self.draw, seed=(self.seed, index)))
        out: dict[str, Any] = {"index": torch.tensor(index)}
        out |= {name: FIELDS[name](clip) for name in self.fields}
        if self.points:
            queries = sample_queries(np.random.default_rng((self.seed, index, 1)), clip, self.points)
            tracks, visible = clip.track_points(queries)
            out |= {"queries": torch.from_numpy(queries), "tracks": torch.from_numpy(tracks)}
            out["tracks_visible"] = torch.from_numpy(visible)
        return out


def sample_queries(rng: np.random.Generator, clip: WorldClip, count: int) -> np.ndarray:
    """Random query points at pixel centres, half of them on visible objects where there are any: (count, 3) float32."""
    frames = rng.integers(0, len(clip), count)
    anywhere = grid_queries(0, clip.scene.size, 1.0)
    queries = anywhere[rng.integers(0, len(anywhere), count)]
    queries[:, 0] = frames
    objects = len(clip.scene.objects)
    for place in range(count // 2):
        instance = clip.frames[frames[place]].instance
        rows, columns = np.nonzero((instance > 0) & (instance <= objects))
        if len(rows):
            chosen = int(rng.integers(len(rows)))
            queries[place, 1:] = columns[chosen] + 0.5, rows[chosen] + 0.5
    return queries


def ordered_loader(dataset: WorldDataset, workers: int = 0, prefetch: int = 2) -> DataLoader:
    """A loader that gives the same clips in the same order for any number of workers."""
    return DataLoader(
        dataset, batch_size=None, num_workers=workers, prefetch_factor=prefetch if workers else None, in_order=True
    )

"""What can be decided better a while later: link tracklets over gaps, fill the gaps, decide which boxes are shown.

It works on the results of whatever tracker, and needs no images.  Both decisions are small learned rules
(``tracking.emission``): blind filling costs accuracy where the detector is weak.  How much later is one knob, from
nothing to the whole video.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from scenegraph_track.config import TrackerSettings
from scenegraph_track.structures import Tracks
from scenegraph_track.tracking.emission import load_rules
from scenegraph_track.tracking.interpolation import interpolate
from scenegraph_track.tracking.linking import link

_CONTEXT = 3.0
"""Seconds, besides the longest gap, that a window looks back on what is already decided."""


@dataclass(frozen=True)
class Names:
    """The identity that each detection got in the end, sorted by the identity it had online and by frame (M rows)."""

    online: np.ndarray
    frames: np.ndarray
    final: np.ndarray

    @classmethod
    def of(cls, seen: Tracks, final: np.ndarray) -> Names:
        """Of the rows of an online result."""
        online, frames = seen.ids.numpy(), seen.frames.numpy()
        order = np.lexsort((frames, online))
        return cls(online[order], frames[order], final[order])

    def at(self, frame: int | np.ndarray, online: np.ndarray) -> np.ndarray:
        """Final identities (K,) of online ones in a frame (or in K): those of the last detection up to it, else of the
        first one after it."""
        if len(self.online) == 0:
            return online
        base, keys = self._keys
        row = np.searchsorted(keys, online * base + np.minimum(frame, base - 1), side="right") - 1
        begin, end = np.searchsorted(self.online, online), np.searchsorted(self.online, online, side="right")
        place = np.minimum(np.maximum(row, begin), len(self.final) - 1)
        return np.where(begin < end, self.final[place], online)

    @cached_property
    def _keys(self) -> tuple[int, np.ndarray]:
        """A number larger than any frame, and one number a row, sorted."""
        base = int(self.frames.max()) + 2
        return base, self.online * base + self.frames


def refine(
    tracks: Tracks,
    frame_rate: float,
    image_size: tuple[int, int] | None,
    settings: TrackerSettings,
    horizon: float = math.inf,
) -> tuple[Tracks, Names]:
    """Link, fill and filter the tracks of a sequence.

    With a finite horizon, windows of that length follow each other at half of it; each decides the half that is then
    old enough, with what earlier ones have decided as it is.  So no frame depends on what comes more than a horizon
    after it.

    Args:
        tracks: Online result.  Predicted boxes in it (``observed`` False) are decided anew where the whole sequence is
            known, and stay where nothing better is known within a finite horizon.
        frame_rate: Frames per second.
        image_size: (W, H) in pixels, None where unknown.
        settings: ``offline`` and ``show`` are used.
        horizon: Seconds that a frame may wait, more than 0.

    Returns:
        Tracks of the same sequence, in which an identity that was linked keeps its first id, and what each online
        identity became.
    """
    seen = tracks[tracks.observed]
    if len(seen) == 0:
        return seen, Names.of(seen, seen.ids.numpy())
    frames = seen.frames.numpy()
    final = np.full(len(seen), -1)
    parts: list[Tracks] = []
    for start, commit, known in _windows(int(tracks.frames.max()) + 1, frame_rate, horizon):
        rows = np.flatnonzero(
            (frames < known) & (frames >= start - (settings.offline.gap_seconds + _CONTEXT) * frame_rate)
        )
        if len(rows) == 0:
            continue
        window = seen[torch.from_numpy(rows)]
        ids = link(window, _open_names(window, final[rows]), frame_rate, image_size, settings, start / frame_rate)
        inside = (frames[rows] >= start) & (frames[rows] < commit)
        final[rows[inside]] = ids[inside]
        here = _with_ids(window, ids)
        filled, features = interpolate(here, frame_rate, image_size, settings.offline.gap_seconds)
        if len(filled):
            due = torch.from_numpy(load_rules()["interpolated"](features) >= settings.show.interpolated)
            parts.append(filled[due & (filled.frames >= start) & (filled.frames < commit)])
    names = Names.of(seen, final)
    linked = _with_ids(seen, final)
    result = _joined([linked, *parts])
    return (result if math.isinf(horizon) else _with_predicted(result, tracks[~tracks.observed], names)), names


def _windows(frames: int, frame_rate: float, horizon: float) -> Iterator[tuple[int, int, int]]:
    """First frame to decide, the one behind the last, and the one behind the last that is known."""
    half = max(1, math.floor(horizon * frame_rate / 2)) if math.isfinite(horizon) else frames
    start = 0
    for known in range(2 * half, frames + half, half):
        yield start, known - half, min(known, frames)
        start = known - half
    yield start, frames, frames


def _open_names(seen: Tracks, decided: np.ndarray) -> np.ndarray:
    """(M,) identities before linking: those decided, and where open (-1) what the same online track had before."""
    known = decided >= 0
    names = Names.of(seen[torch.from_numpy(known)], decided[known])
    return np.where(known, decided, names.at(seen.frames.numpy(), seen.ids.numpy()))


def _with_ids(tracks: Tracks, ids: np.ndarray) -> Tracks:
    columns = tracks.frames, ids, tracks.boxes.double(), tracks.scores
    return Tracks.from_arrays(*columns, classes=tracks.classes, visibility=tracks.visibility, observed=tracks.observed)


def _with_predicted(tracks: Tracks, predicted: Tracks, names: Names) -> Tracks:
    """The tracks and predicted boxes of identities that have no box in their frame."""
    frames = predicted.frames.numpy()
    ids = names.at(frames, predicted.ids.numpy())
    key = frames * (ids.max(initial=0) + 1) + ids
    taken = tracks.frames.numpy() * (ids.max(initial=0) + 1) + tracks.ids.numpy()
    first = np.zeros(len(key), dtype=bool)
    first[np.unique(key, return_index=True)[1]] = True
    kept = torch.from_numpy(first & ~np.isin(key, taken[tracks.ids.numpy() <= ids.max(initial=0)]))
    return _joined([tracks, _with_ids(predicted, ids)[kept]])


def _joined(parts: list[Tracks]) -> Tracks:
    names = ("frames", "ids", "boxes", "scores", "classes", "visibility", "observed")
    return Tracks.from_arrays(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

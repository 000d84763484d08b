"""Linking of tracklets that a gap has cut, by extrapolated motion and a small learned rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from scenegraph_track.config import TrackerSettings
from scenegraph_track.structures import Tracks
from scenegraph_track.tracking.emission import LINK, inside_part, load_rules

_TREND = 0.6
"""Seconds of a tracklet's end that its velocity is taken from."""

_ROUNDS = 3
_REACH = 4.0
"""Heights of the object beyond which tracklets are not weighed."""


def link(
    tracks: Tracks,
    ids: np.ndarray,
    frame_rate: float,
    image_size: tuple[int, int] | None,
    settings: TrackerSettings,
    since: float = 0.0,
) -> np.ndarray:
    """(M,) identities after tracklets of one object were joined; rounds of one-to-one matching, surest first.

    Args:
        tracks: Detected boxes.
        ids: (M,) which tracklet each is of, in place of the identities of ``tracks``.
        frame_rate: Frames per second.
        image_size: (W, H) in pixels, None where unknown.
        settings: ``offline`` is used.
        since: Seconds; tracklets that begin before keep their names.
    """
    for _ in range(_ROUNDS):
        ends = Ends.of(tracks, ids, frame_rate, image_size)
        first, second, features = link_candidates(ends, settings.offline.gap_seconds)
        if len(first) == 0:
            break
        chance = load_rules()["link"](features)
        sure = (chance > settings.offline.link) & (ends.start[second] > since - 0.5 / frame_rate)
        if not sure.any():
            break
        old, new = _best_links(first[sure], second[sure], chance[sure], len(ends.ids))
        names = ends.ids.copy()
        for i, j in sorted(zip(old, new), key=lambda pair: ends.start[pair[1]]):
            names[j] = names[i]
        ids = names[np.searchsorted(ends.ids, ids)]
    return ids


def _best_links(first: np.ndarray, second: np.ndarray, chance: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """One successor and one predecessor for each tracklet, of the largest total chance."""
    rows, row = np.unique(first, return_inverse=True)
    columns, column = np.unique(second, return_inverse=True)
    gain = np.zeros((len(rows), len(columns)))
    gain[row, column] = chance
    i, j = linear_sum_assignment(-gain)
    kept = gain[i, j] > 0
    return rows[i[kept]], columns[j[kept]]


@dataclass(frozen=True)
class Ends:
    """Where each tracklet begins and ends, with the trend of its motion there (n tracklets)."""

    ids: np.ndarray  # (n,) sorted
    classes: np.ndarray  # (n,)
    start: np.ndarray  # (n,) seconds
    end: np.ndarray
    first: np.ndarray  # (n, 4) cx, cy, w, h of the first and the last box, smoothed
    last: np.ndarray
    first_velocity: np.ndarray  # (n, 2) pixels per second
    last_velocity: np.ndarray
    count: np.ndarray  # (n,) boxes
    score: np.ndarray
    edge: np.ndarray  # (n,) part of the last box inside the image
    shift: np.ndarray  # (T, 2) summed common motion up to each frame
    frame_rate: float

    @classmethod
    def of(cls, tracks: Tracks, ids: np.ndarray, frame_rate: float, image_size: tuple[int, int] | None) -> Ends:
        """The ends of the tracklets that ``ids`` (M,) make of the rows of ``tracks``."""
        frames = tracks.frames.numpy()
        boxes = tracks.boxes.double().numpy()
        centre = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
        order = np.lexsort((frames, ids))
        names, begin, count = np.unique(ids[order], return_index=True, return_counts=True)
        stop = begin + count - 1
        t = frames[order] / frame_rate
        z = centre[order]
        return cls(
            ids=names,
            classes=tracks.classes.numpy()[order][begin],
            start=t[begin],
            end=t[stop],
            first=np.stack([_smooth(z[b : e + 1], t[b : e + 1], t[b]) for b, e in zip(begin, stop)]),
            last=np.stack([_smooth(z[b : e + 1], t[b : e + 1], t[e]) for b, e in zip(begin, stop)]),
            first_velocity=np.stack([_velocity(z[b : e + 1], t[b : e + 1], t[b]) for b, e in zip(begin, stop)]),
            last_velocity=np.stack([_velocity(z[b : e + 1], t[b : e + 1], t[e]) for b, e in zip(begin, stop)]),
            count=count,
            score=np.add.reduceat(tracks.scores.double().numpy()[order], begin) / count,
            edge=inside_part(boxes[order][stop], image_size),
            shift=common_motion(frames, ids, centre),
            frame_rate=frame_rate,
        )


def _near(t: np.ndarray, at: float) -> np.ndarray:
    return np.flatnonzero(np.abs(t - at) <= _TREND)


def _smooth(z: np.ndarray, t: np.ndarray, at: float) -> np.ndarray:
    """Position at an end as it is, size as the median of the boxes near it."""
    near = _near(t, at)
    end = z[near[np.abs(t[near] - at).argmin()]]
    return np.concatenate([end[:2], np.median(z[near, 2:], axis=0)])


def _velocity(z: np.ndarray, t: np.ndarray, at: float) -> np.ndarray:
    """Least-squares velocity of the boxes near an end, drawn to rest where there are few."""
    near = _near(t, at)
    dt = t[near] - t[near].mean()
    spread = (dt**2).sum()
    return (dt @ z[near, :2]) / (spread + 0.01)


def common_motion(frames: np.ndarray, ids: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(T, 2) how far the objects as a whole had moved by each frame: the camera, where most stand or walk both ways.

    Args:
        frames: (M,) 0-based.
        ids: (M,).
        centre: (M, >= 2) pixels.
    """
    order = np.lexsort((frames, ids))
    f, i, c = frames[order], ids[order], centre[order, :2]
    follows = (i[1:] == i[:-1]) & (f[1:] == f[:-1] + 1)
    at, step = f[1:][follows], (c[1:] - c[:-1])[follows]
    total = np.zeros((int(frames.max()) + 1, 2))
    by_frame = np.argsort(at, kind="stable")
    at, step = at[by_frame], step[by_frame]
    frame, begin, count = np.unique(at, return_index=True, return_counts=True)
    for k, b, n in zip(frame, begin, count):
        if n >= 3:
            total[k] = np.median(step[b : b + n], axis=0) * n / (n + 2)
    return np.cumsum(total, axis=0)


def link_candidates(ends: Ends, gap_seconds: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of tracklets that could be one object, and their features (P, F) in the order of ``emission.LINK``.

    Gap in seconds, error of the earlier one's extrapolation and of the later one's (the smaller of with and without
    common motion), distance, distance over what can be walked in the gap, ratios of height and width, change of
    velocity, logarithms of the lengths, speed, part of the last box inside the image, number of rivals, score.
    """
    step = 1 / ends.frame_rate
    i, j = _followers(ends.start, ends.end, gap_seconds + step)
    g = ends.start[j] - ends.end[i]
    h = np.sqrt(np.maximum(ends.last[i, 3], 1) * np.maximum(ends.first[j, 3], 1))
    apart = ends.first[j, :2] - ends.last[i, :2]
    frame = (
        np.round(ends.start * ends.frame_rate).astype(np.int64),
        np.round(ends.end * ends.frame_rate).astype(np.int64),
    )
    drift = ends.shift[frame[0][j]] - ends.shift[frame[1][i]]
    possible = (g > 0.5 * step) & (g <= gap_seconds + 0.5 * step) & (ends.classes[i] == ends.classes[j])
    near = (np.hypot(*apart.T) < _REACH * h) | (np.hypot(*(apart - drift).T) < _REACH * h)
    i, j, g, h, apart, drift = (values[possible & near] for values in (i, j, g, h, apart, drift))
    apart, drift = apart / h[:, None], drift / h[:, None]
    before, after = ends.last_velocity[i] / h[:, None], ends.first_velocity[j] / h[:, None]

    def error(velocity: np.ndarray) -> np.ndarray:
        plain = np.hypot(*(apart - velocity * g[:, None]).T)
        return np.minimum(plain, np.hypot(*(apart - drift).T))

    distance = np.minimum(np.hypot(*apart.T), np.hypot(*(apart - drift).T))
    speed = np.hypot(*before.T)
    rivals = np.bincount(i, minlength=len(ends.ids))[i] + np.bincount(j, minlength=len(ends.ids))[j] - 2
    columns = {
        "gap": g,
        "ahead": error(before),
        "back": error(after),
        "apart": distance,
        "reach": distance / (0.3 + np.minimum(np.maximum(speed, 0.5), 3) * g),
        "height_ratio": np.abs(np.log(np.maximum(ends.first[j, 3], 1) / np.maximum(ends.last[i, 3], 1))),
        "width_ratio": np.abs(np.log(np.maximum(ends.first[j, 2], 1) / np.maximum(ends.last[i, 2], 1))),
        "turn": np.hypot(*(after - before).T),
        "age": np.log1p(ends.end[i] - ends.start[i]),
        "rest": np.log1p(ends.end[j] - ends.start[j]),
        "speed": speed,
        "edge": ends.edge[i],
        "crowd": np.log1p(rivals),
        "score": np.minimum(ends.score[i], ends.score[j]),
    }
    return i, j, np.stack([columns[name] for name in LINK], axis=1)


def _followers(start: np.ndarray, end: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows, sorted, of which the second starts at most ``within`` seconds after the first ends.

    Memory grows with the number of pairs, so that it stays linear in the length of a video.
    """
    order = np.argsort(start, kind="stable")
    low, high = np.searchsorted(start[order], [end, end + within])
    count = high - low
    i = np.repeat(np.arange(len(start)), count)
    j = order[np.arange(len(i)) - np.repeat(np.cumsum(count) - count - low, count)]
    rows = np.lexsort((j, i))
    return i[rows], j[rows]

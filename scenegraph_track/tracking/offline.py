"""The offline pass: link tracklets over gaps, fill the gaps, and decide which filled boxes are shown.

It works on finished tracks, of whatever tracker, and needs no images.  Both decisions are small learned rules
(``tracking.emission``): blind filling costs accuracy where the detector is weak.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from scenegraph_track.config import TrackerSettings
from scenegraph_track.structures import Tracks
from scenegraph_track.tracking.emission import INTERPOLATED, LINK, covers, inside_part, load_rules

_TREND = 0.6
"""Seconds of a tracklet's end that its velocity is taken from."""

_ROUNDS = 3
_REACH = 4.0


def refine(
    tracks: Tracks, frame_rate: float, image_size: tuple[int, int] | None, settings: TrackerSettings
) -> Tracks:
    """Link, fill and filter the tracks of a whole sequence.

    Args:
        tracks: Online result; predicted boxes in it (``observed`` False) are decided anew.
        frame_rate: Frames per second.
        image_size: (W, H) in pixels, None where unknown.
        settings: ``offline`` and ``show`` are used.

    Returns:
        Tracks of the same sequence; an identity that was linked keeps its first id.
    """
    seen = tracks[tracks.observed]
    if len(seen) == 0:
        return seen
    ids = link(seen, frame_rate, image_size, settings)
    linked = Tracks.from_arrays(
        seen.frames, ids, seen.boxes.double(), seen.scores, classes=seen.classes, visibility=seen.visibility
    )
    filled, features = interpolate(linked, frame_rate, image_size, settings.offline.gap_seconds)
    if len(filled) == 0:
        return linked
    kept = filled[load_rules()["interpolated"](features) >= settings.show.interpolated]
    names = ("frames", "ids", "boxes", "scores", "classes", "visibility", "observed")
    joined = {name: np.concatenate([getattr(linked, name), getattr(kept, name)]) for name in names}
    return Tracks.from_arrays(**joined)


def link(
    tracks: Tracks, frame_rate: float, image_size: tuple[int, int] | None, settings: TrackerSettings
) -> np.ndarray:
    """(M,) identities after tracklets of one object were joined; rounds of one-to-one matching, surest first."""
    ids = tracks.ids.numpy().copy()
    for _ in range(_ROUNDS):
        ends = _Ends.of(tracks, ids, frame_rate, image_size)
        first, second, features = link_candidates(ends, settings.offline.gap_seconds)
        if len(first) == 0:
            break
        chance = load_rules()["link"](features)
        sure = chance > settings.offline.link
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
class _Ends:
    """Where each tracklet begins and ends, with the trend of its motion there (n tracklets)."""

    ids: np.ndarray  # (n,) sorted
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
    def of(cls, tracks: Tracks, ids: np.ndarray, frame_rate: float, image_size: tuple[int, int] | None) -> _Ends:
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
    """(T, 2) how far the objects as a whole had moved by each frame: the camera, where most objects stand or walk both ways.

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


def link_candidates(ends: _Ends, gap_seconds: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    frame = np.round(ends.start * ends.frame_rate).astype(np.int64), np.round(ends.end * ends.frame_rate).astype(np.int64)
    drift = ends.shift[frame[0][j]] - ends.shift[frame[1][i]]
    possible = (g > 0.5 * step) & (g <= gap_seconds + 0.5 * step)
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
    """Pairs of rows, sorted, of which the second starts at most ``within`` seconds after the first ends, and not before.

    Memory grows with the number of pairs, so that it stays linear in the length of a video.
    """
    order = np.argsort(start, kind="stable")
    low, high = np.searchsorted(start[order], [end, end + within])
    count = high - low
    i = np.repeat(np.arange(len(start)), count)
    j = order[np.arange(len(i)) - np.repeat(np.cumsum(count) - count - low, count)]
    rows = np.lexsort((j, i))
    return i[rows], j[rows]


def interpolate(
    tracks: Tracks, frame_rate: float, image_size: tuple[int, int] | None, gap_seconds: float
) -> tuple[Tracks, np.ndarray]:
    """Straight lines between the boxes on both sides of each gap.

    Returns:
        The boxes inside gaps of at most ``gap_seconds``, as tracks, and their features (P, F) in the order of
        ``emission.INTERPOLATED``: length of the gap, place along it (0 at its ends, 1 in the middle), distance
        travelled, how far extrapolation misses the other side, ratio of heights, the part behind a nearer object, the
        largest overlap, the part inside the image, rate of detections, lengths before and after, hidden part of all
        tracks, seconds between frames, score.
    """
    frames, ids, boxes = tracks.frames.numpy(), tracks.ids.numpy(), tracks.boxes.double().numpy()
    scores = tracks.scores.double().numpy()
    order = np.lexsort((frames, ids))
    f, i, b, s = frames[order], ids[order], boxes[order], scores[order]
    gap = np.where(i[1:] == i[:-1], f[1:] - f[:-1], 0)
    at = np.flatnonzero((gap > 1) & ((gap - 1) / frame_rate <= gap_seconds))
    if len(at) == 0:
        return tracks[:0], np.zeros((0, len(INTERPOLATED)))
    names, begin, count = np.unique(i, return_index=True, return_counts=True)
    own = np.searchsorted(names, i[at])
    span = f[begin + count - 1] - f[begin] + 1
    missing = gap[at] - 1
    k = np.repeat(at, missing)
    nth = np.arange(len(k)) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    along = nth / gap[k]
    middle = b[k] * (1 - along[:, None]) + b[k + 1] * along[:, None]
    when = f[k] + nth

    height = np.maximum((b[k, 3] - b[k, 1] + b[k + 1, 3] - b[k + 1, 1]) / 2, 1.0)
    centre = (b[:, :2] + b[:, 2:]) / 2
    back = np.maximum(at - 3, begin[own])
    ahead = np.minimum(at + 4, begin[own] + count[own] - 1)
    velocity = (centre[at] - centre[back]) / np.maximum(f[at] - f[back], 1)[:, None]
    velocity_after = (centre[ahead] - centre[at + 1]) / np.maximum(f[ahead] - f[at + 1], 1)[:, None]
    missed = centre[at] + velocity * gap[at][:, None] - centre[at + 1]
    missed_after = centre[at + 1] - velocity_after * gap[at][:, None] - centre[at]
    bend = np.minimum(np.hypot(*missed.T), np.hypot(*missed_after.T))
    front, overlap = _covered(middle, when, i[k], frames, ids, boxes)
    shown = np.bincount(frames, minlength=int(frames.max()) + 1)
    hidden = np.bincount(when, minlength=len(shown))
    own_k = np.repeat(own, missing)
    columns = {
        "gap": missing[np.searchsorted(at, k)] / frame_rate,
        "along": 1 - np.abs(2 * along - 1),
        "travel": np.hypot(*(centre[k + 1] - centre[k]).T) / height,
        "bend": bend[np.searchsorted(at, k)] / height,
        "height_ratio": np.abs(np.log(np.maximum(b[k + 1, 3] - b[k + 1, 1], 1) / np.maximum(b[k, 3] - b[k, 1], 1))),
        "in_front": front,
        "overlap": overlap,
        "inside": inside_part(middle, image_size),
        "hit_rate": count[own_k] / span[own_k],
        "age": np.log1p((f[k] - f[begin[own_k]]) / frame_rate),
        "rest": np.log1p((f[begin[own_k] + count[own_k] - 1] - f[k + 1]) / frame_rate),
        "crowd": hidden[when] / np.maximum(shown[when] + hidden[when], 1),
        "step": np.full(len(k), 1 / frame_rate),
        "score": (s[k] + s[k + 1]) / 2,
    }
    features = np.stack([columns[name] for name in INTERPOLATED], axis=1)
    rows = np.lexsort((i[k], when))
    filled = Tracks.from_arrays(
        when[rows],
        i[k][rows],
        middle[rows],
        columns["score"][rows],
        classes=tracks.classes.numpy()[order][k][rows],
        observed=np.zeros(len(k), dtype=bool),
    )
    return filled, features[rows]


def _covered(
    boxes: np.ndarray, when: np.ndarray, own: np.ndarray, frames: np.ndarray, ids: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`covers` of each box against the observed boxes of its frame."""
    front, overlap = np.zeros(len(boxes)), np.zeros(len(boxes))
    for frame in np.unique(when):
        rows = np.flatnonzero(when == frame)
        a, b = np.searchsorted(frames, [frame, frame + 1])
        front[rows], overlap[rows] = covers(boxes[rows], others[a:b], own[rows, None] == ids[None, a:b])
    return front, overlap

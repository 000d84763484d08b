"""How well the visible part of objects is told, on held-out worlds in which something may be stuck to an object."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scenegraph_track.data.covers import crossed, put, stuck
from scenegraph_track.evaluation.clips import RenderedWorlds, visible_parts, whole_boxes
from scenegraph_track.occlusion.occu_solver import OccuSolver
from scenegraph_track.occlusion.point_net import PointNet
from scenegraph_track.occlusion.surface_net import SurfaceNet
from scenegraph_track.occlusion.surface_tracker import SurfaceTracker
from scenegraph_track.occlusion.visibility import VisibilityTracker, VisibleParts

SURFACE, SOLVER, POINTS = "surface", "occusolver", "points"
RESPONSE, ALWAYS = "response", "always_visible"

HIDDEN = 0.5
"""Visible part below which an object is mostly hidden."""

STARTED = 0.6
"""Visible part from which an object is given to be followed."""

SMALLEST = 8.0
"""Least side of its box then, pixels of an image of 128 x 128."""

FOLLOWED = 16
"""Frames after that."""

PROTOCOL = (
    f"Objects of held-out worlds, given by their boxes in the first frame in which {STARTED:.0%} of them is seen and"
    f" nowhere else; the {FOLLOWED} frames after it count, where any of the silhouette is in the image. In two of three"
    " worlds something is put on an object (20 to 70 % of it, or all) or moved across, a fifth of it see-through.",
    f"mae: mean absolute error of the visible part; ap_hidden: average precision of 'less than {HIDDEN:.0%} is"
    " visible'; auc_hidden: area under the receiver operating curve of the same. response: the peak of the target"
    " model's response, cut to 0-1; points: the share of points that the point tracker alone says are seen;"
    " occusolver: of what it makes of them.",
)


@dataclass(frozen=True, eq=False)
class VisibilityClip:
    """Frames and what can be seen of O objects.

    Args:
        name: Of the clip.
        images: T images (3, H, W) uint8.
        boxes: (O, 4) pixels where the objects are given.
        first: (O,) the frames of that.
        fraction: (O, T) true visible parts.
        counted: (O, T) bool.
    """

    name: str
    images: tuple[Tensor, ...]
    boxes: NDArray[np.float32]
    first: NDArray[np.int64]
    fraction: NDArray[np.float32]
    counted: NDArray[np.bool_]


class VisibilityWorlds(RenderedWorlds):
    """Held-out worlds; see `PROTOCOL`."""

    def clip(self, number: int) -> VisibilityClip | None:
        """The clip of a number; None where no object is seen well enough."""
        world = self.world(number)
        boxes, visible = whole_boxes(world), visible_parts(world).T
        sides = (boxes[..., 2:] - boxes[..., :2]).min(-1).T
        smallest = SMALLEST * min(self.size) / 128
        given = (visible >= STARTED) & (sides >= smallest) & (np.arange(len(world)) < len(world) - 4)
        objects = np.flatnonzero(given.any(1))
        if not len(objects):
            return None
        first = given[objects].argmax(1)
        images = np.stack([frame.image for frame in world.frames])
        fraction = visible[objects].copy()
        rng = np.random.default_rng((number, 13))
        masks = np.zeros(images.shape[:3], np.uint8)
        other = np.roll(images[-1][::-1, ::-1], rng.integers(self.size[0]), 1)
        if number % 3 == 1:
            chosen = int(rng.integers(len(objects)))
            block = stuck(rng, boxes[:, objects[chosen]], int(first[chosen]), images.shape[1:3])
            images, masks = put(rng, images, other, block, 0.2)
        elif number % 3 == 2:
            images, masks = put(rng, images, other, crossed(rng, images, other)[1], 0.2)
        for row, k in enumerate(objects):
            for t, frame in enumerate(world.frames):
                shown = frame.instance == k + 1
                if masks[t].any() and shown.any():
                    fraction[row, t] *= 1 - (shown & (masks[t] > 0)).sum() / shown.sum()
        after = np.arange(len(world)) - first[:, None]
        counted = (after > 0) & (after <= FOLLOWED) & (sides[objects] > 0)
        tensors = tuple(torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images)
        return VisibilityClip(self.name(number), tensors, boxes[first, objects], first, fraction, counted)


Method = Callable[[VisibilityClip], NDArray]
"""From a clip to visible parts (O, T)."""


def held_out_visibility(worlds: int, size: tuple[int, int]) -> list[VisibilityClip]:
    """Clips of held-out worlds (split ``val``) for images of (W, H); of fewer, where nothing is seen well enough."""
    source = VisibilityWorlds("standard", "val", worlds, size)
    return [clip for number in range(len(source)) if (clip := source.clip(number)) is not None]


def visibility_methods(
    points: PointNet | None = None,
    solver: OccuSolver | None = None,
    surface: SurfaceNet | None = None,
    target: bool = False,
) -> dict[str, Method]:
    """What is measured beside each other.

    Args:
        points: Trained point network.
        solver: Trained on top of it.
        surface: Trained surface network.
        target: Whether the shipped target models are asked too.
    """
    found: dict[str, Method] = {}
    if surface is not None:
        found[SURFACE] = partial(_solved, tracker=SurfaceTracker(surface))
    if points is not None and solver is not None:
        found[SOLVER] = partial(_solved, tracker=VisibilityTracker(points, solver))
        found[POINTS] = partial(_counted, tracker=VisibilityTracker(points, solver))
    if target:
        found[RESPONSE] = _responded
    return {**found, ALWAYS: lambda clip: np.ones_like(clip.fraction)}


def _through(clip: VisibilityClip, tracker: VisibilityTracker | SurfaceTracker) -> Iterable[VisibleParts]:
    """What the tracker says, window after window."""
    state = tracker.start()
    for t, image in enumerate(clip.images):
        new = {int(row): torch.from_numpy(clip.boxes[row]) for row in np.flatnonzero(clip.first == t)}
        state, parts = tracker.step(state, image, new)
        if parts is not None:
            yield parts
    _, parts = tracker.finish(state)
    if parts is not None:
        yield parts


def _solved(clip: VisibilityClip, tracker: VisibilityTracker | SurfaceTracker) -> NDArray:
    made = np.ones(clip.fraction.shape)
    for parts in _through(clip, tracker):
        rows, span = np.array(parts.objects), slice(parts.start, parts.start + parts.fraction.shape[1])
        part = parts.fraction.numpy()
        made[rows, span] = np.where(np.isnan(part), made[rows, span], part)
    return made


def _counted(clip: VisibilityClip, tracker: VisibilityTracker) -> NDArray:
    """The share of points that the point tracker says are seen."""
    from scenegraph_track.occlusion.object_points import points_in_boxes
    from scenegraph_track.occlusion.point_tracker import PointTracker

    count = tracker.count
    spread = points_in_boxes(torch.from_numpy(clip.boxes), count)
    first = torch.from_numpy(clip.first)[:, None, None].expand(-1, count, 1)
    queries = torch.cat([first.float(), spread], -1).flatten(0, 1)
    tracks = PointTracker(tracker.tracker.net).track(clip.images, queries)
    return tracks.visibility.unflatten(0, (len(clip.boxes), count)).mean(1).numpy()


def _responded(clip: VisibilityClip) -> NDArray:
    """Peaks of the target models' responses."""
    from scenegraph_track.target.embedded import follow_settings, target_network
    from scenegraph_track.target.follow import follow, start_following

    network, settings = target_network(), follow_settings()
    made = np.ones(clip.fraction.shape)
    for row, (first, box) in enumerate(zip(clip.first, clip.boxes)):
        images = [image[None] for image in clip.images]
        state = start_following(network, settings, images[first], torch.from_numpy(box[None]))
        for t in range(first + 1, min(first + FOLLOWED + 1, len(images))):
            state = follow(network, settings, state, images[t])
            made[row, t] = float(state.scores[0].clamp(0, 1))
    return made


def visibility_figures(results: Iterable[tuple[VisibilityClip, NDArray]]) -> dict[str, float]:
    """Figures of all clips together, see `PROTOCOL`.

    Args:
        results: Clips with visible parts (O, T) as told.
    """
    pairs = [(clip.fraction[clip.counted], told[clip.counted]) for clip, told in results]
    truth = np.concatenate([pair[0] for pair in pairs]) if pairs else np.zeros(0)
    told = np.concatenate([pair[1] for pair in pairs]) if pairs else np.zeros(0)
    hidden = truth < HIDDEN
    return {
        "mae": float(np.abs(truth - told).mean()) if len(truth) else float("nan"),
        "ap_hidden": average_precision(hidden, -told),
        "auc_hidden": _auc(hidden, -told),
        "share_hidden": float(hidden.mean()) if len(truth) else float("nan"),
    }


def average_precision(truth: NDArray[np.bool_], scores: NDArray) -> float:
    """Mean precision over the steps of recall, equal scores taken together; NaN where nothing is true."""
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    scores, truth = scores[order], truth[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    hits = np.cumsum(truth)[last]
    return float((np.diff(np.append(0, hits)) * hits / (last + 1)).sum() / truth.sum())


def _auc(truth: NDArray[np.bool_], scores: NDArray) -> float:
    from scipy.stats import rankdata

    positive = int(truth.sum())
    if not 0 < positive < len(truth):
        return float("nan")
    ranks = rankdata(scores)[truth].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * (len(truth) - positive)))

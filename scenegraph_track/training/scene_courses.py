"""Tracks of a world's objects whose identities are given: noisy detections, and what the tracker's filters expect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from scenegraph_track.config import TrackerSettings, load_config
from scenegraph_track.graph import spatial_edges
from scenegraph_track.structures import TrackerState
from scenegraph_track.tracking import motion
from scenegraph_track.tracking.emission import covers, inside_part
from scenegraph_track.tracking.life import has_left
from scenegraph_track.tracking.reference import Association, conclude, start_state
from scenegraph_track.tracking.scene_model import box_std, sides_velocity
from scenegraph_track.tracking.situation import prepare
from scenegraph_track.tracking.space import track_maps

IN_VIEW = 0.25
"""Least part of an object's box that is inside the image; with less it has left."""

_SMALLEST = 3.0
_FOREVER = 1e6
_NO_CANDIDATES = np.zeros((3, 0))


class CourseSettings(BaseModel):
    """How a detector and a depth estimate see the worlds; ranges are drawn from anew for each course."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: tuple[float, float] = Field((0.1, 0.2), description="visible part below which an object is not found")
    missed: tuple[float, float] = Field((0.0, 0.1), description="share of detections that are missed at random")
    gaps: float = Field(0.1, ge=0, le=1, description="share of objects that are not found for a while, though visible")
    gap_seconds: tuple[float, float] = Field((0.3, 2.0), description="how long that is")
    jitter: tuple[float, float] = Field((0.01, 0.06), description="error of a box's sides, in its width and height")
    whole: tuple[float, float] = Field((0.0, 1.0), description="boxes: 0 what is visible, 1 the whole object")
    camera: float = Field(0.5, ge=0, le=1, description="share of courses whose camera is known, with depth")
    depth_noise: tuple[float, float] = Field((0.01, 0.1), description="relative error of a depth")


@dataclass(frozen=True, eq=False)
class Course:
    """The tracks of a world, T frames of K slots; a slot is empty before its object was found for the first time.

    Args:
        size: (2,) of the image, pixels.
        seconds: () between frames.
        focal: () pixels.
        preset: () see `make_scene_world`.
        born: (T, K) bool, the track exists.
        seen: (T, K) bool, it has a detection in this frame.
        boxes: (T, K, 4) the detection, else what the tracker's filter expects (which is moved with the camera).
        expected: (T, K, 4) by that filter before the detection was looked at; the first detection of a track.
        height: (T, K) of the last detection, pixels.
        velocity: (T, K, 4) of the sides by that filter, pixels per second.
        std: (T, K, 4) that it has of centre x, y, width and height, pixels.
        away: (T, K) seconds since the last detection.
        scores: (T, K) of the detection, 0 without.
        covered: (T, K) part of the box behind a detection of lower bottom edge.
        depth: (T, K, 3) mean, standard deviation and range in metres, NaN where unknown.
        gone: (T, K) bool, the tracker would have forgotten the track in this frame (`life.has_left`).
        truth: (T, K, 4) the whole object's box.
        visible: (T, K) part of the object.
        inside: (T, K) part of the true box in the image.
        hider: (T, K) slot of what hides it, see `make_scene_world`.
        relations: (T, K, K) bits, see `make_scene_world`; None where they are not known.
        edges: T arrays (2, E), `spatial_edges` of the tracks' boxes by slots.
    """

    size: NDArray[np.float32]
    seconds: float
    focal: float
    preset: int
    born: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    expected: NDArray[np.float32]
    height: NDArray[np.float32]
    velocity: NDArray[np.float32]
    std: NDArray[np.float32]
    away: NDArray[np.float32]
    scores: NDArray[np.float32]
    covered: NDArray[np.float32]
    depth: NDArray[np.float32]
    gone: NDArray[np.bool_]
    truth: NDArray[np.float32]
    visible: NDArray[np.float32]
    inside: NDArray[np.float32]
    hider: NDArray[np.int64]
    relations: NDArray[np.uint8] | None
    edges: tuple[NDArray[np.int64], ...]


def course_settings() -> TrackerSettings:
    """Those of the reference tracker, but nothing is forgotten and one detection confirms."""
    settings = load_config("reference").tracker
    life = {"confirm_hits": 1, "hidden_seconds": _FOREVER, "tentative_seconds": _FOREVER}
    return settings.model_copy(update={"life": settings.life.model_copy(update=life)})


def make_course(
    rng: np.random.Generator, world: dict[str, NDArray], size: tuple[int, int], settings: CourseSettings
) -> Course:
    """Detect the objects of a world and follow them under their true identities.

    Args:
        rng: What is drawn from.
        world: Of `make_scene_world` or `stream_world`.
        size: Of its images, where it does not say.
        settings: The ranges.
    """
    size = tuple(map(int, world.get("size", size)))
    found, seen = detected(rng, world, size, settings)
    known = rng.random() < settings.camera and "world_from_camera" in world
    noise = np.exp(rng.uniform(*np.log(settings.depth_noise))) * rng.standard_normal(seen.shape)
    depth = np.where(seen[..., None], world["depth"] * np.exp(noise)[..., None], np.nan)
    frames, slots = seen.shape
    table = {name: np.zeros((frames, slots, 4)) for name in ("boxes", "expected", "velocity", "std")}
    table |= {name: np.zeros((frames, slots)) for name in ("height", "away", "covered")}
    table |= {name: np.zeros((frames, slots), bool) for name in ("born", "gone")}
    rule, edges = load_config("reference").tracker, []
    for t, (decided, state, slot) in enumerate(followed(world, found, seen, depth, known)):
        matched, tracks = decided.detection >= 0, decided.tracks
        ahead = {
            "boxes": decided.boxes,
            "expected": np.where(matched[:, None], decided.predicted, decided.boxes),
            "height": tracks.last_box[:, 3] - tracks.last_box[:, 1],
            "velocity": sides_velocity(decided, motion.chosen_filter(state.filter_errors)),
            "std": box_std(decided, state),
            "away": np.where(matched, 0, state.timestamp - tracks.seen),
            "covered": covers(decided.boxes, decided.boxes[matched], slot[:, None] == slot[matched])[0],
            "born": True,
            "gone": has_left(tracks, decided.boxes, state.timestamp, rule, size),
        }
        for name, values in ahead.items():
            table[name][t, slot] = values
        depth[t, slot, 0] = tracks.depth
        rows = np.sort(slot)
        edges.append(rows[spatial_edges(torch.from_numpy(table["boxes"][t, rows])).numpy()])
    scores = np.clip(0.4 + 0.6 * np.sqrt(world["visible"]) + 0.15 * rng.standard_normal(seen.shape), 0.05, 1)
    values = {
        **table,
        "depth": depth,
        "seen": seen,
        "scores": np.where(seen, scores, 0),
        "truth": world["boxes"],
        "visible": world["visible"],
        "inside": np.stack([inside_part(boxes.astype(float), size) for boxes in world["boxes"]]),
    }
    kinds = {name: np.asarray(v, bool if v.dtype == bool else np.float32) for name, v in values.items()}
    return Course(
        size=np.array(size, np.float32),
        seconds=1 / float(world["rate"]),
        focal=float(world["intrinsics"][0, 0]),
        preset=int(world["preset"]),
        hider=world["hider"],
        relations=world.get("relations"),
        edges=tuple(edges),
        **kinds,
    )


def detected(
    rng: np.random.Generator, world: dict[str, NDArray], size: tuple[int, int], settings: CourseSettings
) -> tuple[NDArray, NDArray[np.bool_]]:
    """Boxes (T, K, 4) and which of them were found (T, K)."""
    visible, whole = world["visible"], world["boxes"].astype(float)
    frames, slots = visible.shape
    part = rng.uniform(*settings.whole)
    boxes = part * whole + (1 - part) * world["visible_boxes"]
    extent = np.tile(boxes[..., 2:] - boxes[..., :2], 2)
    jitter = np.exp(rng.uniform(*np.log(settings.jitter)))
    boxes = np.clip(boxes + jitter * extent * rng.standard_normal(boxes.shape), 0, np.tile(size, 2))
    seen = visible >= rng.uniform(*settings.threshold)
    seen &= rng.random(seen.shape) >= rng.uniform(*settings.missed)
    first = rng.integers(frames, size=slots)
    length = rng.uniform(*settings.gap_seconds, slots) * float(world["rate"])
    index = np.arange(frames)[:, None]
    seen &= ~((rng.random(slots) < settings.gaps) & (index >= first) & (index < first + length))
    return boxes, seen & (boxes[..., 2:] - boxes[..., :2] >= _SMALLEST).all(-1)


def followed(
    world: dict[str, NDArray], found: NDArray, seen: NDArray[np.bool_], depth: NDArray, camera: bool
) -> Iterator[tuple[Association, TrackerState, NDArray[np.int64]]]:
    """What the tracker decides in each frame where identities are given, its state then, and the slot of each track.

    Args:
        world: Of `make_scene_world`.
        found: (T, K, 4) detections, xyxy pixels.
        seen: (T, K) bool, which of them there are.
        depth: (T, K, 3) of the detections, NaN elsewhere.
        camera: Whether the tracks are moved with the known camera.
    """
    state, settings, slot = start_state(), course_settings(), np.zeros(0, np.int64)
    for t, here in enumerate(seen):
        rows = np.flatnonzero(here)
        maps, state = _moved(state, world, t) if camera else (None, state)
        time, boxes = t / float(world["rate"]), found[t, rows]
        situation = prepare(state, settings, time, boxes, np.ones(len(rows)), None, maps, None, depth[t, rows, 0])
        place = np.full(len(here), -1)
        place[rows] = np.arange(len(rows))
        state, decided = conclude(situation, place[slot], _NO_CANDIDATES)
        slot = np.concatenate([slot, rows[~np.isin(rows, slot)]])
        yield decided, state, slot


def _moved(state: TrackerState, world: dict[str, NDArray], t: int) -> tuple[NDArray | None, TrackerState]:
    """The maps of the tracks' pixels by the known camera, and the state with their depths moved on."""
    tracks = state.tracks
    if not np.isfinite(tracks.depth).any():
        return None, state
    poses, intrinsics = world["world_from_camera"], world["intrinsics"]
    middle = tracks.centre[:, motion.chosen_filter(state.filter_errors)]
    turned = np.linalg.inv(poses[t]) @ poses[t - 1]
    maps, ahead = track_maps(middle, tracks.depth, turned, intrinsics, intrinsics, None)
    ahead = np.where(np.isfinite(tracks.depth), ahead, np.nan)
    return maps, replace(state, tracks=replace(tracks, depth=ahead))

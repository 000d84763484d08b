"""Putting camera, agents, occlusion and detector together."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np

from scenegraph_track.data.streams.bodies import Boxes, project_agents, project_occluders
from scenegraph_track.data.streams.camera import background_motion, draw_path
from scenegraph_track.data.streams.crowd import field_size
from scenegraph_track.data.streams.detector import detect
from scenegraph_track.data.streams.motion import draw_play, move
from scenegraph_track.data.streams.occlusion import visible_cells, visible_extent, visible_share
from scenegraph_track.data.streams.parameters import CameraParameters, DetectorParameters, MotionParameters
from scenegraph_track.data.streams.presets import PRESETS, SPLITS, STRONG, STRONG_SHARE
from scenegraph_track.data.streams.ranges import draw
from scenegraph_track.data.streams.stream import Stream
from scenegraph_track.errors import UserError

_BACK_WITHIN = 0.5  # seconds outside the image after which an object that comes back has a new id
_ATTEMPTS = 10


def stream_name(preset: str, split: str, seed: int) -> str:
    """The name of a stream."""
    return f"{preset}-{split}-{seed:06d}"


def simulate(
    preset: str = "mixed", seed: int = 0, split: str = "train", frames: int | None = None, objects: int | None = None
) -> Stream:
    """Simulate one sequence of detections with its truth.

    Camera, motion and detector parameters are drawn from wide ranges (`parameters`, `presets`) by the seed; the same
    arguments give the same bytes.  Sequences with next to nothing in them, or whose detector finds next to nothing, are
    drawn again.

    Args:
        preset: One of `PRESETS`; ``mixed`` draws one of the others.
        seed: Any non-negative integer.
        split: ``train``, ``val`` (other seeds) or ``test`` (other seeds, wider ranges, kinds never trained on).
        frames: Number of frames; drawn if None.
        objects: Number of agents in or near the view at once; drawn if None.

    Returns:
        The sequence.

    Raises:
        UserError: An argument is out of range.
    """
    if preset not in PRESETS:
        raise UserError(f"preset: expected one of {', '.join(PRESETS)}, found {preset!r}")
    if split not in SPLITS:
        raise UserError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
    if seed < 0:
        raise UserError(f"seed: expected a non-negative integer, found {seed}")
    if frames is not None and frames < 2:
        raise UserError(f"frames: expected at least 2, found {frames}")
    if objects is not None and objects < 1:
        raise UserError(f"objects: expected at least 1, found {objects}")
    entropy = [seed, zlib.crc32(preset.encode()), zlib.crc32(split.encode())]
    name = stream_name(preset, split, seed)
    for attempt in range(_ATTEMPTS):
        root = np.random.SeedSequence([*entropy, attempt] if attempt else entropy)
        stream = _draw(name, preset, split, frames, objects, root)
        if _is_worth_tracking(stream):
            break
    return stream


def _draw(
    name: str, preset: str, split: str, frames: int | None, objects: int | None, root: np.random.SeedSequence
) -> Stream:
    parameters, world, detector = (np.random.default_rng(s) for s in root.spawn(3))
    if preset == "mixed":
        preset = tuple(key for key in PRESETS if key != "mixed")[parameters.integers(len(PRESETS) - 1)]
    overrides, widen = PRESETS[preset], SPLITS[split]
    camera_p = draw(CameraParameters, parameters, overrides, widen)
    motion_p = draw(MotionParameters, parameters, overrides, widen)
    strong = STRONG if parameters.random() < STRONG_SHARE else {}
    detector_p = draw(DetectorParameters, parameters, strong, widen)
    if objects is not None:
        motion_p = dataclasses.replace(motion_p, objects=objects)
    count = frames if frames is not None else int(np.clip(camera_p.seconds * camera_p.frame_rate, 120, 1200))
    return _simulate(name, camera_p, motion_p, detector_p, count, world, detector)


def _is_worth_tracking(stream: Stream) -> bool:
    """Whether objects are there in half of the frames and a tenth of their boxes are found."""
    found = int((stream.det_id > 0).sum())
    return len(np.unique(stream.truth_frame)) >= 0.5 * stream.frames and found >= 0.1 * len(stream.truth_frame)


def _simulate(
    name: str,
    camera_p: CameraParameters,
    motion_p: MotionParameters,
    detector_p: DetectorParameters,
    frames: int,
    world: np.random.Generator,
    chance: np.random.Generator,
) -> Stream:
    times = np.arange(frames) / camera_p.frame_rate
    wide = np.tan(np.radians(camera_p.field_of_view) / 2)
    focal = max(camera_p.image_size) / 2 / wide
    middle = focal * 1.7 / (camera_p.person_share * camera_p.image_size[1])
    play = draw_play(motion_p, world, times, field_size(middle, camera_p.image_size[0] / 2 / focal))
    camera = draw_path(camera_p, world, frames, play)
    agents = move(motion_p, world, camera, play)
    objects, phase = project_agents(motion_p, world, camera, agents)
    occluders = project_occluders(motion_p, world, camera, 1.0)
    cells = visible_cells(
        objects.boxes,
        objects.depth,
        objects.present,
        np.concatenate([objects.boxes, occluders.boxes], 1),
        np.concatenate([objects.depth, occluders.depth], 1),
        np.concatenate([objects.present, occluders.present], 1),
        camera.image_size,
    )
    visibility = visible_share(cells)
    ids, noticed = _identities(motion_p, world, camera_p, objects, agents.life)
    seen = Boxes(objects.boxes, objects.depth, noticed)
    found, scores = detect(detector_p, chance, camera, seen, visibility, visible_extent(cells), phase)
    owner = np.where(found.owner >= 0, ids[found.frame, found.owner], 0)
    frame, slot = np.nonzero(ids > 0)
    order = np.lexsort((ids[frame, slot], frame))
    frame, slot = frame[order], slot[order]
    return Stream(
        name=name,
        frame_rate=float(camera_p.frame_rate),
        image_size=camera.image_size,
        frames=frames,
        truth_frame=frame,
        truth_id=ids[frame, slot],
        truth_boxes=objects.boxes[frame, slot],
        truth_visibility=visibility[frame, slot],
        truth_depth=objects.depth[frame, slot],
        det_frame=found.frame,
        det_boxes=found.boxes,
        det_scores=scores,
        det_id=owner,
        camera_from_previous=background_motion(camera),
    )


def _identities(
    p: MotionParameters, rng: np.random.Generator, camera_p: CameraParameters, objects: Boxes, life: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Number the objects of the truth.

    A row exists where enough of the box is in the image and the box is not too small; an object that was outside
    for long gets a new id unless the sequence keeps ids (``returns``).

    Returns:
        Ids (T, S), 0 where there is no truth, and what the detector may find (T, S), bool.
    """
    size = np.maximum(objects.boxes[..., 2:] - objects.boxes[..., :2], 1e-6)
    inside = np.minimum(objects.boxes[..., 2:], camera_p.image_size) - np.maximum(objects.boxes[..., :2], 0)
    share = np.clip(inside / size, 0, 1).prod(-1)
    noticed = objects.present & (share > 0.05)
    smallest = min(p.smallest, 0.5 * camera_p.person_share) * camera_p.image_size[1]
    known = rng.random(int(life.max(initial=0)) + 1) >= p.unannotated
    there = noticed & (share >= p.annotated_share) & (size[..., 1] >= smallest) & known[np.maximum(life, 0)]
    frames, slots = life.shape
    index = np.arange(frames)[:, None]
    last = np.maximum.accumulate(np.where(there, index, -1), axis=0)
    before = np.vstack([np.full((1, slots), -1), last[:-1]])
    same = np.take_along_axis(life, np.maximum(before, 0), 0) == life
    away = index - before > 1 + _BACK_WITHIN * camera_p.frame_rate
    new = there & ((before < 0) | ~same | (away & (not p.returns)))
    visit = np.cumsum(new, axis=0) * slots + np.arange(slots)
    keys, first = np.unique(visit[there], return_index=True)
    rank = np.empty(len(keys), int)
    rank[np.argsort(first, kind="stable")] = np.arange(1, len(keys) + 1)
    ids = np.zeros_like(life)
    ids[there] = rank[np.searchsorted(keys, visit[there])]
    return ids, noticed

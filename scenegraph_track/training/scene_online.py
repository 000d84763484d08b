"""What the learned scene graph is worth online: the same tracker with it and without, on held-out worlds.

``python -m scenegraph_track.training.scene_online --json FILE`` prints the tables.  Detections are noisy, as in
`scene_report`, but here the tracker decides itself which of them are one object.  A hidden object is judged by the
object that its track was last seen on, as long as that is not detected under another identity.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scenegraph_track.structures import Detections, Frame, ObjectState, SceneGraph
from scenegraph_track.tracking.emission import inside_part
from scenegraph_track.tracking.tracker import Tracker
from scenegraph_track.training.commands import told_plainly
from scenegraph_track.training.scene import box_errors, paired_iou
from scenegraph_track.training.scene_courses import IN_VIEW, CourseSettings, detected
from scenegraph_track.training.scene_data import SceneWorldSettings, scene_worlds, unpacked
from scenegraph_track.training.scene_report import (
    DEEP,
    FIGURES,
    REGIMES,
    STREAMS,
    Rows,
    add_options,
    asked_worlds,
    tell,
)
from scenegraph_track.training.scene_streams import stream_world

WITHOUT, LEARNED = "without", "learned"
"""The two trackers."""

World = dict[str, NDArray]


def online_report(trackers: dict[str, Tracker], worlds: SceneWorldSettings) -> dict[str, Any]:
    """All figures by regime, as `scene_report.report`.

    Args:
        trackers: `WITHOUT` and `LEARNED`, which differ in nothing else.
        worlds: Held-out ones.
    """
    rows, found = scene_worlds(worlds), {}
    for regime in REGIMES:
        settings, told = CourseSettings(gaps=0.0), {name: {} for name in FIGURES}
        for number in range(len(rows)):
            rng = np.random.default_rng((number, REGIMES.index(regime), 23))
            streamed = regime == STREAMS
            world = stream_world(rng, "test", worlds.frames, worlds.objects) if streamed else next(rows.rows([number]))
            size = tuple(map(int, world.get("size", worlds.size)))
            given = list(frames_of(rng, world, size, settings, regime == DEEP))
            scenes = {name: list(_followed(tracker, given)) for name, tracker in trackers.items()}
            for name, more in compared(scenes, [rows for *_, rows in given], world, size).items():
                for key, values in more.items():
                    told[name].setdefault(key, []).append(values)
        found[regime] = {
            name: FIGURES[name]({key: np.concatenate(values) for key, values in parts.items()})
            for name, parts in told.items()
            if len(parts) and not (regime == STREAMS and name in ("relations", "hidden_by"))
        }
    return found


def frames_of(
    rng: np.random.Generator, world: World, size: tuple[int, int], settings: CourseSettings, deep: bool
) -> Iterator[tuple[Frame, Detections, NDArray[np.int64]]]:
    """Frames without images, their detections, and the object (slot) of each detection.

    Args:
        rng: What the noise is drawn from.
        world: Of `make_scene_world` or `stream_world`.
        size: Of its images.
        settings: The noise.
        deep: Whether camera and noisy depths are known.
    """
    boxes, seen = detected(rng, world, size, settings)
    scores = np.clip(0.4 + 0.6 * np.sqrt(world["visible"]) + 0.15 * rng.standard_normal(seen.shape), 0.05, 1)
    noise = np.exp(rng.uniform(*np.log(settings.depth_noise))) * rng.standard_normal(seen.shape)
    depth = world["depth"][..., 0] * np.exp(noise)
    for t, here in enumerate(seen):
        slots = np.flatnonzero(here)
        camera = {}
        if deep:
            pose = torch.from_numpy(world["world_from_camera"][t]).float()
            camera = {"intrinsics": torch.from_numpy(world["intrinsics"]).float(), "world_from_camera": pose}
        frame = Frame(t, t / float(world["rate"]), size=size, **camera)
        depths = depth[t, slots] if deep else None
        yield frame, Detections.from_arrays(boxes[t, slots], scores[t, slots], depths=depths), slots


def _followed(tracker: Tracker, given: list[tuple[Frame, Detections, NDArray]]) -> Iterator[SceneGraph]:
    state = tracker.start()
    for frame, detections, _ in given:
        state, scene = tracker.step(state, frame, detections)
        yield scene


def compared(
    scenes: dict[str, list[SceneGraph]], detected_slots: list[NDArray], world: World, size: tuple[int, int]
) -> dict[str, Rows]:
    """Rows for the figures: of hidden objects ``boxes``, ``left`` and ``hidden_by``, and ``relations`` of pairs.

    Args:
        scenes: By tracker, of the same tracks.
        detected_slots: The object of each detection, by frame.
        world: The truth.
        size: Of the images.
    """
    told: dict[str, dict[str, list[NDArray]]] = {name: {} for name in FIGURES}
    slot_of = np.full(1 + max((int(s.track_ids.max()) for s in scenes[LEARNED] if len(s)), default=0), -1)
    for t, frames in enumerate(zip(*scenes.values(), strict=True)):
        by = dict(zip(scenes, frames, strict=True))
        nodes, slots = by[LEARNED].nodes, detected_slots[t]
        ids, detection = nodes["track_id"].numpy(), nodes["detection"].numpy()
        slot_of[ids[detection >= 0]] = slots[detection[detection >= 0]]
        slot = slot_of[ids]
        inside = inside_part(world["boxes"][t].astype(float), size)
        judged = np.flatnonzero((detection < 0) & ~np.isin(slot, slots))
        left = inside[slot[judged]] < IN_VIEW
        there = (world["boxes"][t, :, 2:] > world["boxes"][t, :, :2]).all(-1)[slot[judged]]
        hidden = judged[~left & there]
        rows = {
            "boxes": _box_rows(by, hidden, world["boxes"][t, slot[hidden]]),
            "left": {"away": nodes["hidden_for"].numpy()[judged], "truth": left}
            | {name: (s.states.numpy() == ObjectState.LEFT)[judged] for name, s in by.items()},
            "hidden_by": {"truth": _named(world["hider"][t, slot[hidden]], slots)}
            | {name: _named(slot_of[s.hidden_by.numpy()], slots)[hidden] for name, s in by.items()},
            "relations": _relation_rows(by, slot, inside > 0, world, t),
        }
        for name, more in rows.items():
            for key, values in more.items():
                told[name].setdefault(key, []).append(values)
    return {name: {key: np.concatenate(values) for key, values in parts.items()} for name, parts in told.items()}


def _box_rows(scenes: dict[str, SceneGraph], rows: NDArray, truth: NDArray) -> dict[str, NDArray]:
    found = {"away": scenes[LEARNED].nodes["hidden_for"].numpy()[rows]}
    truth = torch.from_numpy(truth).double()
    height = (truth[:, 3] - truth[:, 1]).clamp(min=1.0)
    for name, scene in scenes.items():
        boxes, std = scene.boxes[rows].double(), scene.nodes["box_std"][rows].double()
        deviation = (std / height[:, None]).clamp(min=1e-6)
        found[f"iou {name}"] = paired_iou(boxes, truth).numpy()
        found[f"z {name}"] = (box_errors(boxes, truth, height) / deviation).numpy()
        found[f"log {name}"] = deviation.log().numpy()
    return found


def _relation_rows(
    scenes: dict[str, SceneGraph], slot: NDArray, inside: NDArray, world: World, t: int
) -> dict[str, NDArray]:
    """Of the pairs of objects in the image that both trackers relate: the truth, and what they say."""
    count = len(slot)
    values = {}
    for name, scene in scenes.items():
        values[name] = np.full((count, count, scene.relations.shape[1]), np.nan)
        values[name][tuple(scene.relates_index.numpy())] = scene.relations.numpy()
    both = np.isfinite(values[LEARNED][..., 0]) & np.isfinite(values[WITHOUT][..., 0])
    source, target = np.nonzero(both & inside[slot][:, None] & inside[slot] & (slot[:, None] != slot))
    seen = (scenes[LEARNED].states == ObjectState.VISIBLE).numpy()
    if "relations" not in world:
        return {}
    return {
        "truth": unpacked(world["relations"][t, slot[source], slot[target]]) > 0.5,
        "learned": values[LEARNED][source, target],
        "stated": values[WITHOUT][source, target],
        "seen": seen[source] & seen[target],
    }


def _named(hider: NDArray, slots: NDArray) -> NDArray[np.int64]:
    """Objects that are detected themselves; -1 in place of others and of nothing."""
    return np.where(np.isin(hider, slots), hider, -1)


def main() -> None:
    """Run the report from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="boxes", help="settings of the tracker")
    parser.add_argument("--weights", default="embedded", help="of the learned scene graph: embedded or a file")
    add_options(parser)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    asked = parser.parse_args()
    with told_plainly():
        weights = {WITHOUT: "none", LEARNED: asked.weights}
        trackers = {
            name: Tracker.from_config(asked.config, [f"tracker.scene.weights={w}"]) for name, w in weights.items()
        }
        found = online_report(trackers, asked_worlds(asked, "test"))
    tell(found, asked.json)


if __name__ == "__main__":
    main()

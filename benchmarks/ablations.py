"""What each part of the tracker is worth: held-out worlds and streams with its parts switched off in turn.

    python benchmarks/ablations.py [--groups 3] [--worlds 2] [--streams 2] [--manifest FILE] [--markdown FILE]

The whole is boxes.yaml with the geometry of embedded.yaml: graph corrections, appearance, depth and camera motion, the
learned scene graph, the learned rules of what is shown, permanence and long-term memory.  All get the same detections:
boxes of rendered worlds of the split test with noise and misses, and simulated streams of the split test, in which
there are more objects and no images (so no appearance, no geometry, no memory).  A group is ``--worlds`` worlds and
``--streams`` streams of each of a few presets; figures are the mean and the standard deviation over groups, and the
differences are those to the whole in the same group.  With --manifest a run that was killed goes on where it was.

kept: share of the identities before an object was hidden that it has afterwards (see ``evaluation.occlusion``).
hidden: mean IoU of the box of an object that is told to be hidden with that of the whole object (0 where it has a wrong
one).
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402

from geometry.video import VideoGeometry, VideoGeometryState  # noqa: E402
from scenegraph_track.errors import UserError  # noqa: E402
from scenegraph_track.evaluation.manifest import Figures, Manifest  # noqa: E402
from scenegraph_track.evaluation.matched import match_truth  # noqa: E402
from scenegraph_track.evaluation.mot import evaluate_sequence  # noqa: E402
from scenegraph_track.evaluation.noisy_worlds import NoisyWorld, noisy_stream, noisy_world  # noqa: E402
from scenegraph_track.evaluation.occlusion import Outcome, occlusion_episodes  # noqa: E402
from scenegraph_track.evaluation.sources import TruthSource  # noqa: E402
from scenegraph_track.files import atomic_write  # noqa: E402
from scenegraph_track.structures import Detections, Frame, ObjectState, SceneGraph  # noqa: E402
from scenegraph_track.tracking.looks import looks  # noqa: E402
from scenegraph_track.tracking.matching import box_iou  # noqa: E402
from scenegraph_track.tracking.space import video_geometry  # noqa: E402
from scenegraph_track.tracking.tracker import Tracker, tracks_of  # noqa: E402

WORLDS, STREAMS = ("standard", "long_occlusion"), ("long_occlusion", "dance")
"""Presets of worlds and of streams."""

SIZE = (128, 96)
TRUE = 0.5
"""Visible fraction from which an object has to be tracked, and IoU from which a track is on it."""

WHOLE = ("geometry.flow=embedded", "geometry.depth=embedded", "geometry.working_size=128")
GRAPH, LOOKS = "tracker.graph.weights=none", "tracker.appearance.kind=none"
SPACE, CAMERA = ("geometry.flow=none", "geometry.depth=none"), "tracker.motion.camera=false"
SCENE, RULE = "tracker.scene.weights=none", "tracker.show.predicted=1"
HIDDEN, MEMORY = "tracker.life.hidden_seconds=0", "tracker.life.memory_seconds=0"
IN_STREAMS = {
    "whole": (),
    "no graph corrections": (GRAPH,),
    "no common motion (camera)": ("tracker.motion.vote=false", CAMERA),
    "no learned scene graph": (SCENE,),
    "no learned rule of what is shown": (RULE,),
    "no permanence (hidden 0 s)": (HIDDEN,),
    "reference tracker, none of the learned parts": (GRAPH, LOOKS, *SPACE, SCENE),
}
"""Settings that switch parts off."""

IN_WORLDS = IN_STREAMS | {
    "no appearance": (LOOKS,),
    "no depth, no camera motion in space": SPACE,
    "no geometry, no camera motion at all": (*SPACE, CAMERA),
    "no long-term memory": (MEMORY,),
    "no permanence, no memory": (HIDDEN, MEMORY),
}
"""The same with the parts that need images."""

WEIGHTS = ("graph", "scene", "target", "rules", "flow", "depth")
"""What is used of the weights that ship."""

FIGURES = ("HOTA", "DetA", "AssA", "IDF1", "IDSW", "kept", "hidden")


class Prepared:
    """A world with what does not depend on the tracker, found once for all variants: geometry and looks."""

    def __init__(self, world: NoisyWorld) -> None:
        whole = Tracker.from_config("boxes", WHOLE).config
        self.world, self.geometry = world, Remembered(video_geometry(whole.geometry))
        look = looks(whole.tracker.appearance)
        self.frames, self.found = [], []
        for index, one in enumerate(world.frames):
            self.frames.append(Frame(index, index / world.rate, image=one.image, size=world.size))
            self.found.append(Detections.from_arrays(one.found, one.scores))
            if one.image is not None:
                seen = torch.from_numpy(look(one.image, self.found[-1].boxes.double().numpy())).float()
                self.found[-1] = replace(self.found[-1], embeddings=seen)

    def run(self, overrides: tuple[str, ...]) -> list[SceneGraph]:
        """The scene graphs of all frames, as a tracker with these settings makes them."""
        config = Tracker.from_config("boxes", (*WHOLE, *overrides)).config
        tracker = Tracker(config, None if config.geometry.flow == "none" else self.geometry)
        state, scenes, blind = tracker.start(), [], config.tracker.appearance.kind == "none"
        for frame, found in zip(self.frames, self.found):
            state, scene = tracker.step(state, frame, replace(found, embeddings=None) if blind else found)
            scenes.append(scene)
        return scenes


class Remembered:
    """A `VideoGeometry` that gives the same again for an image that it has seen."""

    def __init__(self, inner: VideoGeometry) -> None:
        self.inner, self.start, self.found = inner, inner.start, {}

    def step(self, state: VideoGeometryState, image: torch.Tensor, *rest) -> tuple:
        """See there."""
        key = image.data_ptr()
        if key not in self.found:
            self.found[key] = self.inner.step(state, image, *rest)
        return self.found[key]


def judge(world: NoisyWorld, scenes: list[SceneGraph]) -> Figures:
    """Figures of a world, in percent but for IDSW."""
    rows = []
    for number, one in enumerate(world.frames, start=1):
        there = one.visible > 0
        ones, count = np.ones(there.sum()), np.full(there.sum(), number)
        left, sides = one.boxes[there, :2], one.boxes[there, 2:] - one.boxes[there, :2]
        rows.append(np.c_[count, one.ids[there], left, sides, ones, ones, one.visible[there].clip(0, 1)])
    truth, tracks = np.concatenate(rows), tracks_of(scenes)
    boxes = tracks.boxes.double().numpy()
    told = np.c_[tracks.frames.numpy() + 1, tracks.ids.numpy(), boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]
    found = evaluate_sequence(truth[truth[:, 8] >= TRUE], told, len(scenes))
    matched = match_truth(TruthSource(truth, frames=len(scenes)), told, world.rate)
    outcomes = occlusion_episodes(matched).outcomes
    judged = outcomes[outcomes != Outcome.UNTRACKED]
    kept = 100 * float((judged == Outcome.KEPT).mean()) if len(judged) else float("nan")
    figures = {name: float(found[name]) for name in ("HOTA", "DetA", "AssA", "IDF1", "IDSW")}
    return {**figures, "kept": kept, "hidden": hidden_overlap(world, scenes)}


def hidden_overlap(world: NoisyWorld, scenes: list[SceneGraph]) -> float:
    """Mean IoU, in percent, of objects that are told to be hidden, and have been seen before; NaN if there are none."""
    whose: dict[int, int] = {}
    overlaps = []
    for one, scene in zip(world.frames, scenes):
        nodes, row = scene.nodes, {int(i): k for k, i in enumerate(one.ids)}
        ids, boxes, state = nodes["track_id"].tolist(), nodes["box"].double().numpy(), nodes["state"]
        seen = np.flatnonzero((state == int(ObjectState.VISIBLE)).numpy())
        if len(seen) and len(one.ids):
            iou = box_iou(boxes[seen], one.boxes)
            for k, best, value in zip(seen, iou.argmax(1), iou.max(1)):
                if value >= TRUE:
                    whose[ids[k]] = int(one.ids[best])
        for k in np.flatnonzero((state == int(ObjectState.HIDDEN)).numpy()):
            at = row.get(whose.get(ids[k], -1))
            if at is not None and one.whole[at].any():
                overlaps.append(float(box_iou(boxes[k][None], one.whole[at][None])[0, 0]))
    return 100 * float(np.mean(overlaps)) if overlaps else float("nan")


Make = Callable[[str, int], NoisyWorld]


def measure(
    groups: int, count: int, presets: Iterable[str], variants: dict, make: Make, manifest: Manifest
) -> dict[str, np.ndarray]:
    """Figures of each variant: (groups, len(FIGURES)), means over the worlds of a group."""
    found: dict[str, list[list[list[float]]]] = {name: [[] for _ in range(groups)] for name in variants}
    for group, preset in itertools.product(range(groups), presets):
        for seed in range(group * count, (group + 1) * count):
            key, one = f"{make.__name__}/{preset}/{seed}", None
            for name, overrides in variants.items():
                if one is None and f"{key}/{name}" not in manifest:
                    one = Prepared(make(preset, seed))

                def made(one=one, overrides=overrides) -> Figures:
                    return judge(one.world, one.run(overrides))

                figures = manifest.figure(f"{key}/{name}", made)
                values = [figures[figure] for figure in FIGURES]
                found[name][group].append([np.nan if value is None else value for value in values])
    return {name: np.array([mean_of(each) for each in some]) for name, some in found.items()}


def mean_of(rows: Iterable[Iterable[float]]) -> list[float]:
    """Mean of each column over what is known in it."""
    columns = np.array(list(rows), dtype=float).T
    return [float(column[np.isfinite(column)].mean()) if np.isfinite(column).any() else np.nan for column in columns]


def table(found: dict[str, np.ndarray]) -> str:
    """Mean and deviation over groups, and the difference to the whole, as Markdown."""
    lines = [f"| | {' | '.join(FIGURES)} |", f"|---|{'---|' * len(FIGURES)}"]
    for name, values in found.items():
        cells = []
        for column, differences in zip(values.T, (values - found["whole"]).T):
            cell = spread(column)
            cells.append(cell if name == "whole" else f"{cell} ({spread(differences, '+')})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def spread(values: np.ndarray, sign: str = "") -> str:
    """Mean ± standard deviation of what is known."""
    known = values[np.isfinite(values)]
    if not len(known):
        return "-"
    return f"{known.mean():{sign}.1f} ± {known.std(ddof=1) if len(known) > 1 else 0:.1f}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--groups", type=int, default=3, help="groups of worlds, over which figures spread")
    parser.add_argument("--worlds", type=int, default=2, help="worlds of each preset in a group")
    parser.add_argument("--streams", type=int, default=2, help="streams of each preset in a group")
    parser.add_argument("--frames", type=int, default=60, help="frames of a world, half of those of a stream")
    parser.add_argument("--manifest", type=Path, help="keep the figures there, and go on from there")
    parser.add_argument("--markdown", type=Path, help="write the tables there too")
    asked = parser.parse_args()
    if asked.groups < 1 or min(asked.worlds, asked.streams) < 0:
        parser.error("expected at least one group, and no negative number of worlds or streams")
    torch.set_num_threads(1)

    def worlds(preset: str, seed: int) -> NoisyWorld:
        return noisy_world(preset, seed, asked.frames, SIZE)

    def streams(preset: str, seed: int) -> NoisyWorld:
        return noisy_stream(preset, seed, 2 * asked.frames)

    try:
        whole = Tracker.from_config("boxes", WHOLE).config.model_dump()
        about, parts = {"frames": asked.frames, "size": SIZE, "settings": whole}, []
        manifest = Manifest(asked.manifest, about, WEIGHTS)
        kinds = ((asked.streams, STREAMS, IN_STREAMS, streams), (asked.worlds, WORLDS, IN_WORLDS, worlds))
        for count, presets, variants, make in kinds:
            if count:
                made = table(measure(asked.groups, count, presets, variants, make, manifest))
                parts.append(f"{asked.groups} groups of {count} {make.__name__} of {', '.join(presets)}:\n\n{made}")
        if asked.markdown:
            with atomic_write(asked.markdown) as file:
                file.write("\n".join(parts))
    except UserError as error:
        parser.error(str(error))
    print(*parts, sep="\n", end="")


if __name__ == "__main__":
    main()

"""Unsupervised video tracking from end to end: what the graph adds to objects that a detector discovers by itself.

    python benchmarks/discovery.py [--worlds 4] [--real FOLDER ...] [--json FILE]

Held-out worlds, and real videos with truth (MOTChallenge or DAVIS) that nothing was trained or tuned on.  The detector
that ships finds the objects of each frame on its own, once; its boxes then go to the reference tracker (motion alone),
to that with the slots' embeddings as looks, and to the graph tracker with appearance, as boxes.yaml has it; how scores
are read and all else is as in embedded.yaml.  "video slots" are the same boxes under the numbers that their masks carry
along the optical flow.  HOTA, DetA, AssA and IDF1 are of boxes, of objects that are visible by at least half; FG-ARI
and mBO are of masks of whole videos, where they are known.  With --json a run that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from detectors.embedded import slot_detector  # noqa: E402
from scenegraph_track.config import load_config  # noqa: E402
from scenegraph_track.data.sequences import find_sequences  # noqa: E402
from scenegraph_track.data.worlds import PRESETS, sample_scene  # noqa: E402
from scenegraph_track.errors import UserError  # noqa: E402
from scenegraph_track.evaluation.estimators import Choice, load_estimators  # noqa: E402
from scenegraph_track.evaluation.manifest import Figures, Manifest  # noqa: E402
from scenegraph_track.evaluation.object_clips import ObjectClip, ObjectWorlds, Videos  # noqa: E402
from scenegraph_track.evaluation.tracked_clips import (  # noqa: E402
    BOXES,
    MASKS,
    Proposed,
    Told,
    judge,
    numbered,
    propose,
    tracked,
    without_looks,
)
from scenegraph_track.structures import Frame  # noqa: E402
from scenegraph_track.tracking.tracker import Tracker  # noqa: E402

FRAMES = 100_000
"""Real videos stay whole."""

USUAL_RATE = 25.0
"""Frames a second of folders of images that do not say theirs."""

PLAIN = ("geometry.flow=none", "geometry.depth=none", "tracker.graph.weights=none", "tracker.appearance.kind=none")
GRAPH = ("geometry.flow=none", "geometry.depth=none", "tracker.graph.weights=embedded", "tracker.graph.strength=0.25")
LOOKS = "tracker.appearance.kind=both"
ROWS = {
    "video slots": None,
    "slots, reference tracker": (PLAIN, False),
    "slots, reference tracker, slots' looks": (PLAIN, True),
    "slots, graph tracker, appearance": ((*GRAPH, LOOKS), False),
}
"""What is compared: nothing more, or changes to embedded.yaml and whether the embeddings of the slots are seen."""


WEIGHTS = ("detector", "graph", "scene", "target", "rules", "flow", "depth")
"""What is used of the weights that ship."""


class Clips:
    """Clips of worlds or of a folder, with their frame rates; made when they are asked for."""

    def __init__(self, source: ObjectWorlds | Videos) -> None:
        self.source = source

    def __iter__(self) -> Iterator[tuple[str, float, int]]:
        """Name, frame rate and number of each clip."""
        source = self.source
        if isinstance(source, ObjectWorlds):
            for k in range(len(source)):
                scene = sample_scene(source.preset, source.split, seed=k, size=source.size, frames=source.frames)
                yield source.name(k), float(scene.frame_rate), k
        else:
            videos = [v for v in find_sequences(source.folder) if v.kind in ("mot", "masks") and v.images and v.truth]
            for k in range(len(source)):  # says what is wrong if there are none
                yield videos[k].name, float(videos[k].frame_rate or USUAL_RATE), k

    def clip(self, k: int) -> ObjectClip:
        """The k-th, with optical flow and depth."""
        return self.source.object_clip(k, load_estimators(Choice()))


def run_tracker(tracker: Tracker, clip: ObjectClip, proposed: Proposed, rate: float, looks: bool) -> list[Told]:
    """What a tracker makes of the detections."""
    state, scenes = tracker.start(), []
    for k, (image, found) in enumerate(zip(clip.images, proposed.detections)):
        given = found if looks else without_looks(found)
        state, scene = tracker.step(state, Frame(k, k / rate, image=image.float() / 255), given)
        scenes.append(scene)
    return tracked(scenes, proposed)


def measure(clips: Clips, manifest: Manifest, least: float) -> dict[str, list[Figures]]:
    """Figures of every row for every clip."""
    found: dict[str, list[Figures]] = {row: [] for row in ROWS}
    for name, rate, k in clips:
        if all(f"{name}/{row}" in manifest for row in ROWS):
            clip = proposed = None
        else:
            clip = clips.clip(k)
            proposed = propose(slot_detector(), clip, least)
        for row, kind in ROWS.items():

            def made(clip=clip, proposed=proposed, rate=rate, kind=kind) -> Figures:
                if kind is None:
                    return judge(clip, numbered(proposed))
                return judge(clip, run_tracker(Tracker.from_config("embedded", kind[0]), clip, proposed, rate, kind[1]))

            found[row].append(manifest.figure(f"{name}/{row}", made))
    return found


def shown(title: str, found: dict[str, list[Figures]]) -> Table:
    """Means over clips, each counting the same."""
    table = Table("", *BOXES, "FG-ARI", "mBO", title=title)
    for row, each in found.items():
        cells = []
        for figure in (*BOXES, *MASKS):
            values = [one[figure] for one in each if one[figure] is not None]
            cells.append(f"{np.mean(values):.1f}" if values else "-")
        table.add_row(row, *cells)
    return table


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--worlds", type=int, default=4, help="held-out worlds")
    parser.add_argument("--preset", default="standard", choices=sorted(PRESETS), help="their kind")
    parser.add_argument("--frames", type=int, help="frames of each; as the preset says if not given")
    parser.add_argument("--size", type=int, default=128, help="their sides, pixels")
    parser.add_argument("--real", type=Path, action="append", default=[], help="folder of a video or of several")
    parser.add_argument("--json", type=Path, help="keep the figures there, and go on from there")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    least = load_config("embedded").detector.threshold
    try:
        about = {"preset": asked.preset, "frames": asked.frames, "size": asked.size, "threshold": least}
        about["settings"] = {row: load_config("embedded", kind[0]).model_dump() for row, kind in ROWS.items() if kind}
        manifest, console = Manifest(asked.json, about, WEIGHTS), Console(width=120)
        sources: list[ObjectWorlds | Videos] = [Videos(folder, FRAMES) for folder in asked.real]
        if asked.worlds:
            sources.insert(0, ObjectWorlds(asked.preset, "test", asked.worlds, (asked.size, asked.size), asked.frames))
        for source in sources:
            console.print(shown(f"{source}: {len(source)}", measure(Clips(source), manifest, least)))
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

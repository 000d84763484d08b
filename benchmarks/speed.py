"""Milliseconds a frame of every part and of the whole loop, by image size and number of objects, beside the peers.

    python benchmarks/speed.py [--json speed.json] [--quick] [--threads 2]
    python benchmarks/speed.py --profile whole  (or boxes)

Every figure stands twice: CPU time of this process (all threads) and wall time, each the least of some repeats.  Other
programs slow down both, the first less.
Images are of a rendered world, enlarged or reduced; the boxes are of objects that walk on a plane.  In the whole loop
(``--config embedded``, with the scene graph written as JSON) the detector runs, and the boxes take the place of what it
finds, so that there are as many objects as the column says.  Peers (the package ``trackers``, the extra ``bench``)
associate the same boxes.  Networks run on the GPU as well where there is one; association never does.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import count as forever
from itertools import islice
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from association import Stream, crowd, peers  # noqa: E402
from torch import Tensor  # noqa: E402

from geometry.embedded import depth_estimator  # noqa: E402
from geometry.flow import optical_flow  # noqa: E402
from geometry.video import reduced  # noqa: E402
from scenegraph_track import Tracker  # noqa: E402
from scenegraph_track.config import AppearanceSettings  # noqa: E402
from scenegraph_track.data.worlds import render, sample_scene  # noqa: E402
from scenegraph_track.graph.export import to_json_line  # noqa: E402
from scenegraph_track.occlusion.embedded import SHIPPED as POINTS  # noqa: E402
from scenegraph_track.occlusion.point_tracker import PointTracker  # noqa: E402
from scenegraph_track.structures import Detections, Frame  # noqa: E402
from scenegraph_track.target.embedded import target_network  # noqa: E402
from scenegraph_track.target.followed import FollowSettings  # noqa: E402
from scenegraph_track.target.shared import follow_shared, start_shared  # noqa: E402
from scenegraph_track.tracking.looks import looks  # noqa: E402
from scenegraph_track.tracking.reference import associate, start_state  # noqa: E402
from scenegraph_track.tracking.situation import prepare  # noqa: E402

SIZES, COUNTS, TARGETS = ((128, 128), (480, 360), (1280, 720)), (1, 10, 50, 300), (1, 10, 50)
RATE = 25.0
LONG = 60
"""Frames of the streams of boxes."""

WHOLE, BOXES = 20.0, 500.0
"""Frames a second that are wanted of the whole loop (480 x 360, 10 objects) and of boxes only (20 objects)."""


@dataclass
class Clock:
    """Milliseconds of what was measured, by name.

    Args:
        frames: Measured of each, after one that is not.
        repeats: Of all of them.
        synchronise: Called before a time is read.
    """

    frames: int
    repeats: int = 3
    synchronise: Callable[[], None] = lambda: None
    cpu: dict[str, float] = field(default_factory=dict)
    wall: dict[str, float] = field(default_factory=dict)

    def measure(self, name: str, make: Callable[[], Iterator[Any]]) -> None:
        """Time what is made, an iterator of frames, from its second frame on.

        All is done ``repeats`` times, and of each frame the least time counts: what other programs take is not ours.
        """
        spent = []
        for _ in range(self.repeats):
            steps = islice(make(), self.frames + 1)
            next(steps)
            spent.append(list(self._spent(steps)))
        self.told(name, *(1000 * np.min(spent, axis=0).mean(0)))

    def _spent(self, steps: Iterator[Any]) -> Iterator[tuple[float, float]]:
        """CPU and wall seconds of each step."""
        while True:
            self.synchronise()
            began = time.process_time(), time.perf_counter()
            if next(steps, self) is self:
                return
            self.synchronise()
            yield time.process_time() - began[0], time.perf_counter() - began[1]

    def told(self, name: str, cpu: float, wall: float) -> None:
        """Note milliseconds, and print them."""
        self.cpu[name], self.wall[name] = round(float(cpu), 3), round(float(wall), 3)
        print(f"{name:36}{cpu:12.2f}{wall:12.2f}", flush=True)


@cache
def images(size: tuple[int, int], count: int) -> list[Tensor]:
    """Frames (3, H, W) in [0, 1] of a held-out world."""
    clip = render(sample_scene("standard", "test", seed=0, size=(480, 360), frames=count))
    scaled = [cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA) for frame in clip.frames]
    return [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255 for image in scaled]


def boxes_in(size: tuple[int, int], count: int, frames: int) -> Stream:
    """Walkers on a plane that fills the image."""
    scale = min(size) / (200.0 * np.sqrt(count))
    return [(boxes * scale, scores) for boxes, scores in crowd(count, frames)]


def whole(size: tuple[int, int], count: int, frames: int) -> Iterator[None]:
    """The whole loop with the weights that ship."""
    tracker = Tracker.from_config("embedded")
    found, stream = tracker._proposer, boxes_in(size, count, frames)
    detected: list[Detections] = []

    def stand_in(frame: Frame, space: Any) -> Detections:
        assert found is not None
        found(frame, space)
        return detected[-1]

    vars(tracker)["_proposer"] = stand_in
    state = tracker.start()
    for index, (image, (boxes, scores)) in enumerate(zip(images(size, frames), stream)):
        detected.append(Detections.from_arrays(boxes, scores))
        state, scene = tracker.step(state, Frame(index, index / RATE, image=image))
        to_json_line(scene)
        yield


def boxes_only(count: int, frames: int, config: str = "reference") -> Iterator[None]:
    """The public tracker on boxes: association, emission rule and scene graph."""
    tracker = Tracker.from_config(config)
    state = tracker.start()
    for index, (boxes, scores) in enumerate(crowd(count, frames)):
        found = Detections.from_arrays(boxes, scores)
        state, _ = tracker.step(state, Frame(index, index / RATE, size=(1280, 720)), found)
        yield


def association(count: int, frames: int, config: str) -> Iterator[None]:
    """Association alone."""
    tracker = Tracker.from_config(config)
    state = start_state()
    for index, (boxes, scores) in enumerate(crowd(count, frames)):
        state, _ = associate(prepare(state, tracker.config.tracker, index / RATE, boxes, scores), tracker._learned)
        yield


def peer(run: Callable[[Stream, float], None], objects: int, frames: int, repeats: int) -> tuple[float, float]:
    """CPU and wall milliseconds a frame of another tracker over a whole stream, the least of some runs."""
    stream, clocks, best = crowd(objects, frames), (time.process_time, time.perf_counter), (np.inf, np.inf)
    for _ in range(repeats):
        began = [clock() for clock in clocks]
        run(stream, RATE)
        best = tuple(min(least, clock() - start) for least, clock, start in zip(best, clocks, began))
    return best[0] * 1000 / frames, best[1] * 1000 / frames


def repeated(call: Callable[[], Any]) -> Callable[[], Iterator[Any]]:
    """The same again and again."""
    return lambda: (call() for _ in forever())


def image_parts(clock: Clock, size: tuple[int, int], frames: int) -> None:
    """What each part costs that sees images, on the CPU."""
    tracker, shown, at = Tracker.from_config("embedded"), images(size, frames), f"{size[0]}x{size[1]}"
    settings, video, propose = tracker.config.geometry, tracker._video, tracker._proposer
    assert video is not None and propose is not None
    small = [reduced(image, settings.working_size) for image in shown[:2]]
    for method in ("dis_fine", "embedded"):
        clock.measure(f"flow_{method}/{at}", repeated(lambda method=method: optical_flow(small[1], small[0], method)))
    matrix = torch.tensor([[size[0], 0, size[0] / 2], [0, size[0], size[1] / 2], [0, 0, 1.0]])

    def seen() -> Iterator[Any]:
        state = video.start()
        for image in shown:
            state, found = video.step(state, image, matrix)
            yield found

    clock.measure(f"geometry/{at}", seen)
    frame = Frame(0, 0.0, image=shown[1])
    clock.measure(f"detector/{at}", repeated(lambda: propose(frame, None)))


def counted_parts(clock: Clock, size: tuple[int, int], counts: tuple[int, ...]) -> None:
    """What looks and target models cost by the number of objects."""
    at, shown = f"{size[0]}x{size[1]}", images(size, 4)
    for kind in ("colour", "target"):
        look = looks(AppearanceSettings(kind=kind))
        assert look is not None
        for count in counts:
            boxes = boxes_in(size, count, 1)[0][0]
            clock.measure(f"appearance_{kind}/{at}/{count}", repeated(partial(look, shown[0], boxes)))
    network = target_network()
    for count in TARGETS:
        boxes = torch.from_numpy(boxes_in(size, count, 1)[0][0]).float()

        def followed(boxes: Tensor = boxes) -> Iterator[Any]:
            state = start_shared(network, shown[0][None], boxes)
            while True:
                state = follow_shared(network, FollowSettings(), state, shown[1][None])
                yield state

        clock.measure(f"targets/{at}/{count}", followed)


def points_part(clock: Clock, size: tuple[int, int], frames: int) -> None:
    """The point tracker on 48 points, where weights ship: the mean of all frames, as it looks at some together."""
    tracker, name = PointTracker.from_pretrained(), f"points/{size[0]}x{size[1]}"
    grid = torch.cartesian_prod(torch.linspace(0.1, 0.9, 8), torch.linspace(0.1, 0.9, 6)) * torch.tensor(size)
    state, began = tracker.start(), (time.process_time(), time.perf_counter())
    for index, image in enumerate(images(size, frames)):
        state, _ = tracker.step(state, image, grid if index == 0 else None)
    spent = time.process_time() - began[0], time.perf_counter() - began[1]
    clock.told(name, *(1000 * value / frames for value in spent))


def on_gpu(frames: int) -> Clock:
    """The networks that can run on a GPU, each alone."""
    print("on the GPU")
    clock, device = Clock(frames, synchronise=torch.cuda.synchronize), torch.device("cuda")
    depth, network = depth_estimator(), target_network().to(device)
    for size in SIZES:
        at, image = f"{size[0]}x{size[1]}", images(size, 2)[0].to(device)[None]
        matrix = torch.tensor([[[size[0], 0, size[0] / 2], [0, size[0], size[1] / 2], [0, 0, 1.0]]], device=device)
        clock.measure(f"depth_network/{at}", repeated(lambda i=image, m=matrix: depth(i, m)))
        clock.measure(f"target_backbone/{at}", repeated(torch.no_grad()(lambda i=image: network.features(i))))
    return clock


def measured(options: argparse.Namespace) -> tuple[Clock, Clock | None]:
    """All figures; those of the GPU apart."""
    frames, clock = options.frames, Clock(options.frames, options.repeats)
    boxes = Clock(LONG - 1, options.repeats, cpu=clock.cpu, wall=clock.wall)
    counts = COUNTS[1:2] if options.quick else COUNTS
    boxes.measure("boxes/20", partial(boxes_only, 20, LONG))
    for count in counts:
        for config in ("reference", "boxes"):
            boxes.measure(f"association_{config}/{count}", partial(association, count, LONG, config))
        boxes.measure(f"with_scene_graph/{count}", partial(boxes_only, count, LONG))
        boxes.measure(f"with_learned_graph/{count}", partial(boxes_only, count, LONG, "boxes"))
        for name, run in peers().items():
            clock.told(f"{name}/{count}", *peer(run, count, LONG, options.repeats))
    for size in SIZES[1:2] if options.quick else SIZES:
        image_parts(clock, size, frames + 2)
        counted_parts(clock, size, counts)
        if POINTS.is_file():
            points_part(clock, size, 2 * frames)
        for count in counts:
            clock.measure(f"whole/{size[0]}x{size[1]}/{count}", partial(whole, size, count, frames + 1))
    return clock, on_gpu(frames) if torch.cuda.is_available() else None


def profile(what: str, frames: int) -> None:
    """Where the time goes, by function."""
    steps = whole((480, 360), 10, frames + 2) if what == "whole" else boxes_only(20, 300)
    next(steps)
    next(steps)
    profiler = cProfile.Profile(time.process_time)
    profiler.enable()
    for _ in steps:
        pass
    profiler.disable()
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(40).sort_stats("cumtime").print_stats(45)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=6, help="measured of each, after one that is not")
    parser.add_argument("--repeats", type=int, default=3, help="of all that is measured; the least counts")
    parser.add_argument("--threads", type=int, default=1, help="of the networks")
    parser.add_argument("--quick", action="store_true", help="480 x 360 and 10 objects only")
    parser.add_argument("--profile", choices=("whole", "boxes"), help="print where the time goes, and nothing else")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as flat name: value")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads if options.threads > 1 else 0)
    if options.profile:
        profile(options.profile, options.frames)
        return
    print(f"{'milliseconds a frame, part/size/objects':36}{'CPU':>9}{'wall':>12}")
    clock, gpu = measured(options)
    figures = {f"cpu_ms/{name}": value for name, value in clock.cpu.items()}
    figures |= {f"wall_ms/{name}": value for name, value in clock.wall.items()}
    if gpu is not None:
        figures |= {f"gpu_ms/{name}": value for name, value in gpu.wall.items()}
    for name, part, wanted in (
        ("whole_480x360_10", "whole/480x360/10", WHOLE),
        ("boxes_fps", "boxes/20", BOXES),
    ):
        figures[name] = round(1000 / clock.cpu[part], 2)
        figures[f"{name}_wall"] = round(1000 / clock.wall[part], 2)
        told = "reached" if figures[name] >= wanted else "missed"
        print(f"{name}: {figures[name]:g} frames/s of CPU time; {wanted:g} wanted: {told}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Methods that follow a target through a clip, and what their boxes are worth: for one process of many."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.regions import read_regions
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.single import Judged, Pixels, judge_boxes
from scenegraph_track.evaluation.single_baselines import SingleMethod
from scenegraph_track.evaluation.single_clips import SingleClip, SingleSource
from scenegraph_track.evaluation.single_methods import language_methods, single_methods
from scenegraph_track.evaluation.vot import AnchorRun, AnchorRuns, frames_of, region_overlaps
from scenegraph_track.language.single import TextTracker


@dataclass(frozen=True, eq=False)
class Run:
    """What a method said of a target.

    Args:
        boxes: (N, 4) xyxy, that of the first frame as it was told, or found by its sentence; NaN where the method says
            that it is absent.
        scores: (N,), 1 in the first frame.
        seconds: CPU time.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    seconds: float


def follow(
    methods: Mapping[str, SingleMethod], images: Sequence[NDArray[np.uint8]], frames: Sequence[int], box: NDArray
) -> dict[str, Run]:
    """Follow a target with several methods, each image being read once.

    Args:
        methods: By name.
        images: Of the clip.
        frames: Those that are shown, in this order.
        box: (4,) xyxy in the first of them.
    """
    boxes = {name: [np.asarray(box, np.float64)] for name in methods}
    scores = {name: [1.0] for name in methods}
    seconds = dict.fromkeys(methods, 0.0)
    states = {}
    for count, frame in enumerate(frames):
        image = images[frame]
        for name, method in methods.items():
            start = time.process_time()
            if count == 0:
                states[name] = method.start(image, boxes[name][0].copy())
                if isinstance(method, TextTracker):
                    found = method.first_box(states[name])
                    boxes[name][0] = np.full(4, np.nan) if found is None else found
            else:
                states[name], found, score = method.step(states[name], image)
                boxes[name].append(np.full(4, np.nan) if found is None else np.asarray(found, np.float64))
                scores[name].append(float(score))
            seconds[name] += time.process_time() - start
    return {name: Run(np.stack(boxes[name]), np.array(scores[name]), seconds[name]) for name in methods}


@dataclass(frozen=True, eq=False)
class Measured:
    """What a method is worth on a clip.

    Args:
        worth: Of the run from the first frame, or of the runs from anchors.
        ms: CPU time a frame; NaN where nobody knows.
    """

    worth: Judged | AnchorRuns
    ms: float = float("nan")


@dataclass(frozen=True)
class SingleJob:
    """What all clips of one call share.

    Args:
        source: The clips.
        weights: See `single_methods`.
        pixels: See `judge_boxes` and `region_overlaps`.
        anchored: Run from anchors, as VOT does, instead of once from the first frame.
        results: Names of other trackers and folders of their results, of runs from the first frame.
        language: Weights of the language network ("embedded" or a file): the target model is then compared to itself
            with a sentence, on clips that have one, in place of the baselines.
    """

    source: SingleSource
    weights: str | None = None
    pixels: Pixels = "continuous"
    anchored: bool = False
    results: tuple[tuple[str, Path], ...] = ()
    language: str | None = None

    def measure(self, k: int) -> list[tuple[str, dict[str, Measured]]]:
        """The names of the clips of the k-th group, and what all methods are worth on each.

        On clips without images no method is run; from anchors no method is run on clips without anchors.

        Raises:
            UserError: A result file is missing or does not fit, or an image cannot be read.
        """
        measure = self._anchored if self.anchored else self._once
        clips = self.source.single_clips(k)
        if self.language is not None:
            spoken = [clip for clip in clips if clip.text]
            by = {clip.name: language_methods(clip.text, self.weights, self.language) for clip in spoken}
            return [(clip.name, measure(clip, by.get(clip.name, {})) if clip.text else {}) for clip in clips]
        methods = single_methods(self.weights)
        return [(clip.name, measure(clip, methods)) for clip in clips]

    def _once(self, clip: SingleClip, methods: Mapping[str, SingleMethod]) -> dict[str, Measured]:
        others = {name: Measured(self._judge(clip, read_results(folder, clip))) for name, folder in self.results}
        if clip.images is None:
            return others
        runs = follow(methods, clip.images, range(len(clip)), clip.boxes[0])
        ours = {
            name: Measured(self._judge(clip, one.boxes), one.seconds * 1000 / len(clip)) for name, one in runs.items()
        }
        return ours | others

    def _judge(self, clip: SingleClip, boxes: NDArray) -> Judged:
        try:
            return judge_boxes(clip.boxes, boxes, clip.absent, clip.size, self.pixels)
        except UserError as error:
            raise UserError(f"{clip.name}: {error}") from None

    def _anchored(self, clip: SingleClip, methods: Mapping[str, SingleMethod]) -> dict[str, Measured]:
        if clip.images is None or clip.size is None or not clip.anchors:
            return {}
        present = np.isfinite(clip.boxes).all(1) & ~clip.absent
        orders = [np.array(frames_of(anchor, len(clip))) for anchor in clip.anchors]
        runs: dict[str, list[AnchorRun]] = {name: [] for name in methods}
        seconds = dict.fromkeys(methods, 0.0)
        for frames in orders:
            for name, run in follow(methods, clip.images, frames.tolist(), clip.boxes[frames[0]]).items():
                overlaps = region_overlaps(clip.boxes[frames], run.boxes, clip.size, self.pixels)
                runs[name].append(AnchorRun(overlaps, present[frames]))
                seconds[name] += run.seconds
        total = sum(map(len, orders))
        return {
            name: Measured(AnchorRuns(len(clip), tuple(done)), seconds[name] * 1000 / total)
            for name, done in runs.items()
        }


def read_results(folder: Path, clip: SingleClip) -> NDArray[np.float64]:
    """Boxes (T, 4) xyxy that another tracker wrote: ``<name>.txt``, left, top, width and height a line.

    They are in the coordinates of the annotation (OTB counts from 1); NaN says that the target is absent.

    Raises:
        UserError: The file is missing, or has not a line a frame.
        FormatError: A line is no box.
    """
    path = folder / f"{clip.name}.txt"
    if not path.is_file():
        raise UserError(f"{folder}: expected {path.name}, found no such file")
    boxes, _ = read_regions(path)
    if len(boxes) != len(clip):
        raise UserError(f"{path}: expected {len(clip)} lines, one a frame, found {len(boxes)}")
    return boxes - clip.origin

"""Figures of language: is the right object chosen, does the response follow the words, is nothing found in nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from scenegraph_track.data.worlds.captions import ATTRIBUTES
from scenegraph_track.evaluation.language_scenes import LanguageMoment, Query, language_scenes
from scenegraph_track.evaluation.tally import Tally

if TYPE_CHECKING:
    from scenegraph_track.language.network import LanguageNetwork

PROTOCOL = (
    "first_frame: each object at the first frame in which a quarter of it and 8 pixels of its shorter side are seen, "
    "if the worlds' sentence is true of it alone: its visible box has the highest score among all that can be seen.",
    "unseen: the same for objects whose colour, pattern and shape together are in no image of the training; unnamed: "
    "for sentences with a colour and a shape that no sentence of the training names together.",
    "swap: two objects of one frame and their sentences: each sentence prefers its own object of the two.",
    "peak: the peak of the response map lies in the visible box of the right object.",
    "nothing: a sentence with a colour and a shape that no object in view has is said to match nothing (no box above "
    "0); accepted: one that is true is not.",
)
"""How was measured, in sentences."""


@dataclass(frozen=True)
class LanguageJob:
    """What all worlds of one call share.

    Args:
        preset: Kind of worlds.
        split: "train", "val" or "test".
        size: (W, H) pixels.
        frames: Of each world.
        weights: Of the language network: a file, or "embedded".
    """

    preset: str
    split: str
    size: tuple[int, int]
    frames: int
    weights: str

    def measure(self, seed: int) -> Tally:
        """What `judge_moment` finds at all moments of one world."""
        network = _network(self.weights)
        moments = language_scenes(self.split, 1, self.size, self.preset, self.frames, seed)
        return Tally.join(judge_moment(network, moment) for moment in moments)


@lru_cache(maxsize=1)
def _network(weights: str) -> LanguageNetwork:
    from scenegraph_track.language.reading import Reader

    return Reader.load(weights).network


@torch.no_grad()
def measure_network(network: LanguageNetwork, scenes: Iterable[LanguageMoment]) -> dict[str, float]:
    """Figures of a network on moments; those of which there is no case are left out.

    Args:
        network: In evaluation mode.
        scenes: Of `language_scenes`.
    """
    tally = Tally.join(judge_moment(network, moment) for moment in scenes)
    return figures(tally)


def figures(tally: Tally) -> dict[str, float]:
    """Means of what `judge_moment` has found; those of which there is no case are left out."""
    found = {name: tally.figure(name) for name in sorted(tally.lists, key=_order)}
    return {name: value for name, value in found.items() if value == value} | {
        "queries": float(len(tally.lists.get("first_frame", ()))),
        "pairs": float(len(tally.lists.get("swap", ()))),
    }


_FIRST = ("first_frame", "unseen", "swap", "unnamed", "peak", "nothing", "accepted", "chance", "largest")


def _order(name: str) -> tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)


@torch.no_grad()
def judge_moment(network: LanguageNetwork, moment: LanguageMoment) -> Tally:
    """What the network does with the sentences of a moment; 1 where it is right, 0 where not."""
    tally = Tally()
    sentences = [one.sentence for one in (*moment.first, *moment.pair)] + [moment.nothing]
    scores, peaks = responses(network, moment, sentences)
    candidates = np.flatnonzero(moment.areas > 0)
    scores[:, moment.areas == 0] = -np.inf
    for number, one in enumerate(moment.first):
        right = float(scores[number].argmax() == one.row)
        tally.add("first_frame", right)
        for name, holds in (("unseen", one.unseen), ("unnamed", one.unnamed)):
            if holds:
                tally.add(name, right)
        for name in ATTRIBUTES:
            if name in one.said:
                tally.add(f"by/{name}", right)
        tally.add("peak", float(_inside(peaks[number], moment.boxes[one.row])))
        tally.add("accepted", float(scores[number].max() > 0))
        tally.add("chance", 1 / len(candidates))
        tally.add("largest", float(moment.areas.argmax() == one.row))
    if moment.pair:
        tally.add("swap", float(_follows(scores[len(moment.first) : -1], moment.pair)))
    tally.add("nothing", float(scores[-1].max() <= 0))
    return tally


def responses(
    network: LanguageNetwork, moment: LanguageMoment, sentences: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores (S, K) of the objects' visible boxes, and the places (S, 2) of the peaks, x and y in pixels."""
    seen = network.see(_image(moment.image), None if moment.before is None else _image(moment.before))
    words = network.text.start(network.text.read(sentences))
    boxes = network.hold(seen, torch.from_numpy(moment.boxes)[None])
    found = network.respond(seen, words, torch.zeros(len(sentences), dtype=torch.long), boxes=boxes)
    cells = found.map().flatten(1).argmax(1)
    width = found.grid[1]
    peaks = (torch.stack([cells % width, cells // width], 1) + 0.5) * network.stride
    return found.of_boxes.double().numpy(), peaks.double().numpy()


def _follows(scores: NDArray, pair: Sequence[Query]) -> bool:
    one, other = pair[0].row, pair[1].row
    return bool(scores[0, one] > scores[0, other] and scores[1, other] > scores[1, one])


def _inside(point: NDArray, box: NDArray) -> bool:
    return bool((point >= box[:2]).all() and (point <= box[2:]).all())


def _image(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255

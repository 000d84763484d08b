"""One target followed by a sentence, with and without its first box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scenegraph_track.language.single import TextTracker
from scenegraph_track.language.steering import Guide


@dataclass(frozen=True)
class State:
    boxes: torch.Tensor
    lost: tuple[int, ...]


class Stays:
    """Stands in for a tracker: finds the target where it is told to look, if that is red."""

    def start(self, image: np.ndarray, box: np.ndarray) -> State:
        return State(torch.tensor(np.asarray(box)[None]).float(), (0,))

    def step(self, state: State, image: np.ndarray) -> tuple[State, np.ndarray | None, float]:
        x, y = (state.boxes[0, :2] + 8).long().tolist()
        found = image[y, x, 0] > 200 and image[y, x, 1] < 50
        after = State(state.boxes, (0 if found else state.lost[0] + 1,))
        return after, after.boxes[0].double().numpy() if found else None, float(found)


def image(x: int | None) -> np.ndarray:
    made = np.full((64, 96, 3), 128, np.uint8)
    if x is not None:
        made[20:36, x : x + 16] = [255, 0, 0]
    return made


def test_a_sentence_finds_its_target_also_when_it_enters_later(colours) -> None:
    tracker = TextTracker(Stays(), Guide(colours, "red", every=1), told=False)
    state = tracker.start(image(None), np.array([0.0, 0, 5, 5]))
    assert tracker.first_box(state) is None
    state, box, _ = tracker.step(state, image(None))
    assert box is None
    state, box, _ = tracker.step(state, image(30))
    assert box is not None and box.tolist() == [30, 20, 46, 36]


def test_a_sentence_brings_back_what_a_box_began(colours) -> None:
    tracker = TextTracker(Stays(), Guide(colours, "red", every=1), told=True)
    state = tracker.start(image(10), np.array([10.0, 20, 26, 36]))
    assert tracker.first_box(state).tolist() == [10, 20, 26, 36]
    state, box, _ = tracker.step(state, image(None))
    assert box is None
    state, box, _ = tracker.step(state, image(60))
    assert box is not None and box.tolist() == [60, 20, 76, 36]


def test_what_only_the_sentence_found_is_begun_anew_elsewhere(colours) -> None:
    tracker = TextTracker(Stays(), Guide(colours, "red", every=1), told=False)
    state = tracker.start(image(10), np.array([0.0, 0, 5, 5]))
    state, box, _ = tracker.step(state, image(60))
    assert box is not None and box.tolist() == [60, 20, 76, 36]

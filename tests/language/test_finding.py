"""Tracks that a sentence means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track import Frame, SceneGraph
from scenegraph_track.errors import UserError
from scenegraph_track.graph.relations import relations_from_boxes
from scenegraph_track.language.finding import SceneWords
from scenegraph_track.language.vocabulary import ASPECTS
from scenegraph_track.language.watching import watched
from scenegraph_track.structures import ObjectState

BOXES = np.array([[10.0, 40, 30, 80], [60, 40, 80, 80], [62, 44, 84, 90]])
"""1 on the left; 3 in front of 2."""


def scene(states: tuple[int, ...] = (0, 0, 0), boxes: np.ndarray = BOXES, time: float = 0.0, **nodes) -> SceneGraph:
    ids = np.arange(1, len(boxes) + 1)
    given = {"track_id": ids, "box": boxes, "state": np.array(states), "visibility": np.array([1.0, 0.4, 1.0])} | nodes
    return SceneGraph.build(0, time, given, relations_from_boxes(boxes))


def looks(**said: str) -> np.ndarray:
    """Nearly sure of what is said, nothing known else."""
    parts = []
    for name, answers in ASPECTS.items():
        part = np.full(len(answers), 1 / len(answers))
        if name in said:
            part = np.where(np.array(answers) == said[name], 0.95, 0.05 / len(answers))
        parts.append(part)
    return np.concatenate(parts)


KNOWN = SceneWords(
    {
        1: looks(colour="red", shape="disk"),
        2: looks(colour="red", shape="disk"),
        3: looks(colour="blue", shape="box"),
    },
    width=128,
)


def best(found) -> int:
    return found[0].track_id


def test_looks_choose() -> None:
    found = scene().find("the blue box", KNOWN)
    assert best(found) == 3 and found[0].score > 0.9 > 0.1 > found[1].score


def test_relations_choose_among_the_same_looks() -> None:
    assert best(scene().find("the red disk behind the blue box", KNOWN)) == 2
    assert best(scene().find("the red disk left of the blue box", KNOWN)) == 1
    assert best(scene().find("the red disk on the left", KNOWN)) == 1


def test_what_a_wall_hides_is_hidden_by_nothing_that_is_tracked() -> None:
    hidden = scene((1, 0, 0), visibility=np.array([0.0, 1.0, 1.0]))
    found = hidden.find("the disk hidden by the wall", KNOWN)
    assert best(found) == 1 and found[0].state == ObjectState.HIDDEN
    assert found[0].score > 0.9 > 0.1 > found[1].score


def test_what_the_graph_names_as_hider_counts() -> None:
    hidden = scene((1, 0, 0), hidden_by=np.array([3, 0, 0]), visibility=np.array([0.0, 1.0, 1.0]))
    assert best(hidden.find("the disk hidden by the blue box", KNOWN)) == 1


def test_motion_is_watched_against_what_is_common() -> None:
    known, boxes = SceneWords(), np.concatenate([BOXES, BOXES + np.array([30, -20, 30, -20])])
    ids = np.arange(1, 7)
    for step in range(4):
        moved = boxes + step * np.array([2.0, 0, 2, 0])  # the camera pans
        moved[0] += step * np.array([-8.0, 0, -8, 0])
        nodes = {"track_id": ids, "box": moved, "state": np.zeros(6, int), "visibility": np.ones(6)}
        now = SceneGraph.build(step, step / 10, nodes, relations_from_boxes(moved))
        known = watched(None, known, now, Frame(step, step / 10, size=(128, 96)))
    assert best(now.find("the object moving left", known)) == 1
    still = {one.track_id: one.score for one in now.find("the object standing still", known)}
    assert still[1] < 0.1 < 0.8 < min(score for one, score in still.items() if one != 1)


def test_looks_are_kept_while_hidden() -> None:
    class Reader:
        def look(self, image):
            return image

        def aspects(self, look, boxes):
            return np.stack([looks(colour="red")] * len(boxes))

    frame = Frame(0, 0.0, torch.rand(3, 96, 128))
    known = watched(Reader(), SceneWords(), scene(), frame)
    known = watched(Reader(), known, scene((1, 0, 0), time=0.1), Frame(1, 0.1, torch.rand(3, 96, 128)))
    assert sorted(known.looks) == [1, 2, 3] and known.width == 128
    found = scene((1, 0, 0)).find("the hidden red object", known)
    assert best(found) == 1


def test_sentences_without_anything_to_look_for_are_refused() -> None:
    with pytest.raises(UserError, match="unknown words: zeppelin"):
        scene().find("the zeppelin")

"""Figures of language, with stand-ins for the network."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.data.worlds.families import is_unseen
from scenegraph_track.evaluation import language
from scenegraph_track.evaluation.language import figures, judge_moment
from scenegraph_track.evaluation.language_scenes import LanguageMoment, Query, clear, moments

BOXES = np.array([[0.0, 0, 10, 10], [20, 0, 40, 20], [50, 0, 60, 10]], np.float32)


def moment() -> LanguageMoment:
    first = (
        Query(0, "the red disk", ("colour", "shape"), True, False),
        Query(1, "the blue disk", ("colour", "shape"), False, True),
    )
    image = np.zeros((48, 64, 3), np.uint8)
    return LanguageMoment(image, None, BOXES, np.array([100, 400, 0]), first, first, "the black star")


def judged(monkeypatch: pytest.MonkeyPatch, scores: list[list[float]]) -> dict[str, float]:
    peaks = np.array([[5.0, 5]] * 5)
    monkeypatch.setattr(language, "responses", lambda network, one, sentences: (np.array(scores, np.float64), peaks))
    return figures(judge_moment(None, moment()))


RIGHT = [[3, -1, 9], [-1, 3, 9], [3, -1, 9], [-1, 3, 9], [-2, -1, 9]]


def test_all_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third object cannot be seen: its score does not count."""
    found = judged(monkeypatch, RIGHT)
    assert found["first_frame"] == found["unseen"] == found["unnamed"] == found["swap"] == found["nothing"] == 1
    assert found["accepted"] == 1 and found["peak"] == 0.5 and found["chance"] == 0.5 and found["largest"] == 0.5
    assert found["queries"] == 2 and found["pairs"] == 1 and found["by/colour"] == 1


def test_a_response_that_does_not_follow_the_sentence_is_half_right_and_no_swap(monkeypatch) -> None:
    found = judged(monkeypatch, [RIGHT[0]] * 4 + [[1, -1, 9]])
    assert found["first_frame"] == 0.5 and found["swap"] == 0 and found["nothing"] == 0
    assert found["unseen"] == 1 and found["unnamed"] == 0


def test_moments_of_a_world() -> None:
    """Every object is asked for once, when it is first seen; queries of the training split are of no unseen looks."""
    clip = render(sample_scene("standard", "train", seed=3, size=(96, 72), frames=6))
    found = moments(clip, 3)
    rows = [one.row for moment in found for one in moment.first]
    assert len(rows) == len(set(rows)) > 0
    begun = {row for frame in clip.frames for row in np.flatnonzero(clear(frame))}
    assert set(rows) <= begun
    assert not any(one.unseen for moment in found for one in moment.first)
    assert sum(bool(moment.pair) for moment in found) <= 1
    for moment in found:
        assert (moment.before is None) == (moment.image is clip.frames[0].image)


def test_unseen_looks_are_those_of_the_worlds() -> None:
    clip = render(sample_scene("standard", "test", seed=1, size=(96, 72), frames=2))
    looks = [thing.attributes for thing in clip.scene.objects]
    for moment in moments(clip, 1):
        for one in moment.first:
            assert one.unseen == is_unseen(looks[one.row].colour, looks[one.row].pattern, looks[one.row].shape)

"""Targets begun and looked for by a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track.language.steering import Guide


def image(*corners: tuple[int, int]) -> torch.Tensor:
    """Red squares of 16 pixels on grey."""
    made = torch.full((3, 64, 96), 0.5)
    for x, y in corners:
        made[:, y : y + 16, x : x + 16] = torch.tensor([1.0, 0, 0])[:, None, None]
    return made


HERE, THERE = np.array([[10.0, 10, 26, 26]]), [60, 40, 76, 56]


def test_the_first_place(colours) -> None:
    place = Guide(colours, "the red square").first(image((10, 10)))
    assert place is not None and place.box.tolist() == HERE[0].tolist()


@pytest.mark.parametrize("text", ["the blue square", "the zeppelin"])
def test_text_that_matches_nothing_or_says_nothing_has_no_place(colours, text: str) -> None:
    assert Guide(colours, text).first(image((10, 10))) is None


def test_detections_are_chosen_among(colours) -> None:
    detected = np.array([[30.0, 30, 50, 50], [9, 9, 27, 27]])
    place = Guide(colours, "red").first(image((10, 10)), detected)
    assert place is not None and place.box.tolist() == [9, 9, 27, 27]
    assert Guide(colours, "red").first(image((10, 10)), detected[:1]) is None


def test_a_lost_target_is_looked_for_where_the_sentence_is_true(colours) -> None:
    moved = Guide(colours, "red", every=2).steered(image((60, 40)), HERE, [1], 4)
    assert moved[0].tolist() == THERE
    assert Guide(colours, "red", every=2).steered(image((60, 40)), HERE, [1], 3) is HERE


def test_a_target_that_is_followed_is_moved_only_if_the_sentence_is_not_true_of_it(colours) -> None:
    guide = Guide(colours, "red", every=1)
    assert guide.steered(image((60, 40)), HERE, [0], 1)[0].tolist() == THERE
    blind = Guide(colours, "red", doubt=0.0, every=1)
    assert blind.steered(image((60, 40)), HERE, [0], 1)[0].tolist() == HERE[0].tolist()


def test_places_of_another_size_are_not_it(colours) -> None:
    large = np.array([[0.0, 0, 96, 64]])
    assert Guide(colours, "red", every=1).steered(image((60, 40)), large, [1], 1)[0].tolist() == large[0].tolist()


def test_what_a_sentence_found_is_left_for_what_it_is_rather_true_of(colours) -> None:
    guide = Guide(colours, "red")
    there = guide.elsewhere(image((60, 40)), HERE[0])
    assert there is not None and there.box.tolist() == THERE
    assert guide.elsewhere(image((10, 10)), HERE[0]) is None  # it is true of what is followed
    assert guide.elsewhere(image(), HERE[0]) is None

"""The small text encoder."""

from __future__ import annotations

import torch

from scenegraph_track.language.text import SmallText
from scenegraph_track.language.vocabulary import ASPECTS


def test_shorter_sentences_beside_longer_ones_are_the_same() -> None:
    torch.manual_seed(0)
    text = SmallText(8, 2, 2).eval()

    def mean(texts: list[str]) -> torch.Tensor:
        words = text.start(text.read(texts))
        for group in range(2):
            words = text.advance(group, words)
        return words.mean()[0]

    alone, beside = mean(["the red disk"]), mean(["the red disk", "the small blue box behind the wall, moving left"])
    torch.testing.assert_close(alone, beside)


def test_words_of_looks_are_numbered_as_the_answers_are() -> None:
    text = SmallText(8, 1, 2)
    words = text.start(text.read(["the crimson striped disk moving left"]))
    answers = [answer for known in ASPECTS.values() for answer in known]
    named = [answers[number] for number in text.answers(words)[0].tolist() if number >= 0]
    assert named == ["red", "striped", "disk"]


def test_words_about_what_hides_an_object_are_not_about_the_object() -> None:
    text = SmallText(8, 1, 2)
    answers = text.answers(text.start(text.read(["the hidden disk behind the red box"])))
    assert (answers >= 0).sum() == 1


def test_unknown_words() -> None:
    assert SmallText(8, 1, 2).unknown("the red flamethrower") == ("flamethrower",)

"""Sentences, what they are true of, and what is held out."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.data.worlds.captions import ATTRIBUTES
from scenegraph_track.language.vocabulary import COLOURS, SHAPES, Tokenizer, held_out_pair
from scenegraph_track.training.language_words import (
    NOBODY,
    Facts,
    drawn_claim,
    drawn_sentence,
    hider_code,
    hider_name,
    swapped,
    without_held_out,
)

RED, BLUE, DISK, STAR = COLOURS.index("red"), COLOURS.index("blue"), SHAPES.index("disk"), SHAPES.index("star")


def facts(*looks: tuple[int, int]) -> Facts:
    codes = np.array([[colour, 0, shape, 1, 1, NOBODY, 0] for colour, shape in looks])
    return Facts(codes, np.ones(len(looks), bool))


def test_claims_are_true_of_what_has_all_their_values() -> None:
    known = facts((RED, DISK), (BLUE, DISK), (RED, STAR))
    assert known.true_of({"colour": RED}).tolist() == [True, False, True]
    assert known.true_of({"colour": RED, "shape": DISK}).tolist() == [True, False, False]


@pytest.mark.parametrize("name", ["", "the wall", "the red disk", "the black ball"])
def test_hiders_have_codes_of_their_own(name: str) -> None:
    code = hider_code(name)
    assert (code == NOBODY) if not name else hider_name(code) == name


def test_drawn_claims_are_true_of_their_object() -> None:
    rng, known = np.random.default_rng(0), facts((RED, STAR), (BLUE, DISK))
    told = np.array([name in ("colour", "shape") for name in ATTRIBUTES])
    for _ in range(50):
        claim = drawn_claim(rng, known, 0, told, 0.5)
        assert claim and known.true_of(claim)[0]


def test_swapped_claims_differ_in_one_value_and_often_suit_another_object() -> None:
    rng, known = np.random.default_rng(0), facts((RED, STAR), (BLUE, STAR))
    claim, other = {"colour": RED, "shape": STAR}, 0
    for _ in range(60):
        new = swapped(rng, known, claim)
        kept = {name: code for name, code in new.items() if code == claim[name]}
        assert len(kept) < len(claim)
        assert len(new) == 1 or not known.true_of(new)[0]  # one value is left out where both are a held-out pair
        other += known.true_of(new)[1]
    assert other > 10


def test_held_out_pairs_are_never_named_together() -> None:
    rng = np.random.default_rng(0)
    for colour in range(len(COLOURS)):
        for shape in range(len(SHAPES)):
            claim = without_held_out(rng, {"colour": colour, "shape": shape, "size": 0})
            assert (len(claim) == 2) == held_out_pair(colour, shape)


def test_every_way_of_putting_it_is_understood() -> None:
    rng, tokenizer = np.random.default_rng(0), Tokenizer()
    claim = {
        "colour": RED,
        "pattern": 1,
        "shape": STAR,
        "size": 0,
        "motion": 3,
        "behind": hider_code("the wall"),
        "side": 0,
    }
    for share in (0.0, 1.0):
        for _ in range(40):
            reading = tokenizer.read(drawn_sentence(rng, claim, bool(rng.random() < 0.5), share))
            assert not reading.unknown
            assert {"red", "striped", "star", "small", "wall", "towards", "left"} <= set(reading.words)

"""Words and their numbers."""

from __future__ import annotations

from pathlib import Path

from scenegraph_track.data.worlds import families
from scenegraph_track.language.vocabulary import COLOURS, PATTERNS, SHAPES, UNKNOWN, WORDS, Tokenizer, held_out_pair


def test_the_worlds_words_are_all_known() -> None:
    assert list(families.COLOURS) == list(COLOURS)
    assert list(families.PATTERNS) == list(PATTERNS)
    assert list(families.SHAPES) == list(SHAPES)
    assert set(COLOURS) | set(PATTERNS) | set(SHAPES) <= set(WORDS)


def test_words_of_one_meaning_have_one_number() -> None:
    tokenizer = Tokenizer()
    assert tokenizer.read("The crimson, dotted circle!").ids == tokenizer.read("the red spotted disk").ids


def test_plurals_and_compounds_are_read_as_their_stem() -> None:
    assert Tokenizer().read("boxes disks red-ish").words == ("box", "disk", "red")


def test_unknown_words_are_told_as_they_were_written() -> None:
    reading = Tokenizer().read("the flamethrower in the Hand")
    assert reading.unknown == ("flamethrower", "hand")
    assert reading.words == ("the", UNKNOWN, "in", "the", UNKNOWN)
    assert not reading.told


def test_a_sentence_with_one_known_look_tells_something() -> None:
    assert Tokenizer().read("the red flamethrower").told


def test_long_sentences_are_cut() -> None:
    assert len(Tokenizer().read("red " * 100, longest=10).words) == 10


def test_about_a_twelfth_of_all_pairs_is_held_out() -> None:
    held = sum(held_out_pair(c, s) for c in range(len(COLOURS)) for s in range(len(SHAPES)))
    assert held == 16


def test_real_sentences_are_all_read(shared_data: Path) -> None:
    """TNL2K's: every word is either known or reported."""
    lines = (shared_data / "tnl2k_sentences.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 10
    for line in lines:
        text = line.partition("\t")[2]
        reading = Tokenizer().read(text)
        assert len(reading.ids) == len(reading.words) + 1
        assert sum(word == UNKNOWN for word in reading.words) == len(reading.unknown)

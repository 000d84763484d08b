"""Frames of worlds with sentences about their objects."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.data.worlds.captions import ATTRIBUTES, DIRECTIONS
from scenegraph_track.language.vocabulary import COLOURS, SHAPES, Tokenizer
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.language_data import (
    LanguageClipSettings,
    LanguageData,
    draw_frames,
    language_clips,
    mirrored,
)

SMALL = LanguageClipSettings(scenes=2, size=(64, 48), frames=3)


@pytest.fixture(scope="module")
def clips() -> Chunks:
    return language_clips(SMALL, few=True)


def test_what_is_kept_of_a_clip(clips: Chunks) -> None:
    arrays = clips.arrays
    assert arrays["images"].shape == (2, 3, 48, 64, 3) and arrays["instance"].shape == (2, 3, 12, 16)
    assert arrays["codes"].shape == (2, 3, 12, 7) and arrays["told"].shape == (2, 3, 12, 7)
    exist = arrays["visible"].max((1,)) > 0
    assert (arrays["codes"][:, 0, :, 0][exist] < len(COLOURS)).all() and arrays["told"][:, 0][exist].any()


def test_sentences_are_true_of_what_they_are_said_to_be(clips: Chunks) -> None:
    """Colour and shape words are those of every object that the sentence is true of."""
    tokenizer, seen = Tokenizer(), 0
    for seed in range(20):
        item = draw_frames(np.random.default_rng(seed), clips, LanguageData(sentences=3), tokenizer)
        for frame in range(2):
            for ids, true in zip(item["ids"][0, frame].tolist(), item["true"][0, frame].numpy()):
                words = [tokenizer.words[number] for number in ids]
                for row in np.flatnonzero(true):
                    colour, shape = item["codes"][0, frame, row, [0, 2]].tolist()
                    before = words[: words.index("behind")] if "behind" in words else words
                    before = before[: before.index("hidden")] if "hidden" in before else before
                    assert not set(before) & set(COLOURS) - {COLOURS[colour]}
                    assert not set(before) & set(SHAPES) - {SHAPES[shape]}
                    seen += 1
    assert seen > 20


def test_motion_is_no_fact_where_the_frame_before_is_unknown(clips: Chunks) -> None:
    item = draw_frames(np.random.default_rng(0), clips, LanguageData(alone=1.0), Tokenizer())
    assert not item["moves"].any()
    assert (item["codes"][..., ATTRIBUTES.index("motion")] == -1).all()


def test_a_mirrored_clip_says_left_for_right(clips: Chunks) -> None:
    clip = next(clips.rows([0]))
    turned = mirrored(clip)
    side, motion = ATTRIBUTES.index("side"), ATTRIBUTES.index("motion")
    assert (turned["codes"][..., side] == 2 - clip["codes"][..., side]).all()
    left = clip["codes"][..., motion] == DIRECTIONS.index("left")
    assert (turned["codes"][..., motion][left] == DIRECTIONS.index("right")).all()
    np.testing.assert_array_equal(turned["images"][:, :, 0], clip["images"][:, :, -1])
    again = mirrored(turned)
    for name in ("codes", "images", "instance", "boxes", "visible_boxes"):
        np.testing.assert_allclose(again[name], clip[name], atol=1e-4)


def test_templates_are_objects_that_the_sentence_is_true_of(clips: Chunks) -> None:
    for seed in range(10):
        item = draw_frames(np.random.default_rng(seed), clips, LanguageData(templates=1.0), Tokenizer())
        chosen, true = item["template"][0], item["true"][0]
        for frame in range(2):
            for number, row in enumerate(chosen[frame].tolist()):
                assert row < 0 or bool(true[frame, number, row])

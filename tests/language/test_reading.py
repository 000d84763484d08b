"""Questions to a trained network, which comes from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.language.reading import Reader, unknown_words
from scenegraph_track.training.weights import save_weights


def test_a_network_from_its_file_answers(weights: Path) -> None:
    reader = Reader.load(weights, 64)
    look = reader.look(torch.rand(3, 96, 128))
    places = reader.places(look, "the red disk")
    assert 1 <= len(places) <= 5
    for place in places:
        assert 0 <= place.score <= 1
        assert (place.box >= 0).all() and (place.box <= [128.01, 96.01, 128.01, 96.01]).all()
    scores = reader.scores(look, "the red disk", np.array([[4, 4, 30, 30], [60, 20, 90, 70]]))
    assert scores.shape == (2,) and ((scores >= 0) & (scores <= 1)).all()
    assert len(reader.scores(look, "the red disk", np.zeros((0, 4)))) == 0


def test_aspects_are_probabilities(weights: Path) -> None:
    reader = Reader.load(weights)
    found = reader.aspects(reader.look(torch.rand(3, 48, 64)), [[4, 4, 30, 30]])
    assert found.shape == (1, 43)
    assert found.sum() == pytest.approx(5)


def test_images_of_bytes_and_of_floats_are_the_same(weights: Path) -> None:
    reader = Reader.load(weights)
    image = torch.randint(0, 256, (3, 48, 64), dtype=torch.uint8)
    one, other = (reader.scores(reader.look(x), "red", [[4, 4, 30, 30]]) for x in (image, image.float() / 255))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_unknown_words_and_sentences_that_tell_nothing(weights: Path) -> None:
    reader = Reader.load(weights)
    assert unknown_words(reader, "the zeppelin beside the zeppelin") == ("zeppelin",)
    assert reader.tells("the zeppelin on the left") and not reader.tells("the zeppelin")


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {"recipe": {"stage": "target"}})
    with pytest.raises(UserError, match="the section language_net of the recipe in it does not describe"):
        Reader.load(tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no such file"):
        Reader.load(tmp_path / "none.safetensors")

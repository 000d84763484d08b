"""The language network."""

from __future__ import annotations

import torch

from scenegraph_track.language.network import LanguageNetwork
from scenegraph_track.language.vocabulary import ASPECTS

BOXES = torch.tensor([[[4.0, 4, 20, 20], [30, 8, 44, 28]]])


def start(network: LanguageNetwork, *texts: str):
    return network.text.start(network.text.read(texts))


def test_shapes(network: LanguageNetwork) -> None:
    seen = network.see(torch.rand(1, 3, 32, 48))
    image = torch.zeros(3, dtype=torch.long)
    found = network.respond(
        seen, start(network, "red", "the blue disk", "a box"), image, boxes=network.hold(seen, BOXES)
    )
    assert found.map().shape == (3, 4, 6) and found.of_boxes.shape == (3, 2)
    assert found.boxes.shape == (3, 24, 4) and bool((found.boxes[..., 2:] >= found.boxes[..., :2]).all())
    assert bool(((found.map() >= 0) & (found.map() <= 1)).all())


def test_sentences_of_a_batch_do_not_see_each_other(network: LanguageNetwork) -> None:
    seen = network.see(torch.rand(2, 3, 32, 48))
    both = network.respond(seen, start(network, "the red disk", "the blue box behind the wall"))
    alone = network.respond(seen, start(network, "the blue box behind the wall"), torch.tensor([1]))
    torch.testing.assert_close(both.match[1], alone.match[0])


def test_boxes_are_told_apart_by_the_words_before_any_training_of_sentences(network: LanguageNetwork) -> None:
    """Words of looks count as the probabilities of what they name."""
    seen = network.see(torch.rand(1, 3, 32, 48))
    held = network.hold(seen, BOXES)
    aspects = torch.zeros_like(held.aspects)
    aspects[0, 0, ASPECTS["colour"].index("red")] = 8
    aspects[0, 1, ASPECTS["colour"].index("blue")] = 8
    held = type(held)(aspects, held.tokens)
    found = network.respond(
        seen, start(network, "the red disk", "the blue disk"), torch.zeros(2, dtype=torch.long), boxes=held
    )
    assert found.of_boxes.argmax(1).tolist() == [0, 1]


def test_a_part_of_the_cells_is_a_part_of_the_maps(network: LanguageNetwork) -> None:
    cells = torch.tensor([3, 17, 20])
    seen = network.see(torch.rand(1, 3, 32, 48))
    found = network.respond(seen, start(network, "red"), cells=cells)
    assert found.match.shape == (1, 3)
    x = found.boxes[0, :, [0, 2]].mean(1) * 6
    assert (x.floor().long() == cells % 6).all()


def test_a_template_matters_where_it_is_given(network: LanguageNetwork) -> None:
    seen = network.see(torch.rand(2, 3, 32, 48))
    words = start(network, "red", "red")
    template = network.template_tokens(seen, BOXES[0])
    other = network.template_tokens(seen, BOXES[0].flip(0))
    given = torch.tensor([True, False])
    a, b = (network.respond(seen, words, template=one, given=given).match for one in (template, other))
    assert not torch.allclose(a[0], b[0])
    torch.testing.assert_close(a[1], b[1])


def test_motion_is_seen_only_where_the_image_before_is_known(network: LanguageNetwork) -> None:
    image = torch.rand(1, 3, 32, 48)
    unknown = network.hold(network.see(image), BOXES).aspects
    moved = network.hold(network.see(image, image.roll(3, 3)), BOXES).aspects
    again = network.hold(network.see(image, image.roll(3, 3), torch.tensor([False])), BOXES).aspects
    assert not torch.allclose(unknown, moved)
    torch.testing.assert_close(unknown, again)

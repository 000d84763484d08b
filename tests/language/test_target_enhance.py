"""The target-enhance module."""

from __future__ import annotations

import torch

from scenegraph_track.language.target_enhance import TargetEnhance


def made(words: int = 3, template: int = 2) -> tuple[TargetEnhance, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    module = TargetEnhance(8, 6, 2)
    spoken = torch.ones(2, words, dtype=torch.bool)
    return module, (torch.randn(2, 5, 8), torch.randn(2, template, 8), torch.randn(2, words, 6), spoken)


def test_shapes_and_range_of_the_gate() -> None:
    module, given = made()
    out = module(*given)
    assert out.search.shape == (2, 5, 8) and out.template.shape == (2, 2, 8) and out.gate.shape == (2, 5)
    assert bool(((out.gate >= 0) & (out.gate <= 1)).all())


def test_words_behind_the_end_change_nothing() -> None:
    module, (search, template, words, spoken) = made()
    spoken[:, 2] = False
    other = words.clone()
    other[:, 2] += 10
    one, two = (module(search, template, said, spoken).search for said in (words, other))
    torch.testing.assert_close(one, two)


def test_other_words_change_the_search_tokens() -> None:
    module, (search, template, words, spoken) = made()
    one, other = (module(search, template, said, spoken).search for said in (words, words.flip(0)))
    assert not torch.allclose(one, other)


def test_a_template_that_is_not_given_changes_nothing() -> None:
    module, (search, template, words, spoken) = made()
    given = torch.tensor([True, False])
    one = module(search, template, words, spoken, given).search
    other = module(search, template + torch.randn(8), words, spoken, given).search
    torch.testing.assert_close(one[1], other[1])
    assert not torch.allclose(one[0], other[0])


def test_it_does_without_any_template() -> None:
    module, (search, _, words, spoken) = made()
    assert module(search, search.new_zeros(2, 0, 8), words, spoken).template.shape == (2, 0, 8)

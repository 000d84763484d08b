"""The semantic-aware module."""

from __future__ import annotations

import torch

from scenegraph_track.language.semantic_aware import SemanticAware


def test_relevance_is_shared_out_among_the_words_that_there_are() -> None:
    torch.manual_seed(0)
    module = SemanticAware(6, 8, 2)
    spoken = torch.tensor([[True, True, True], [True, True, False]])
    words, relevance = module(
        torch.randn(2, 3, 6), spoken, torch.randn(2, 5, 8), torch.randn(2, 2, 8), torch.rand(2, 5)
    )
    assert words.shape == (2, 3, 6)
    torch.testing.assert_close(relevance.sum(1), torch.ones(2))
    assert relevance[1, 2] == 0


def test_words_depend_on_what_is_seen_but_not_behind_a_closed_gate() -> None:
    torch.manual_seed(0)
    module = SemanticAware(6, 8, 2)
    spoken, words = torch.ones(1, 3, dtype=torch.bool), torch.randn(1, 3, 6)
    seen, none = torch.randn(2, 1, 5, 8), torch.zeros(1, 0, 8)
    opened = [module(words, spoken, one, none, torch.ones(1, 5))[0] for one in seen]
    closed = [module(words, spoken, one, none, torch.zeros(1, 5))[0] for one in seen]
    assert not torch.allclose(*opened)
    torch.testing.assert_close(*closed)

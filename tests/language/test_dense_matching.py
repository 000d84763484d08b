"""The dense matching loss."""

from __future__ import annotations

import pytest
import torch

from scenegraph_track.language.dense_matching import DenseMatching
from scenegraph_track.language.synchronous import Fused, Words


def stages(search: torch.Tensor, words: torch.Tensor) -> list[Fused]:
    spoken = torch.ones(words.shape[:2], dtype=torch.bool)
    one = Fused(search, Words(words, spoken), torch.ones(search.shape[:2]), spoken.float())
    return [one, one]


def agreeing() -> tuple[DenseMatching, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two sentences whose tokens lie where the first token of each image does."""
    matching = DenseMatching(4, 4, 2, width=4)
    with torch.no_grad():
        for layer in (*matching.visual, *matching.textual):
            layer.weight.copy_(torch.eye(4))
            layer.bias.zero_()
    directions = torch.eye(4)
    search = torch.stack([directions[[0, 2, 3]], directions[[1, 2, 3]]])
    target = torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])
    return matching, search, directions[[0, 1]][:, None], target


def test_agreement_costs_less_than_swapped_sentences() -> None:
    matching, search, words, target = agreeing()
    same = torch.eye(2, dtype=torch.bool)
    right = matching.loss(stages(search, words), target, same)
    wrong = matching.loss(stages(search, words.flip(0)), target, same)
    assert right["dm_bce"] < wrong["dm_bce"]
    assert right["dm_nce"] < 0.01 < wrong["dm_nce"]


def test_similarity_is_the_cosine_over_the_temperature() -> None:
    matching, search, words, _ = agreeing()
    torch.testing.assert_close(matching.similarity(0, stages(search, words)[0])[0], torch.tensor([1 / 0.07, 0, 0]))


def test_targets_of_which_a_sentence_is_true_too_are_no_negatives() -> None:
    matching, search, words, target = agreeing()
    search = search[[0, 0]]
    told = matching.loss(stages(search, words[[0, 0]]), target, torch.ones(2, 2, dtype=torch.bool))
    untold = matching.loss(stages(search, words[[0, 0]]), target, torch.eye(2, dtype=torch.bool))
    assert told["dm_nce"].item() == pytest.approx(0, abs=1e-5)
    assert untold["dm_nce"].item() == pytest.approx(0.693, abs=1e-2)


def test_sentences_about_nothing_still_push_tokens_away() -> None:
    matching, search, words, target = agreeing()
    found = matching.loss(stages(search, words), torch.zeros_like(target), torch.eye(2, dtype=torch.bool))
    assert found["dm_nce"] == 0 and found["dm_bce"] > 0

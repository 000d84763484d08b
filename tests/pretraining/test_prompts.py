"""Scores of tokens by formula, prompts of the best, and where they lie."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.pretraining.prompts import (
    PromptTokens,
    cells_inside,
    reference_attention,
    share_inside,
    token_scores,
    top_tokens,
)


def _maps(seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(2, 4, 5, generator=draw) * 0.3 + 0.1, torch.rand(2, 4, 5, generator=draw)


def _unit(attention: Tensor) -> Tensor:
    return torch.stack([(a - a.min()) / (a.max() - a.min()) for a in attention])


def test_cells_within_a_box_and_that_of_its_middle() -> None:
    boxes = torch.tensor([[0.2, 0.0, 0.7, 0.5], [0.51, 0.26, 0.55, 0.3], [0.9, 0.9, 1.6, 1.8]])
    inside = cells_inside(boxes, (4, 4))
    assert inside[0].nonzero().tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
    assert inside[1].nonzero().tolist() == [[1, 2]], "a box smaller than a cell is still somewhere"
    assert inside[2].nonzero().tolist() == [[3, 3]]
    assert cells_inside(boxes, (2, 8))[0].nonzero().tolist() == [[0, 2], [0, 3], [0, 4], [0, 5]]


def test_attention_of_the_target_is_a_mean_over_heads_and_its_tokens() -> None:
    attention = torch.rand(2, 3, 2 + 4, 4, 5)
    inside = torch.tensor([[[[1, 0], [0, 1]]], [[[0, 1], [0, 0]]]], dtype=torch.bool)
    found = reference_attention(attention, inside)
    torch.testing.assert_close(found[0], attention[0, :, [2, 5]].mean((0, 1)))
    torch.testing.assert_close(found[1], attention[1, :, 3].mean(0))
    queried = reference_attention(attention, inside, queries=1)
    torch.testing.assert_close(queried[0], attention[0, :, [0, 2, 5]].mean((0, 1)))
    torch.testing.assert_close(queried[1], attention[1, :, [0, 3]].mean((0, 1)))


def test_scores_by_their_formulas() -> None:
    attention, classes = _maps()
    a = _unit(attention)
    torch.testing.assert_close(token_scores(attention, classes), a * classes)
    torch.testing.assert_close(token_scores(attention, classes, "log_sum").exp(), (a + 0.1) * (classes + 0.1))
    assert torch.equal(token_scores(attention, classes, "classification"), classes)
    torch.testing.assert_close(token_scores(attention, classes, "attention"), a)
    with pytest.raises(UserError, match="expected one of product, log_sum, correlation"):
        token_scores(attention, classes, "sum")  # type: ignore[arg-type]


def test_correlation_by_a_double_sum() -> None:
    attention, classes = _maps(1)
    a, found = _unit(attention), token_scores(attention, classes, "correlation")
    for sample in range(2):
        peak = divmod(int(a[sample].argmax()), 5)
        for row in range(4):
            for column in range(5):
                total = 0.0
                for y in range(4):
                    for x in range(5):
                        v, u = row + y - peak[0], column + x - peak[1]
                        if 0 <= v < 4 and 0 <= u < 5:
                            total += (a[sample, y, x] * classes[sample, v, u]).item()
                assert found[sample, row, column].item() == pytest.approx(total, rel=1e-5)


def test_correlation_with_a_point_leaves_the_classes_where_they_are() -> None:
    attention, classes = torch.zeros(2, 4, 5), _maps()[1]
    attention[0, 0, 0] = attention[1, 3, 2] = 0.4
    torch.testing.assert_close(token_scores(attention, classes, "correlation"), classes)


def test_random_scores_follow_their_generator_and_nothing_else() -> None:
    attention, classes = _maps()
    draws = [
        token_scores(a, c, "random", generator=torch.Generator().manual_seed(3))
        for a, c in ((attention, classes), (classes, attention))
    ]
    assert torch.equal(draws[0], draws[1]) and draws[0].std() > 0.1


@pytest.mark.parametrize("kind", ["product", "log_sum", "correlation", "classification", "attention", "random"])
def test_eliminated_tokens_are_never_chosen_and_scores_have_no_gradient(kind: str) -> None:
    attention, classes = _maps()
    kept = torch.zeros(2, 4, 5, dtype=torch.bool)
    kept[0, 1], kept[1, :, 2] = True, True
    scores = token_scores(attention.requires_grad_(), classes.requires_grad_(), kind, kept)  # type: ignore[arg-type]
    assert not scores.requires_grad
    assert sorted(top_tokens(scores, 4)[1].tolist()) == [2, 7, 12, 17]
    assert set(top_tokens(scores, 4)[0].tolist()) <= {5, 6, 7, 8, 9}
    with pytest.raises(UserError, match="expected from 1 to 4 tokens of a view, found 5"):
        top_tokens(scores, 5)


def test_flat_attention_counts_nothing() -> None:
    classes = _maps()[1]
    assert (token_scores(torch.full_like(classes, 0.05), classes) == 0).all()


def _twins() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A target and its twin of equal class; attention is on the target, and a little on the twin and on clutter."""
    target, twin = torch.tensor([[0.125, 0.125, 0.5, 0.375]]), torch.tensor([[0.5, 0.625, 0.875, 0.875]])
    on, off = cells_inside(target, (8, 8)), cells_inside(twin, (8, 8))
    draw = torch.Generator().manual_seed(0)
    classes = 0.05 + 0.7 * (on | off) + 0.1 * torch.rand(1, 8, 8, generator=draw)
    attention = 0.01 + 0.05 * on + 0.02 * off + 0.02 * torch.rand(1, 8, 8, generator=draw)
    return target, on, attention, classes


def test_attention_times_class_tells_a_target_from_its_twin_better_than_class_alone() -> None:
    target, on, attention, classes = _twins()
    assert on.sum() == 6
    share = {
        kind: share_inside(top_tokens(token_scores(attention, classes, kind), 6), target, (8, 8)).item()
        for kind in ("product", "classification", "random")
    }
    assert share["product"] == 1 and share["classification"] < 0.7 and share["random"] < 0.5


def test_prompts_are_the_features_of_the_best_tokens_without_gradient() -> None:
    attention, classes = _maps()
    features = torch.randn(2, 6, 4, 5, requires_grad=True)
    prompts = PromptTokens(6, 3)
    with torch.no_grad():
        prompts.type_token.fill_(0.5)
    found = prompts(features, attention, classes)
    order = (_unit(attention) * classes).flatten(1).argsort(1, descending=True)[:, :3]
    assert torch.equal(found.index, order)
    for sample in range(2):
        wanted = features[sample].flatten(1)[:, order[sample]].T + 0.5
        torch.testing.assert_close(found.tokens[sample], wanted)
    found.tokens.sum().backward()
    assert features.grad is None and prompts.type_token.grad.tolist() == [[[6.0] * 6]]


def test_prompts_that_know_nothing_are_the_same_for_all_frames_and_are_learned() -> None:
    prompts = PromptTokens(6, 3, semantic=False)
    found = prompts(torch.randn(2, 6, 4, 5), *_maps())
    assert found.index is None and found.tokens.shape == (2, 3, 6) and torch.equal(found.tokens[0], found.tokens[1])
    assert torch.equal(found.tokens, prompts(torch.randn(2, 6, 4, 5), *_maps(5)).tokens)
    found.tokens.sum().backward()
    assert (prompts.learned.grad == 2).all()


def test_share_of_tokens_in_a_box() -> None:
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])
    assert share_inside(torch.tensor([[0, 1, 4, 15], [0, 1, 4, 15]]), boxes, (4, 4)).tolist() == [0.75, 0.25]

"""Background of other sequences, the decoder that attends to it, and when it takes the place of prompts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from scenegraph_track.errors import UserError
from scenegraph_track.pretraining.noise import NoiseDecoder, NoiseSchedule, background_tokens, of_other_sequences
from scenegraph_track.target.heads import CentreMaps


class _Head(nn.Module):
    def forward(self, features: Tensor) -> CentreMaps:
        return CentreMaps(features.mean(1), features[:, :2], features[:, 2:4])


def _numbered(batch: int = 1) -> Tensor:
    """Features (batch, 1, 6, 6) that are the number of their token."""
    return torch.arange(36.0).view(1, 1, 6, 6).repeat(batch, 1, 1, 1)


def test_the_hard_switch() -> None:
    schedule = NoiseSchedule.of(50)
    assert [schedule.probability(epoch) for epoch in (0, 20, 21, 50)] == [0, 0, 1, 1]
    assert not any(schedule.noisy(20) for _ in range(20)) and all(schedule.noisy(21) for _ in range(20))
    assert NoiseSchedule.of(50, 0.2).probability(11) == 1


def test_the_soft_switch() -> None:
    schedule = NoiseSchedule(10, 30)
    assert [schedule.probability(epoch) for epoch in (0, 10, 15, 20, 30, 99)] == [0, 0, 0.25, 0.5, 1, 1]
    draw = torch.Generator().manual_seed(0)
    assert sum(schedule.noisy(15, draw) for _ in range(400)) == pytest.approx(100, abs=25)
    with pytest.raises(UserError, match="behind the first"):
        NoiseSchedule(10, 10)


def test_background_is_drawn_evenly_from_low_scores_outside_of_the_larger_box() -> None:
    score = torch.full((1, 6, 6), 0.05)
    score[0, 0] = 0.1
    boxes = torch.tensor([[0.42, 0.42, 0.58, 0.58]])  # middles of the four cells around are at 0.417 and 0.583
    larger = {row * 6 + column for row in range(1, 5) for column in range(1, 5)}
    allowed = set(range(6, 36)) - larger
    draw, counts = torch.Generator().manual_seed(0), torch.zeros(36)
    for _ in range(300):
        tokens = background_tokens(_numbered(), score, boxes, 4, dilation=4.0, generator=draw)
        assert tokens.shape == (1, 4, 1) and len(set(tokens.flatten().tolist())) == 4
        counts[tokens.flatten().long()] += 1
    assert {int(token) for token in counts.nonzero()} == allowed
    assert counts[sorted(allowed)].min() > 0.6 * 1200 / len(allowed)
    small = background_tokens(_numbered(), score, boxes, 26, generator=draw).flatten().long().tolist()
    assert set(small) == set(range(6, 36)) - {14, 15, 20, 21}


def test_where_there_is_too_little_background_lowest_scores_fill_up_from_outside_first() -> None:
    score = torch.linspace(0.2, 0.9, 36).view(1, 6, 6)
    score[0, 5, 5] = 0.01
    boxes = torch.tensor([[0.0, 0.0, 2 / 3, 1 / 6]])
    found = background_tokens(_numbered(), score, boxes, 4, dilation=1.0)
    assert sorted(found.flatten().tolist()) == [4, 5, 6, 35]


def test_eliminated_tokens_are_no_background() -> None:
    kept = torch.zeros(2, 6, 6, dtype=torch.bool)
    kept[:, 0] = True
    score, boxes = torch.zeros(2, 6, 6), torch.tensor([[0.9, 0.9, 1.0, 1.0]] * 2)
    features = _numbered(2).requires_grad_()
    found = background_tokens(features, score, boxes, 6, kept=kept)
    assert not found.requires_grad and sorted(found[1].flatten().tolist()) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(UserError, match="from 1 to 6 tokens"):
        background_tokens(features, score, boxes, 7, kept=kept)


def test_no_sequence_gets_its_own_background() -> None:
    tokens, shifts = torch.arange(5.0)[:, None, None].expand(5, 8, 3), set()
    draw = torch.Generator().manual_seed(0)
    for _ in range(60):
        moved = of_other_sequences(tokens, draw)[:, 0, 0]
        assert (moved != tokens[:, 0, 0]).all() and sorted(moved.tolist()) == [0, 1, 2, 3, 4]
        shifts.add(int(moved[0]))
    assert shifts == {1, 2, 3, 4}
    with pytest.raises(UserError, match="at least 2 sequences"):
        of_other_sequences(tokens[:1])


def test_the_decoder_by_hand() -> None:
    torch.manual_seed(0)
    decoder = NoiseDecoder(8, _Head(), heads=1).double()
    features, noise = torch.randn(2, 8, 3, 4, dtype=torch.float64), torch.randn(2, 5, 8, dtype=torch.float64)
    tokens = features.flatten(2).transpose(1, 2)
    weight, bias = decoder.attention.in_proj_weight, decoder.attention.in_proj_bias
    q = decoder.norm1(tokens) @ weight[:8].T + bias[:8]
    k, v = (noise @ weight[s : s + 8].T + bias[s : s + 8] for s in (8, 16))
    tokens = tokens + decoder.attention.out_proj((q @ k.transpose(1, 2) / 8**0.5).softmax(-1) @ v)
    tokens = tokens + decoder.mlp(decoder.norm2(tokens))
    wanted = tokens.transpose(1, 2).view(2, 8, 3, 4)
    found = decoder(features, noise)
    torch.testing.assert_close(found.score, wanted.mean(1))
    torch.testing.assert_close(torch.cat([found.size, found.offset], 1), wanted[:, :4])


def test_its_loss_reaches_features_and_decoder_but_not_the_noise() -> None:
    torch.manual_seed(0)
    decoder, features = NoiseDecoder(6, _Head()), torch.randn(2, 6, 6, 6, requires_grad=True)
    noise = of_other_sequences(
        background_tokens(features, torch.zeros(2, 6, 6), torch.tensor([[0.2, 0.2, 0.5, 0.5]] * 2))
    )
    decoder(features, noise).score.square().sum().backward()
    assert features.grad.abs().max() > 0 and all(p.grad.abs().max() > 0 for p in decoder.parameters())

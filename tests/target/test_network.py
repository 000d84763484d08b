"""The network of target models: many targets share one feature map, and what its options do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scenegraph_track.errors import UserError
from scenegraph_track.target.backbone import ResidualBackbone
from scenegraph_track.target.memory import TargetMemory, memory_tokens
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.target.predictor import MemoryTokens

TINY = {"channels": (4, 6, 8), "blocks": (1, 1), "dim": 8, "layers": 1, "decoder_layers": 1, "hidden": 8, "view": 32}


def network(**options) -> TargetNetwork:
    torch.manual_seed(0)
    net = TargetNetwork(TargetNetSettings(**{**TINY, "tower": 8, **options})).eval()
    nn.init.normal_(net.tower.out.weight, std=0.3)
    return net


def images(count: int = 1, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def memory(net: TargetNetwork, count: int) -> MemoryTokens:
    """Memories of targets with one view or with two."""
    found = []
    for k, features in enumerate(net.features(images(count, seed=1))):
        one = TargetMemory.started(features, torch.tensor([8.0 + k, 6, 20, 22]))
        found.append(one.added(features.flip(-1), one.boxes[0] + 2, 2) if k % 2 else one)
    return memory_tokens(found, net.stride, net.unit, net.settings.sigma)


def rows(tokens: MemoryTokens, chosen: slice) -> MemoryTokens:
    parts = (tokens.features, tokens.labels, tokens.ltrb, tokens.valid, tokens.given)
    return MemoryTokens(*(part[chosen] for part in parts))


@torch.no_grad()
@pytest.mark.parametrize("sees", [False, True])
def test_targets_that_share_a_frame_give_the_same_as_one_by_one(sees: bool) -> None:
    net = network(sees_current=sees)
    tokens, frame = memory(net, 5), net.features(images(side=56, seed=2))
    current = frame[0] if sees else None
    together = net.respond(net.filters(tokens, current), frame)
    assert together.score.shape == (5, 7, 7) and together.ltrb.shape == (5, 4)
    assert together.score.std(0).max() > 1e-3  # targets differ
    for k in range(5):
        alone = net.respond(net.filters(rows(tokens, slice(k, k + 1)), current), frame)
        assert torch.allclose(alone.score[0], together.score[k], atol=1e-5)
        assert torch.allclose(alone.ltrb[0], together.ltrb[k], rtol=1e-4)


@torch.no_grad()
def test_the_box_at_the_peak_is_that_of_the_whole_map() -> None:
    net = network()
    filters, frame = net.filters(memory(net, 4)), net.features(images(side=56, seed=3))
    found, dense = net.respond(filters, frame), net.distances(filters, frame)
    assert torch.allclose(found.ltrb, dense.flatten(2)[torch.arange(4), :, found.cells], rtol=1e-4)
    assert torch.equal(found.peaks, found.score.flatten(1).amax(1))


@torch.no_grad()
def test_a_prior_moves_the_peak_and_leaves_the_scores() -> None:
    net = network()
    net.bias.fill_(5.0)
    filters, frame = net.filters(memory(net, 2)), net.features(images())
    prior = torch.zeros(4, 4)
    prior[3, 1] = 1
    plain, moved = net.respond(filters, frame), net.respond(filters, frame, prior)
    assert moved.cells.tolist() == [13, 13] and torch.equal(plain.score, moved.score)


@torch.no_grad()
def test_box_filters_of_given_views_alone() -> None:
    """What the tracker added itself then changes the scores only."""
    net = network()
    tokens = memory(net, 2)  # the second target has added a view
    usual, careful = net.filters(tokens), net.filters(tokens, boxes_from_given=True)
    assert torch.equal(usual.classification, careful.classification)
    alone = net.filters(
        memory_tokens([TargetMemory.started(tokens.features[1, 0], torch.tensor([9.0, 6, 20, 22]))], 8, 32.0, 0.9)
    )
    assert torch.allclose(careful.box[1:], alone.box, atol=1e-5)
    assert not torch.allclose(usual.box[1], careful.box[1], atol=1e-3)
    assert torch.allclose(usual.box[0], careful.box[0], atol=1e-6)


@torch.no_grad()
def test_scores_may_be_probabilities() -> None:
    net = network(probabilities=True)
    score = net.scores(net.filters(memory(net, 3)), net.features(images()))
    assert (score > 0).all() and (score < 0.5).all()  # rare before training


def test_every_weight_learns() -> None:
    net = network().train()
    filters = net.filters(memory(net, 3))
    found = net.features(images(3, seed=4))
    (net.scores(filters, found).square().sum() + net.distances(filters, found).sum()).backward()
    missing = [name for name, weight in net.named_parameters() if weight.grad is None]
    assert not missing


def test_the_backbone_pads_images_to_whole_cells() -> None:
    backbone = ResidualBackbone((4, 6, 8), (1, 2)).eval()
    assert backbone.features(images(2, 30)).shape == (2, 8, 4, 4)
    with pytest.raises(UserError, match="expected RGB images"):
        backbone(torch.zeros(1, 1, 8, 8))
    with pytest.raises(UserError, match="3 numbers of channels"):
        ResidualBackbone((4, 6), (1, 2))


def test_any_backbone_of_timm() -> None:
    pytest.importorskip("timm")
    net = network(backbone="resnet10t", backbone_layers=(2,), train_backbone=False)
    assert net.stride == 8 and not any(w.requires_grad for w in net.backbone.parameters())
    assert net.features(images()).shape == (1, 8, 4, 4)
    mine = network(backbone="embedded")
    assert TargetNetwork(mine.settings, backbone=net.backbone).stride == 8


def test_it_is_small() -> None:
    assert 3e5 < sum(weight.numel() for weight in TargetNetwork().parameters()) < 1.2e6

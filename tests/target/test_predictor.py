"""The predictor of filters: what it depends on, and what it must not depend on."""

from __future__ import annotations

import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.target.labels import gaussian_maps, ltrb_maps
from scenegraph_track.target.predictor import AttentionLayer, MemoryTokens, TargetModelPredictor, sine_positions

BOX = torch.tensor([8.0, 10, 24, 22])


def tokens(targets: int = 2, views: int = 2, dim: int = 8, size: tuple[int, int] = (4, 5)) -> MemoryTokens:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(targets, views, dim, *size, generator=generator)
    boxes = BOX + torch.arange(targets * views).view(targets, views, 1)
    flags = torch.ones(targets, views, dtype=torch.bool)
    return MemoryTokens(features, gaussian_maps(boxes, size, 8, 0.9), ltrb_maps(boxes, size, 8, 32.0), flags, flags)


def predictor(**options) -> TargetModelPredictor:
    torch.manual_seed(0)
    return TargetModelPredictor(8, heads=2, hidden=16, **{"from_mean": False, **options}).eval()


def rows(memory: MemoryTokens, chosen: slice) -> MemoryTokens:
    parts = (memory.features, memory.labels, memory.ltrb, memory.valid, memory.given)
    return MemoryTokens(*(part[chosen] for part in parts))


def changed(memory: MemoryTokens, **parts: torch.Tensor) -> MemoryTokens:
    return MemoryTokens(**{name: parts.get(name, getattr(memory, name)) for name in MemoryTokens.__dataclass_fields__})


def test_a_batch_of_targets_gives_the_same_as_one_by_one() -> None:
    net, memory = predictor(), tokens(3)
    together = net(memory)
    for k in range(3):
        alone = net(rows(memory, slice(k, k + 1)))
        assert torch.allclose(together.classification[k], alone.classification[0], atol=1e-6)
        assert torch.allclose(together.box[k], alone.box[0], atol=1e-6)
        assert torch.allclose(together[k : k + 1].box, alone.box, atol=1e-6)


def test_views_that_are_not_there_do_not_count() -> None:
    net, memory = predictor(), tokens()
    valid = torch.tensor([[True, True], [True, False]])
    noise = memory.features.clone()
    noise[1, 1] = 1e3
    a, b = net(changed(memory, valid=valid)), net(changed(memory, valid=valid, features=noise))
    assert torch.allclose(a.classification, b.classification, atol=1e-5)
    assert not torch.allclose(a.classification, net(memory).classification, atol=1e-3)
    alone = net(changed(rows(memory, slice(1, 2)), **{k: getattr(memory, k)[1:, :1] for k in memory.__dict__}))
    assert torch.allclose(a.classification[1:], alone.classification, atol=1e-5)
    masked = net(memory, allowed=valid)
    assert torch.equal(masked.box, a.box)


@pytest.mark.parametrize("sees", [False, True])
def test_filters_begin_as_the_mean_of_what_was_labelled(sees: bool) -> None:
    """Valid views count by their labels; before training the transformer adds little."""
    net, memory = predictor(from_mean=True, sees_current=sees), tokens()
    for head in (net.classification, net.box):
        torch.nn.init.zeros_(head.weight)
    valid = torch.tensor([[True, True], [True, False]])
    found = net(changed(memory, valid=valid), memory.features[0, 0] if sees else None)
    weight = memory.labels * valid[..., None, None]
    mean = (memory.features * weight[:, :, None]).sum((1, 3, 4)) / weight.sum((1, 2, 3))[:, None] / 8
    assert torch.equal(found.classification, found.box)
    assert torch.allclose(found.box, mean, atol=1e-6) != sees  # else of features as the encoder sees them


@pytest.mark.parametrize("part", ["features", "labels", "ltrb"])
def test_all_that_is_remembered_matters(part: str) -> None:
    net, memory = predictor(), tokens()
    other = changed(memory, **{part: getattr(memory, part).flip(-1)})
    assert not torch.allclose(net(memory).classification, net(other).classification, atol=1e-4)


def test_with_the_current_features() -> None:
    """They change the filters, come back as each target sees them, and one shared map is as good as a copy for each."""
    net, memory = predictor(sees_current=True), tokens()
    current = torch.randn(8, 6, 3, generator=torch.Generator().manual_seed(1))
    found = net(memory, current)
    assert found.features is not None and found.features.shape == (2, 8, 6, 3)
    assert not torch.allclose(found.features[0], found.features[1], atol=1e-3)
    copies = net(memory, current.expand(2, -1, -1, -1))
    assert torch.allclose(found.classification, copies.classification, atol=1e-6)
    assert torch.allclose(found.features, copies.features, atol=1e-6)
    assert not torch.allclose(found.classification, net(memory, -current).classification, atol=1e-4)
    assert found.repeated(2).features.shape == (4, 8, 6, 3)


def test_current_features_only_where_they_are_wanted() -> None:
    memory = tokens()
    with pytest.raises(UserError, match="expected current features"):
        predictor(sees_current=True)(memory)
    with pytest.raises(UserError, match="expected no current features"):
        predictor()(memory, memory.features[0, 0])
    with pytest.raises(UserError, match="multiple of 4"):
        TargetModelPredictor(10, heads=2)


def test_every_weight_learns() -> None:
    for sees in (False, True):
        net, memory = predictor(sees_current=sees), tokens()
        found = net(memory, memory.features[:, 0] if sees else None)
        total = found.classification.square().sum() + found.box.square().sum()
        if found.features is not None:
            total = total + found.features.square().sum()
        total.backward()
        missing = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert not missing


def test_gradients_of_a_layer_are_those_of_differences() -> None:
    torch.manual_seed(0)
    layer = AttentionLayer(4, 2, 6).double()
    own, seen = torch.randn(1, 2, 4, dtype=torch.float64), torch.randn(1, 3, 4, dtype=torch.float64)
    allowed = torch.tensor([[True, False, True]])
    inputs = [own.requires_grad_(), seen.requires_grad_()]
    assert torch.autograd.gradcheck(lambda a, b: layer(a, b, allowed), inputs)
    assert torch.autograd.gradcheck(lambda a: layer(a), [own])


def test_positions_count_from_the_middle() -> None:
    """Two grids have the same positions round their middles, and no two cells the same."""
    small, large = sine_positions(3, 5, 16, BOX), sine_positions(7, 5, 16, BOX)
    assert torch.allclose(small.view(3, 5, 16), large.view(7, 5, 16)[2:5], atol=1e-5)
    apart = torch.cdist(large, large) + torch.eye(35) * 9
    assert apart.min() > 0.1


def test_repeated_targets_stand_side_by_side() -> None:
    memory = tokens()
    twice = memory.repeated(2)
    assert len(twice) == 4 and torch.equal(twice.features[1], memory.features[0])
    assert torch.equal(predictor()(memory).repeated(2).box[2], predictor()(memory).box[1])

"""Target models as predictors that JEPA trains: where the corruption goes, and predictors that stay in the network."""

from __future__ import annotations

import pytest
import torch

from scenegraph_track.pretraining.corruption import CorruptionSettings
from scenegraph_track.pretraining.jepa_target import TargetWeights, corrupted_features, newest_replaced, newest_views
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.target.predictor import MemoryTokens

SMALL = {"channels": (8, 8, 8), "blocks": (0, 0), "dim": 8, "layers": 1, "decoder_layers": 1, "hidden": 8, "tower": 8}
BOXES = torch.tensor([[[8.0, 8.0, 24.0, 24.0]] * 2] * 3)
VALID = torch.tensor([[True, True], [True, False], [True, True]])


def network(**options) -> TargetNetwork:
    torch.manual_seed(0)
    return TargetNetwork(TargetNetSettings(**SMALL, **options)).eval()


def history(net: TargetNetwork) -> MemoryTokens:
    torch.manual_seed(1)
    return net.tokens(torch.randn(3, 2, 8, 4, 4), BOXES, VALID)


def test_the_newest_view_of_each_target_is_replaced_and_no_other() -> None:
    before, features = history(network()), torch.full((3, 8, 4, 4), 7.0)
    after = newest_replaced(before, features)
    replaced = (after.features == 7).flatten(2).all(2)
    assert replaced.tolist() == [[False, True], [True, False], [False, True]]
    assert torch.equal(after.features[~replaced], before.features[~replaced])
    assert torch.equal(after.labels, before.labels) and torch.equal(after.valid, before.valid)
    assert torch.equal(newest_views(after.features, VALID), features)


@torch.no_grad()
def test_weights_are_the_filters_and_predictors_are_what_the_network_applies() -> None:
    net = network(refined=True)
    torch.nn.init.normal_(net.refine.box.second.weight)
    known = TargetWeights(net)
    raw = known.weights(history(net), None)
    assert {name: tuple(value.shape) for name, value in raw.items()} == {"classification": (3, 8), "box": (3, 8)}
    found, used = known.predicted(raw), net.filters(history(net))
    assert torch.equal(found["box"], used.box) and torch.equal(found["classification"], used.classification)
    assert not torch.equal(raw["box"], used.box)
    plain = TargetWeights(network())
    weights = plain.weights(history(plain.network), None)
    assert plain.predicted(weights) is weights


@torch.no_grad()
def test_a_network_without_predictors_has_no_weights_for_them_and_new_ones_change_nothing() -> None:
    plain, refined = network(), network(refined=True)
    own = {name: value for name, value in refined.state_dict().items() if not name.startswith("refine.")}
    assert plain.state_dict().keys() == own.keys()
    refined.load_state_dict({**refined.state_dict(), **plain.state_dict()})
    one, other = plain.filters(history(plain)), refined.filters(history(plain))
    assert torch.equal(one.classification, other.classification) and torch.equal(one.box, other.box)


def test_a_backbone_that_is_not_trained_stays_as_it_is() -> None:
    net = network(train_backbone=False).train()
    assert not net.backbone.training and net.neck.training
    before = {name: value.clone() for name, value in net.backbone.state_dict().items()}
    loss = net.features(torch.rand(2, 3, 32, 32)).square().sum()
    loss.backward()
    assert all(torch.equal(value, before[name]) for name, value in net.backbone.state_dict().items())
    assert all(weight.grad is None for weight in net.backbone.parameters())
    assert all(weight.grad is not None for weight in net.neck.parameters())
    assert network().train().backbone.training


@pytest.mark.parametrize("kind", ["relocate", "occlude", "noise", "blur"])
def test_only_spoilt_images_are_looked_at_again(kind: str) -> None:
    torch.manual_seed(0)
    seen: list[torch.Tensor] = []
    images, features = torch.rand(3, 3, 32, 32), torch.randn(3, 8, 4, 4)
    settings = CorruptionSettings(relocated=(0.3, 0.3), hidden=(0.5, 0.5))

    def look(some: torch.Tensor) -> torch.Tensor:
        seen.append(some)
        return features + 1

    found = corrupted_features(features, images, BOXES[:, 0], kind, settings, look)
    if kind == "relocate":
        assert not seen and not torch.equal(found, features)
        assert torch.allclose(found.sum((2, 3)), features.sum((2, 3)), atol=1e-5)
    else:
        assert len(seen) == 1 and not torch.equal(seen[0], images) and torch.equal(found, features + 1)

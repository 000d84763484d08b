"""Encoder and head together, and the query token from frame to frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scenegraph_track.target.heads import CentreMaps
from scenegraph_track.target.one_stream import OneStreamEncoder
from scenegraph_track.target.one_stream_network import OneStreamNetwork
from scenegraph_track.target.small_vit import SmallViT


class _Head(nn.Module):
    """Gives the mean of the features, and their first channels."""

    def forward(self, features: Tensor) -> CentreMaps:
        return CentreMaps(features.mean(1), features[:, :2], features[:, 2:4])


def _network(query: bool = False) -> OneStreamNetwork:
    torch.manual_seed(0)
    return OneStreamNetwork(OneStreamEncoder(SmallViT(48, 8, 24, 2, 3), 24, 48), _Head(), query)


def _views() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.rand(2, 1, 3, 24, 24, generator=draw), torch.rand(2, 3, 48, 48, generator=draw)


def test_without_a_query_the_head_sees_the_search_features() -> None:
    network, views, prompts = _network(), _views(), torch.randn(2, 4, 24)
    response, output = network(*views, prompts=prompts), network.encoder(*views, prompts)
    assert response.query is None and torch.equal(response.maps.score, output.search.mean(1))
    assert torch.equal(response.maps.size, output.search[:, :2]) and torch.equal(
        response.maps.offset, output.search[:, 2:4]
    )
    assert torch.equal(response.output.context, output.context)


def test_the_query_weights_the_features_and_comes_before_the_prompts() -> None:
    network, views, prompts = _network(True), _views(), torch.randn(2, 4, 24)
    response = network(*views, prompts=prompts)
    output = network.encoder(*views, torch.cat([network.query.expand(2, -1, -1), prompts], 1))
    weights = (output.search * output.context[:, 0, :, None, None]).sum(1)
    torch.testing.assert_close(response.maps.score, (output.search * weights[:, None]).mean(1))
    assert torch.equal(response.query, output.context[:, :1])


def test_the_next_query_starts_from_the_last_and_no_gradient_goes_back() -> None:
    network, views = _network(True), _views()
    previous = torch.randn(2, 1, 24, requires_grad=True)
    response = network(*views, query=previous)
    begun = network.encoder(*views, network.query + previous).context
    torch.testing.assert_close(response.query, begun)
    assert not torch.allclose(response.query, network(*views).query)
    response.maps.score.sum().backward()
    assert previous.grad is None and network.query.grad.abs().max() > 0


def test_by_default_it_has_a_centre_head_whose_boxes_have_gradients_for_all_weights() -> None:
    torch.manual_seed(0)
    network = OneStreamNetwork(OneStreamEncoder(SmallViT(48, 8, 24, 2, 3), 24, 48), query=True).eval()
    boxes, scores = network(*_views()).maps.boxes()
    assert boxes.shape == (2, 4) and scores.shape == (2,)
    (boxes.square().sum() + scores.sum()).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in without if not name.endswith("prefix")] == []

"""The scene graph of a frame: sparse, differentiable, of any size, and able to learn relations."""

from __future__ import annotations

import pytest
import torch

from scenegraph_track.graph import (
    RelationHeads,
    SceneGraphConstructor,
    relation_loss,
    relations_from_boxes,
    spatial_edges,
)
from scenegraph_track.graph.constructor import edge_geometry

SIZE = torch.tensor([640.0, 480.0])


def boxes(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([600.0, 400.0])
    return torch.cat([corner, corner + 20 + 60 * torch.rand(count, 2, generator=generator)], 1)


def test_edges_are_few_symmetric_and_of_three_kinds() -> None:
    found = boxes(200)
    looks = torch.randn(200, 8)
    looks[199] = looks[0]  # alike although they may be far apart
    pairs = spatial_edges(found, looks, 4)
    ends = set(map(tuple, pairs.T.tolist()))
    assert len(ends) == pairs.shape[1] < 200 * 24
    assert all((j, i) in ends and i != j for i, j in ends) and (0, 199) in ends
    assert spatial_edges(found[:1]).shape == (2, 0) and spatial_edges(found[:2]).shape == (2, 2)


def test_geometry_by_hand() -> None:
    a, b = [0.0, 0, 20, 40], [10.0, 20, 30, 60]
    values = edge_geometry(torch.tensor([a, b]), torch.tensor([[0], [1]]), torch.tensor([4.0, 4.4]))[0]
    expected = [1 / 3, 1 / 3, 0, 0, 200 / 1400, 0.25, 0.25, 1 / 3, 0.0953, 0.957, 1]
    torch.testing.assert_close(values, torch.tensor(expected), atol=1e-3, rtol=0)


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_any_number_of_objects_with_and_without_each_cue(count: int) -> None:
    net = SceneGraphConstructor(16, 8, appearance_dim=4, keep=2)
    found, score = boxes(count), torch.rand(count)
    depth = torch.rand(count, 3) + 1
    depth[:1] = torch.nan
    for more in ({}, {"appearance": torch.randn(count, 4)}, {"depth": depth, "positions": torch.randn(count, 3)}):
        graph = net(found, score, score, SIZE, **more)
        edges = graph.edge_index.shape[1]
        assert graph.nodes.shape == (count, 16) and graph.edges.shape == (edges, 8)
        assert graph.relations.shape == (edges, 6) and graph.adjacency.shape == (edges,)
        assert all(torch.isfinite(part).all() for part in (graph.nodes, graph.edges, graph.relations))


def test_boxes_get_a_gradient_through_nodes_edges_and_a_sparse_adjacency() -> None:
    torch.manual_seed(0)
    net, found = SceneGraphConstructor(16, 8, keep=1), boxes(6).requires_grad_()
    graph = net(found, torch.ones(6), torch.ones(6), SIZE)
    assert (graph.adjacency == 0).any()
    graph.adjacency[graph.adjacency == 0].sum().backward()  # edges that were cut learn as well
    assert found.grad.abs().sum() > 0


@pytest.mark.parametrize("deep", [False, True])
def test_untrained_it_says_what_the_rules_say(deep: bool) -> None:
    found, depth = boxes(16), torch.rand(16, 3) + 1
    depth[:4] = torch.nan
    told = relations_from_boxes(found.double().numpy(), depth[:, 0].double().numpy() if deep else None)
    ends = torch.from_numpy(told["edge_index"])
    depths = depth if deep else None
    graph = SceneGraphConstructor(32, 16)(found, torch.ones(16), torch.ones(16), SIZE, depth=depths, edge_index=ends)
    expected = torch.from_numpy(told["relation"]).float()
    torch.testing.assert_close(graph.relations.sigmoid(), expected, atol=0.02, rtol=0)
    for said, rule in zip(graph.relations.T, expected.T, strict=True):  # and in the same order
        unsure = (rule > 1e-3) & (rule < 1 - 1e-3)
        assert (said[unsure][rule[unsure].argsort()].diff() > -1e-3).all()


def test_a_relation_that_is_not_believed_is_its_rule() -> None:
    torch.manual_seed(0)
    heads, stated = RelationHeads(8), 3 * torch.randn(20, 6)
    torch.nn.init.normal_(heads.net[-1].weight)
    edges = torch.randn(20, 8)
    heads.strength[:] = torch.tensor([0.0, 1, 0.5, 1, 1, 1])
    rule, said = RelationHeads(8)(edges, stated), heads(edges, stated)
    torch.testing.assert_close(said[:, 0], rule[:, 0])
    correction = heads.net(edges)
    torch.testing.assert_close(said[:, 1:3] - rule[:, 1:3], correction[:, 1:3] * torch.tensor([1, 0.5]))
    assert "strength" in heads.state_dict() and correction.abs().max() > 0.1


def test_relations_that_the_rules_do_not_say_are_learned() -> None:
    torch.manual_seed(0)
    net = SceneGraphConstructor(32, 16)
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)

    def loss(seed: int) -> torch.Tensor:
        found = boxes(16, seed)
        told = relations_from_boxes(found.double().numpy())
        ends = torch.from_numpy(told["edge_index"])
        graph = net(found, torch.ones(16), torch.ones(16), SIZE, edge_index=ends)
        middle = (found[:, :2] + found[:, 2:]) / 2
        truth = torch.from_numpy(told["relation"]).float()
        truth[:, 2:4] = (middle[ends[1]] - middle[ends[0]] > 0.1 * SIZE).float()  # left and above, but clearly
        return relation_loss(graph.relations, truth)

    before = float(loss(1000).detach())
    for step in range(80):
        optimiser.zero_grad()
        loss(step).backward()
        optimiser.step()
    assert float(loss(1000).detach()) < 0.6 * before
    logits = torch.zeros(2, 6)
    assert float(relation_loss(logits, torch.full((2, 6), torch.nan))) == 0


def test_exports_with_any_number_of_objects() -> None:
    net = SceneGraphConstructor(16, 8).eval()

    def inputs(count: int) -> tuple[torch.Tensor, ...]:
        found = boxes(count)
        return found, torch.rand(count), torch.rand(count), SIZE, None, None, None, spatial_edges(found)

    class Parts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, found, score, visibility, size, appearance, positions, depth, edge_index):
            graph = self.net(found, score, visibility, size, appearance, positions, depth, edge_index)
            return graph.nodes, graph.adjacency, graph.relations

    n, e = torch.export.Dim("objects", min=2), torch.export.Dim("edges", min=2)
    shapes = ({0: n}, {0: n}, {0: n}, None, None, None, None, {1: e})
    program = torch.export.export(Parts(), inputs(5), dynamic_shapes=shapes).module()
    for count in (5, 12):
        given = inputs(count)
        for found, expected in zip(program(*given), Parts()(*given), strict=True):
            torch.testing.assert_close(found, expected)

"""The graph through time: hidden objects stay, come back as themselves, and are told from those that left."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from scenegraph_track.graph import ConstructedGraph, EvolvingSceneGraph, Motion, reidentify
from scenegraph_track.structures import ObjectState

SIZE = (400, 300)
STEP = 0.1


def box(x: float, y: float = 100, w: float = 30, h: float = 80) -> list[float]:
    return [x, y, x + w, y + h]


def rows(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int64)


def net() -> EvolvingSceneGraph:
    torch.manual_seed(0)
    return EvolvingSceneGraph(8, appearance_dim=4)


def nodes_alone(nodes: torch.Tensor) -> ConstructedGraph:
    nothing = torch.zeros(0)
    return ConstructedGraph(nodes, torch.zeros(2, 0, dtype=torch.int64), nothing, nothing, nothing)


def step(graph, state, boxes, matched, looks=None, ends=None, weight=None, **more):
    boxes = torch.tensor(boxes).view(-1, 4)
    looks = torch.eye(4)[: len(boxes)] if looks is None else looks
    now = nodes_alone(torch.ones(len(boxes), 8))
    if ends is not None:
        now = replace(now, edge_index=ends, adjacency=weight)
    return graph(state, now, boxes, matched, STEP, SIZE, looks, **more)


def walk_behind(graph, frames: int):
    """One object walks right at 100 pixels a second, the other stands in front; the first is unseen at the end."""
    state = graph.start()
    for k in range(10):
        state = step(graph, state, [box(20 + 10 * k), box(150, 90, 80, 110)], rows() if k == 0 else rows(0, 1))
    for _ in range(frames):
        state = step(graph, state, [box(150, 90, 80, 110)], rows(-1, 0), torch.eye(4)[1:2])
    return state


def test_ids_count_up_and_are_kept() -> None:
    graph = net()
    state = step(graph, graph.start(), [box(0), box(200)], rows())
    assert state.ids.tolist() == [1, 2] and state.next_id == 3
    state = step(graph, state, [box(202), box(2), box(300)], rows(1, 0))
    assert state.ids.tolist() == [1, 2, 3] and state.boxes[:, 0].tolist() == [2, 202, 300]


def test_a_hidden_object_keeps_its_node_moves_on_and_says_what_hides_it() -> None:
    state = walk_behind(net(), 4)
    assert state.state.tolist() == [ObjectState.HIDDEN, ObjectState.VISIBLE]
    assert state.hidden_by.tolist() == [1, -1] and state.hidden_part[0] > 0.5
    assert 125 < state.boxes[0, 0] < 160  # it was at 110 and walked on
    assert state.visibility[0] < 0.5 < state.visibility[1]
    earlier = walk_behind(net(), 1)
    assert (state.std[0] > earlier.std[0]).all() and (earlier.std[0] / 80 > 0.05).all()
    torch.testing.assert_close(state.std[1], torch.full((4,), 0.05 * 110))


def test_an_object_outside_has_left_and_one_inside_is_hidden_however_long() -> None:
    graph = net()
    state = step(graph, graph.start(), [box(395), box(100), box(200)], rows())
    for _ in range(25):
        state = step(graph, state, [box(200)], rows(-1, -1, 0))
    assert state.state.tolist() == [ObjectState.LEFT, ObjectState.HIDDEN, ObjectState.VISIBLE]


def test_it_comes_back_as_itself_and_no_live_identity_is_taken() -> None:
    graph = net()
    state = walk_behind(graph, 6)
    back = torch.tensor([box(175), box(150, 90, 80, 110)])
    looks = torch.tensor([[1.0, 0.1, 0, 0], [0, 1.0, 0, 0]])
    again = reidentify(state, back, looks, torch.tensor([True, False]))
    assert again.tolist() == [0, -1]
    # looks like the live one only: nobody's
    assert reidentify(state, back, looks.flip(0), torch.tensor([True, False])).tolist() == [-1, -1]
    # the right looks, but farther than it can have come
    assert reidentify(state, back + 3000, looks, torch.tensor([True, False])).tolist() == [-1, -1]
    matched = torch.where(again < 0, rows(-1, 1), again)
    state = step(graph, state, back.tolist(), matched, looks)
    assert state.ids.tolist() == [1, 2] and state.state.tolist() == [ObjectState.VISIBLE] * 2


def test_state_changes_by_match_by_neighbours_and_by_time() -> None:
    graph = net()
    state = step(graph, graph.start(), [box(0), box(200)], rows())
    ends, weight = torch.tensor([[0, 1], [1, 0]]), torch.tensor([0.0, 1.0])
    seen = step(graph, state, [box(1), box(200)], rows(0, 1))
    told = step(graph, state, [box(1), box(200)], rows(0, 1), ends=ends, weight=weight)
    unseen = step(graph, state, [box(200)], rows(-1, 0))
    assert not torch.equal(unseen.hidden[0], state.hidden[0]) and not torch.equal(unseen.hidden[0], seen.hidden[0])
    assert not torch.equal(told.hidden[0], seen.hidden[0]) and torch.equal(told.hidden[1], seen.hidden[1])


def test_the_place_of_an_unmatched_track_is_no_newborn_and_is_heard() -> None:
    graph = net()
    state = step(graph, graph.start(), [box(0), box(200)], rows())
    expected = graph.expect(state, STEP).expected
    assert torch.equal(expected, state.boxes)  # newborn tracks stand still
    there = [box(201), expected[0].tolist(), box(300)]
    told = step(graph, state, there, rows(-1, 0), places=rows(1, -1))
    assert told.ids.tolist() == [1, 2, 3] and told.boxes[:, 0].tolist() == [0, 201, 300]
    assert told.state.tolist() == [ObjectState.HIDDEN, ObjectState.VISIBLE, ObjectState.VISIBLE]
    blind = step(graph, state, [there[0], there[2]], rows(-1, 0))
    assert not torch.equal(told.hidden[0], blind.hidden[0]) and torch.equal(told.boxes, blind.boxes)


def test_what_the_caller_expects_counts_where_nothing_was_matched() -> None:
    graph = net()
    state = step(graph, graph.start(), [box(0), box(200)], rows())
    motion = Motion(torch.tensor([box(50), box(250)]), torch.full((2, 4), 7.0), torch.full((2, 4), 3.0))
    after = step(graph, state, [box(202)], rows(-1, 0), motion=motion)
    assert after.boxes[:, 0].tolist() == [50, 202]
    assert after.velocity[0].tolist() == [7.0] * 4 and after.std[0].tolist() == [3.0] * 4
    nothing_known = step(graph, state, [box(202)], rows(-1, 0))
    assert nothing_known.boxes[:, 0].tolist() == [0, 202]


def test_what_is_learned_moves_the_box_of_an_unmatched_track_only() -> None:
    graph = net()
    with torch.no_grad():
        graph.absent[-1].bias.copy_(torch.tensor([1.0, 0, 0, 0, 2, 2, 2, 2, 20]))
    state = step(graph, graph.start(), [box(100), box(200)], rows())
    after = step(graph, state, [box(205)], rows(-1, 0))
    std = 80 * (0.05 + 0.3 * STEP)
    torch.testing.assert_close(after.boxes, torch.tensor([box(100 + std), box(205)]))
    torch.testing.assert_close(after.std, torch.tensor([[std * math.e] * 4, [4.0] * 4]))
    assert after.state.tolist() == [ObjectState.LEFT, ObjectState.VISIBLE]  # by the rule it would be hidden


def test_gradients_reach_back_through_time_and_through_the_prediction() -> None:
    graph = net()
    first = torch.ones(1, 8, requires_grad=True)
    state = graph(graph.start(), nodes_alone(first), torch.tensor([box(50)]), rows(), STEP, SIZE)
    for _ in range(3):
        state = graph(state, nodes_alone(torch.zeros(0, 8)), torch.zeros(0, 4), rows(-1), STEP, SIZE)
    (state.hidden.sum() + state.boxes.sum() + state.std.sum() + state.left.sum()).backward()
    assert first.grad.abs().sum() > 0 and graph.absent[-1].weight.grad.abs().sum() > 0

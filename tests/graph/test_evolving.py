"""The graph through time: hidden objects stay, come back as themselves, and are told from those that left."""

from __future__ import annotations

import torch

from scenegraph_track.graph import EvolvingSceneGraph, reidentify
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


def step(graph, state, boxes, matched, looks=None, **more):
    boxes = torch.tensor(boxes).view(-1, 4)
    looks = torch.eye(4)[: len(boxes)] if looks is None else looks
    return graph(state, torch.ones(len(boxes), 8), boxes, matched, STEP, SIZE, looks, **more)


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
    assert state.log_variance[0] > earlier.log_variance[0] > state.log_variance[1]


def test_an_object_that_nothing_hides_has_left_and_one_behind_something_has_not() -> None:
    graph = net()
    behind, open_ = walk_behind(graph, 3), step(graph, graph.start(), [box(100), box(300)], rows())
    behind = graph.start().__class__(**{**vars(behind), "velocity": torch.zeros(2, 4)})  # it waits there
    for _ in range(25):
        behind = step(graph, behind, [box(150, 90, 80, 110)], rows(-1, 0), torch.eye(4)[1:2])
        open_ = step(graph, open_, [box(300)], rows(-1, 0), torch.eye(4)[1:2])
    assert behind.state[0] == ObjectState.HIDDEN and open_.state[0] == ObjectState.LEFT
    outside = step(graph, graph.start(), [box(395)], rows())
    assert step(graph, outside, [], rows(-1), torch.zeros(0, 4)).state[0] == ObjectState.LEFT


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
    told = step(graph, state, [box(1), box(200)], rows(0, 1), edge_index=ends, adjacency=weight)
    unseen = step(graph, state, [box(200)], rows(-1, 0))
    assert not torch.equal(unseen.hidden[0], state.hidden[0]) and not torch.equal(unseen.hidden[0], seen.hidden[0])
    assert not torch.equal(told.hidden[0], seen.hidden[0]) and torch.equal(told.hidden[1], seen.hidden[1])


def test_gradients_reach_back_through_time_and_through_the_prediction() -> None:
    graph = net()
    first = torch.ones(1, 8, requires_grad=True)
    state = graph(graph.start(), first, torch.tensor([box(50)]), rows(), STEP, SIZE)
    for _ in range(3):
        state = graph(state, torch.zeros(0, 8), torch.zeros(0, 4), rows(-1), STEP, SIZE)
    (state.hidden.sum() + state.boxes.sum() + state.log_variance.sum()).backward()
    assert first.grad.abs().sum() > 0 and graph.drift.weight.grad.abs().sum() > 0

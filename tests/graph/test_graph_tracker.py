"""The network: neutral at first, differentiable, of any size, exportable."""

from __future__ import annotations

import pytest
import torch
from torch.export import Dim, export

from scenegraph_track.graph import GraphTracker
from scenegraph_track.graph.features import CONTEXT, DETECTION, EDGE_WIDTH, TRACK
from scenegraph_track.graph.message_passing import CueMixture, cue_weights


def arguments(n: int, m: int, e: int, width: int = 16) -> dict[str, torch.Tensor]:
    torch.manual_seed(n)
    return {
        "tracks": torch.randn(n, len(TRACK) + len(CONTEXT)),
        "memory": torch.randn(n, width),
        "detections": torch.randn(m, len(DETECTION) + len(CONTEXT)),
        "edges": torch.randn(e, EDGE_WIDTH),
        "offset": torch.randn(e, 4),
        "base": torch.rand(e),
        "available": torch.rand(e, 5) < 0.7,
        "edge_index": torch.stack([torch.randint(max(n, 1), (e,)), torch.randint(max(m, 1), (e,))]),
    }


def trained(width: int = 16) -> GraphTracker:
    """A network whose heads say something."""
    torch.manual_seed(0)
    net = GraphTracker(width)
    for weight in net.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.2)
    return net.eval()


def test_a_fresh_network_changes_nothing_at_all() -> None:
    output = GraphTracker(16)(**arguments(4, 5, 9))
    assert torch.equal(output.change, torch.zeros(9))
    assert not output.none.any() and not output.new.any() and not output.motion.any()
    assert sum(weight.numel() for weight in GraphTracker().parameters()) < 140_000


def test_weights_of_cues_sum_to_one_and_leave_out_what_is_unknown() -> None:
    inputs = arguments(6, 7, 20)
    inputs["available"][:, 1] = True
    cues = trained()(**inputs).cues
    torch.testing.assert_close(cues.sum(1), torch.ones(20))
    assert cues[~inputs["available"]].max() < 1e-6 < cues[inputs["available"]].min()


def test_weights_of_cues_are_those_that_the_answer_rests_on() -> None:
    # Not those that the last layer would hand on to a next one, which nothing teaches.
    network, inputs = trained(), arguments(6, 7, 20)
    inputs["available"][:] = True
    before = network(**inputs)
    with torch.no_grad():
        network.edge_heads[-1].weight[2:] += 1
    after = network(**inputs)
    assert torch.equal(before.cues, after.cues) and torch.equal(before.change, after.change)
    with torch.no_grad():
        network.edge_heads[-2].weight[2:] += torch.randn_like(network.edge_heads[-2].weight[2:])
    other = network(**inputs)
    assert not torch.allclose(before.cues, other.cues) and not torch.allclose(before.change, other.change)


def test_an_unknown_cue_is_embedded_but_not_counted() -> None:
    # With the same edge states at the start, the mixture without appearance does not depend on the likeness.
    mixture = CueMixture((2, 1), 8)
    features = torch.randn(5, 3)
    other = features.clone()
    other[:, 2] += 3
    weights = cue_weights(torch.randn(5, 2), torch.tensor([[True, False]]).expand(5, 2))
    a, b = ((weights[:, :, None] * mixture(f)).sum(1) for f in (features, other))
    torch.testing.assert_close(a, b)
    assert not torch.equal(mixture(features)[:, 1], mixture(other)[:, 1])
    assert torch.equal(mixture(features)[:, 0], mixture(other)[:, 0])  # each cue by its own features alone


def test_competitors_matter_and_can_be_ignored() -> None:
    # The reference tracker's similarity of a rival reaches an edge only as its share among competitors.
    net, every = trained(), torch.ones(2, 5, dtype=torch.bool)
    both = arguments(2, 1, 2) | {"edge_index": torch.tensor([[0, 1], [0, 0]]), "available": every}
    weaker = both | {"base": both["base"] - torch.tensor([0.0, 0.5])}
    assert not torch.equal(net(**both).logits[0], net(**weaker).logits[0])
    net.competition = False
    assert torch.equal(net(**both).change[0], net(**weaker).change[0])


@pytest.mark.parametrize(("n", "m", "e"), [(0, 3, 0), (3, 0, 0), (2, 2, 0), (0, 0, 0), (1, 1, 1)])
def test_few_or_no_objects(n: int, m: int, e: int) -> None:
    net, inputs = trained(), arguments(n, m, e)
    output = net(**inputs)
    matched = torch.full((n,), -1 if not e else 0)
    after, born = net.remember(inputs["memory"], output, matched, torch.zeros(n, 4))
    assert output.change.shape == (e,) and after.shape == (n, 16) and born.shape == (m, 16)


def test_frames_side_by_side_are_as_frames_alone() -> None:
    net, a, b = trained(), arguments(3, 4, 7), arguments(5, 2, 6)
    joined = {name: torch.cat([a[name], b[name]]) for name in a if name != "edge_index"}
    joined["edge_index"] = torch.cat([a["edge_index"], b["edge_index"] + torch.tensor([[3], [4]])], 1)
    alone = torch.cat([net(**a).change, net(**b).change])
    torch.testing.assert_close(net(**joined).change, alone, rtol=1e-4, atol=1e-5)


def test_every_weight_learns() -> None:
    net, inputs = trained().train(), arguments(4, 5, 12)
    output = net(**inputs)
    after, born = net.remember(inputs["memory"], output, torch.tensor([0, -1, 2, 3]), torch.randn(4, 4))
    parts = (output.logits, output.none, output.new, output.confidence, output.is_object, output.visibility)
    parts += (output.refinement, output.motion, output.motion_log_variance, after, born)
    sum(part.square().sum() for part in parts).backward()
    assert [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_memory_goes_on_where_nothing_was_matched() -> None:
    net, inputs = trained(), arguments(2, 2, 3)
    output = net(**inputs)
    seen, _ = net.remember(inputs["memory"], output, torch.tensor([0, -1]), torch.tensor([[1.0] * 4, [0.0] * 4]))
    unseen, _ = net.remember(inputs["memory"], output, torch.tensor([-1, -1]), torch.zeros(2, 4))
    assert not torch.equal(seen[0], unseen[0]) and torch.equal(seen[1], unseen[1])
    assert not torch.equal(unseen, inputs["memory"])
    net.recurrent = False
    other = inputs | {"memory": torch.zeros(2, 16)}
    assert torch.equal(net(**inputs).change, net(**other).change)


def test_exports_with_any_number_of_objects() -> None:
    class Changes(torch.nn.Module):
        def __init__(self, net: GraphTracker) -> None:
            super().__init__()
            self.net = net

        def forward(self, tracks, memory, detections, edges, offset, base, available, edge_index):
            output = self.net(tracks, memory, detections, edges, offset, base, available, edge_index)
            return output.change, output.cues

    net = Changes(trained())
    n, m, e = Dim("tracks", min=2), Dim("detections", min=2), Dim("edges", min=2)
    first = {"tracks": n, "memory": n, "detections": m} | dict.fromkeys(("edges", "offset", "base", "available"), e)
    shapes = {name: {0: dim} for name, dim in first.items()} | {"edge_index": {1: e}}
    program = export(net, (), arguments(4, 5, 9), dynamic_shapes=shapes).module()
    for size in ((4, 5, 9), (7, 3, 11), (30, 40, 150)):
        for found, expected in zip(program(**arguments(*size)), net(**arguments(*size)), strict=True):
            torch.testing.assert_close(found, expected)

"""The graph tracker in NumPy says what it says in torch."""

from __future__ import annotations

import pytest
import torch

from scenegraph_track.graph import GraphTracker, sparse_sinkhorn
from scenegraph_track.graph.features import FrameFeatures
from tests.graph.test_graph_tracker import arguments, trained


def features_of(inputs: dict[str, torch.Tensor]) -> FrameFeatures:
    return FrameFeatures(**{name: value.numpy() for name, value in inputs.items() if name != "memory"})


def compare(network: GraphTracker, n: int, m: int, e: int) -> None:
    inputs = arguments(n, m, e)
    matched, offset = torch.arange(n) % (m + 1) - 1, torch.randn(n, 4)
    with torch.no_grad():
        said = network(**inputs)
        last = said.logits[:, -1], inputs["edge_index"], said.none[:, -1], said.new[:, -1]
        probability = sparse_sinkhorn(*last, 3)[0]
        memories = network.remember(inputs["memory"], said, matched, offset)
    found = network.infer(features_of(inputs), inputs["memory"].numpy())
    for name in ("change", "cues", "motion", "tracks", "detections"):
        torch.testing.assert_close(torch.from_numpy(getattr(found, name)), getattr(said, name), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.from_numpy(found.probability).float(), probability, atol=1e-5, rtol=1e-5)
    again = found.remember(inputs["memory"].numpy(), matched.numpy(), offset.numpy())
    for a, b in zip(again, memories, strict=True):
        torch.testing.assert_close(torch.from_numpy(a), b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("n", "m", "e"), [(6, 7, 20), (1, 1, 1), (30, 2, 60), (5, 4, 0), (0, 3, 0), (3, 0, 0)])
def test_the_same_for_any_number_of_objects(n: int, m: int, e: int) -> None:
    compare(trained(), n, m, e)


@pytest.mark.parametrize("off", ["competition", "recurrent"])
def test_the_same_without_parts(off: str) -> None:
    network = trained()
    setattr(network, off, False)
    compare(network, 6, 7, 20)


def test_weights_that_change_are_taken_anew() -> None:
    network = trained()
    compare(network, 6, 7, 20)
    with torch.no_grad():
        network.edge_heads[-1].weight.mul_(0.5)
    compare(network, 6, 7, 20)

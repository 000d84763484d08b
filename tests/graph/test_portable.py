"""The networks outside of this package: alone, under torch.compile and torch.export, and in ONNX Runtime."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from scenegraph_track.errors import UserError
from scenegraph_track.graph import (
    ConstructedGraph,
    EvolvingSceneGraph,
    EvolvingState,
    GraphTracker,
    Motion,
    SceneGraphConstructor,
    sparse_sinkhorn,
    spatial_edges,
)
from scenegraph_track.graph.features import CONTEXT, DETECTION, EDGE_WIDTH, TRACK
from scenegraph_track.graph.portable import export_onnx, to_onnx

WIDTH = 16
SIZES = [(7, 9, 25), (30, 40, 150), (4, 5, 9), (1, 1, 1), (3, 2, 0), (0, 3, 0), (3, 0, 0), (0, 0, 0)]
"""Tracks, detections and edges."""


def arguments(n: int, m: int, e: int) -> dict[str, Tensor]:
    torch.manual_seed(n)
    return {
        "tracks": torch.randn(n, len(TRACK) + len(CONTEXT)),
        "memory": torch.randn(n, WIDTH),
        "detections": torch.randn(m, len(DETECTION) + len(CONTEXT)),
        "edges": torch.randn(e, EDGE_WIDTH),
        "offset": torch.randn(e, 4),
        "base": torch.rand(e),
        "available": torch.rand(e, 5) < 0.7,
        "edge_index": torch.stack([torch.randint(max(n, 1), (e,)), torch.randint(max(m, 1), (e,))]),
    }


def told(kind: type[nn.Module], *arguments: int, **options: int | None) -> nn.Module:
    """A module with weights that say something, heads that begin at zero included; always the same."""
    torch.manual_seed(0)
    module = kind(*arguments, **options)
    for weight in module.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=0.2)
    return module.requires_grad_(False)


def network() -> GraphTracker:
    return told(GraphTracker, WIDTH, layers=2)


def objects(count: int) -> dict[str, Tensor]:
    """What `SceneGraphConstructor` takes, with a depth that is unknown."""
    torch.manual_seed(count)
    corner = torch.rand(count, 2) * torch.tensor([600.0, 400.0])
    boxes = torch.cat([corner, corner + 20 + 60 * torch.rand(count, 2)], 1)
    depth = torch.rand(count, 3) + 1
    depth[:1] = torch.nan
    return {
        "boxes": boxes,
        "scores": torch.rand(count),
        "visibility": torch.rand(count),
        "size": torch.tensor([640.0, 480.0]),
        "appearance": torch.randn(count, 4),
        "positions": torch.randn(count, 3),
        "depth": depth,
        "edge_index": spatial_edges(boxes),
    }


def dynamic(inputs: dict[str, Tensor], **open_axes: tuple[int, str]) -> dict[str, dict[int, Dim]]:
    lengths = {name: Dim(name, min=0) for _, name in open_axes.values()}
    return {name: {} for name in inputs} | {name: {axis: lengths[n]} for name, (axis, n) in open_axes.items()}


OF_FRAME = {
    **dict.fromkeys(("tracks", "memory"), (0, "tracks")),
    "detections": (0, "detections"),
    **dict.fromkeys(("edges", "offset", "base", "available"), (0, "edges")),
    "edge_index": (1, "edges"),
}
OF_OBJECTS = {name: (0, "objects") for name in objects(1) if name != "size"} | {"edge_index": (1, "pairs")}


def same(found: object, expected: object) -> None:
    """Results that are dataclasses of tensors have the same values."""
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), value, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_one_compiled_graph_serves_all_sizes() -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    net = network()
    compiled = torch.compile(net, backend=backend, dynamic=True, fullgraph=True)
    for size in SIZES[:3]:
        same(compiled(**arguments(*size)), net(**arguments(*size)))
    assert len(graphs) == 1  # the first lengths are no widths, which would be taken for them


@pytest.mark.slow
def test_the_default_compiler_computes_the_same() -> None:
    torch._dynamo.reset()
    net = network()
    compiled = torch.compile(net, dynamic=True, fullgraph=True)
    for size in (*SIZES[:3], (3, 2, 0)):  # a length of 0 or 1 is compiled anew
        same(compiled(**arguments(*size)), net(**arguments(*size)))


def test_one_exported_program_serves_all_sizes_without_edges_too() -> None:
    net = network()
    program = export(net, (), arguments(*SIZES[0]), dynamic_shapes=dynamic(arguments(*SIZES[0]), **OF_FRAME)).module()
    for size in SIZES:
        same(program(**arguments(*size)), net(**arguments(*size)))


@pytest.mark.parametrize("keep", [None, 2])
def test_the_constructor_is_exported_for_any_number_of_objects(keep: int | None) -> None:
    net = told(SceneGraphConstructor, WIDTH, 8, appearance_dim=4, keep=keep)
    program = export(net, (), objects(6), dynamic_shapes=dynamic(objects(6), **OF_OBJECTS)).module()
    for count in (6, 9, 2, 1, 0, 40):
        same(program(**objects(count)), net(**objects(count)))


class Evolved(nn.Module):
    """`EvolvingSceneGraph` from and to a dictionary, at ten frames a second."""

    def __init__(self) -> None:
        super().__init__()
        self.net = told(EvolvingSceneGraph, 8, appearance_dim=4)

    def forward(self, state, graph, boxes, matched, appearance, places, motion):
        before, now, more = EvolvingState(**state), ConstructedGraph(**graph), Motion(**motion)
        return vars(self.net(before, now, boxes, matched, 0.1, (640, 480), appearance, places, more))


def scene(net: EvolvingSceneGraph, n: int, m: int, e: int) -> dict[str, object]:
    """Arguments of `Evolved`: n tracks, of which the first was seen in the last frame, and half go on."""
    boxes, seen = objects(n)["boxes"], torch.full((n,), -1)
    seen[:1] = 0
    state = net.start()
    for found, matched in ((boxes, seen[:0]), (boxes[:1], seen)):
        count = len(found)
        state = net(state, nodes_of(count, 0), found, matched, 0.1, (640, 480), torch.randn(count, 4))
    rows = torch.arange(n)
    return {
        "state": vars(state),
        "graph": vars(nodes_of(m, e)),
        "boxes": objects(m)["boxes"],
        "matched": torch.where(rows < min(n, m) / 2, rows, -1),
        "appearance": torch.randn(m, 4),
        "places": torch.where((rows >= min(n, m) / 2) & (rows < m), rows, -1),
        "motion": {"expected": boxes + 5, "velocity": torch.randn(n, 4), "std": torch.rand(n, 4)},
    }


def nodes_of(count: int, edges: int) -> ConstructedGraph:
    ends = torch.randint(max(count, 1), (2, edges))
    return ConstructedGraph(
        torch.randn(count, 8), ends, torch.randn(edges, 4), torch.rand(edges), torch.randn(edges, 6)
    )


def test_the_evolving_graph_is_exported_for_any_number_of_tracks() -> None:
    net = Evolved()
    example = scene(net.net, 5, 6, 9)
    n, m, e = (Dim(name, min=0) for name in ("tracks", "detections", "pairs"))
    shapes = {name: {0: m} for name in ("boxes", "appearance")} | {name: {0: n} for name in ("matched", "places")}
    shapes["motion"] = {name: {0: n} for name in example["motion"]}
    shapes["graph"] = {name: {0: e} for name in example["graph"]} | {"nodes": {0: m}, "edge_index": {1: e}}
    shapes["state"] = {name: {0: n} for name in example["state"]} | {"next_id": Dim.DYNAMIC}
    program = export(net, (), example, dynamic_shapes=shapes).module()
    for size in ((5, 6, 9), (30, 20, 60), (7, 3, 4), (4, 0, 0), (1, 0, 0), (0, 3, 2), (0, 0, 0)):
        inputs = scene(net.net, *size)
        for found, expected in zip(program(**inputs).values(), net(**inputs).values(), strict=True):
            torch.testing.assert_close(found, expected)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The graph tracker as two files, written over others."""
    pytest.importorskip("onnxscript")
    folder, net = tmp_path_factory.mktemp("onnx"), network().train()
    paths = {part: folder / f"{part}.onnx" for part in ("forward", "remember")}
    for part, path in paths.items():
        path.write_text("something else")
        export_onnx(net, path, part)
    assert net.training and sorted(folder.iterdir()) == sorted(paths.values())
    return paths


def run(model: Path | bytes, inputs: dict[str, Tensor | np.ndarray]) -> dict[str, np.ndarray]:
    runtime = pytest.importorskip("onnxruntime")
    content = model.read_bytes() if isinstance(model, Path) else model
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {k: np.asarray(v) for k, v in inputs.items()}), strict=True))


def agree(found: np.ndarray, expected: Tensor) -> None:
    assert found.shape == tuple(expected.shape)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_onnx_runtime_tracks_as_the_network_does(files: dict[str, Path], size: tuple[int, int, int]) -> None:
    net, inputs = network(), arguments(*size)
    output, found = net(**inputs), run(files["forward"], inputs)
    renamed = {"tracks": "track_states", "detections": "detection_states", "edges": "edge_states"}
    for name, value in vars(output).items():
        agree(found[renamed.get(name, name)], value)
    n, m, _ = size
    matched = torch.arange(n) % (m + 1) - 1
    offset = torch.randn(n, 4)
    states = {name: found[name] for name in ("track_states", "detection_states", "motion")}
    memories = run(files["remember"], {"memory": inputs["memory"], "matched": matched, "offset": offset, **states})
    after, born = net.remember(inputs["memory"], output, matched, offset)
    agree(memories["after"], after)
    agree(memories["born"], born)


@pytest.mark.slow
def test_onnx_runtime_constructs_the_same_graph() -> None:
    pytest.importorskip("onnxscript")

    class Constructed(nn.Module):  # without the pairs, which are no result but an input
        def __init__(self) -> None:
            super().__init__()
            self.net = told(SceneGraphConstructor, WIDTH, 8, appearance_dim=4)

        def forward(self, boxes, scores, visibility, size, appearance, positions, depth, edge_index):
            graph = self.net(boxes, scores, visibility, size, appearance, positions, depth, edge_index)
            return graph.nodes, graph.edges, graph.adjacency, graph.relations

    net = Constructed()
    content = to_onnx(net, objects(6), OF_OBJECTS, ["nodes", "edges", "adjacency", "relations"])
    for count in (6, 9, 1, 0, 40):
        for found, expected in zip(run(content, objects(count)).values(), net(**objects(count)), strict=True):
            agree(found, expected)


def test_onnx_runtime_matches_the_same() -> None:
    pytest.importorskip("onnxscript")

    class Matching(nn.Module):
        def forward(self, logits, edge_index, none, new):
            return sparse_sinkhorn(logits, edge_index, none, new, 3)

    def logits(n: int, m: int, e: int) -> dict[str, Tensor]:
        ends = arguments(n, m, e)["edge_index"]
        return {"logits": 4 * torch.randn(e), "edge_index": ends, "none": torch.randn(n), "new": torch.randn(m)}

    axes = {"logits": (0, "edges"), "edge_index": (1, "edges"), "none": (0, "rows"), "new": (0, "columns")}
    content = to_onnx(Matching(), logits(4, 5, 9), axes, ["edge", "row", "column"])
    for size in SIZES:
        for found, expected in zip(run(content, logits(*size)).values(), Matching()(**logits(*size)), strict=True):
            agree(found, expected)


def test_without_the_onnx_libraries_a_file_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    path = tmp_path / "net.onnx"
    path.write_text("as it was")
    with pytest.raises(UserError, match=r"pip install 'scenegraph-track\[onnx\]'"):
        export_onnx(network(), path)
    assert path.read_text() == "as it was" and list(tmp_path.iterdir()) == [path]


def test_only_the_two_parts_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected forward or remember"):
        export_onnx(network(), tmp_path / "net.onnx", "backward")

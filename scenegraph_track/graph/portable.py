"""The networks outside of this package: known to `torch.export`, and as ONNX files for programs without PyTorch.

Importing this module makes the results of the networks known to `torch.export`.  The ONNX libraries are loaded when a
file is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, register_dataclass

from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_write
from scenegraph_track.graph.constructor import ConstructedGraph
from scenegraph_track.graph.features import CONTEXT, DETECTION, EDGE_CUES, EDGE_WIDTH, TRACK
from scenegraph_track.graph.graph_tracker import GraphOutput, GraphTracker

for _result in (GraphOutput, ConstructedGraph):
    register_dataclass(_result, serialized_type_name=f"{_result.__module__}.{_result.__qualname__}")

_OPEN = {
    **dict.fromkeys(("tracks", "memory"), (0, "tracks")),
    "detections": (0, "detections"),
    **dict.fromkeys(("edges", "offset", "base", "available"), (0, "edges")),
    "edge_index": (1, "edges"),
}
"""The axis of each argument of `GraphTracker.forward` that has any length, and what it counts."""

_STATES = {"tracks": "track_states", "detections": "detection_states", "edges": "edge_states"}
"""How outputs are called whose names the inputs have already."""


def export_onnx(network: GraphTracker, path: str | Path, part: Literal["forward", "remember"] = "forward") -> None:
    """Write one of the two functions of a graph tracker as an ONNX file, for any number of objects.

    The counts of tracks N, detections M and candidate edges E may differ from call to call, and be 0.  Numbers are
    float32 where nothing else is said.

    ``forward`` takes ``tracks`` (N, 20), ``detections`` (M, 12), ``edges`` (E, 28), ``offset`` (E, 4), ``base`` (E,),
    ``available`` (E, 5) bool and ``edge_index`` (2, E) int64 as in `FrameFeatures`, and ``memory`` (N, width), zeros at
    first.  It gives the fields of `GraphOutput` by their names, but calls the last three ``track_states``,
    ``detection_states`` and ``edge_states``.

    ``remember`` takes ``memory``, then ``track_states``, ``detection_states`` and ``motion`` from ``forward``, then
    ``matched`` (N,) int64 and ``offset`` (N, 4) as in `GraphTracker.remember`.  It gives ``after`` (N, width) and
    ``born`` (M, width).

    Args:
        network: On any device; it is not changed.
        path: Of the file; one that is there is replaced.
        part: Which function.

    Raises:
        UserError: There is no such part, the ONNX libraries are not installed, or the file cannot be written.
    """
    if part not in ("forward", "remember"):
        raise UserError(f"expected forward or remember as the part of the graph tracker, found {part}")
    n, m, e, width = 3, 4, 5, network.width  # an example only
    memory = torch.zeros(n, width)
    if part == "forward":
        inputs = {
            "tracks": torch.zeros(n, len(TRACK) + len(CONTEXT)),
            "memory": memory,
            "detections": torch.zeros(m, len(DETECTION) + len(CONTEXT)),
            "edges": torch.zeros(e, EDGE_WIDTH),
            "offset": torch.zeros(e, 4),
            "base": torch.zeros(e),
            "available": torch.ones(e, len(EDGE_CUES), dtype=torch.bool),
            "edge_index": torch.zeros(2, e, dtype=torch.int64),
        }
        names = [_STATES.get(field.name, field.name) for field in fields(GraphOutput)]
        content = to_onnx(network, inputs, _OPEN, names)
    else:
        inputs = {
            "memory": memory,
            "track_states": torch.zeros(n, width),
            "detection_states": torch.zeros(m, width),
            "motion": torch.zeros(n, 4),
            "matched": torch.zeros(n, dtype=torch.int64),
            "offset": torch.zeros(n, 4),
        }
        of_tracks = dict.fromkeys(inputs, (0, "tracks"))
        content = to_onnx(
            _Remember(network), inputs, of_tracks | {"detection_states": (0, "detections")}, ["after", "born"]
        )
    with atomic_write(path, "wb") as file:
        file.write(content)


def to_onnx(
    module: nn.Module, inputs: Mapping[str, Tensor], open_axes: Mapping[str, tuple[int, str]], outputs: Sequence[str]
) -> bytes:
    """The content of an ONNX file that computes what a module does.

    Args:
        module: On any device; it is not changed.
        inputs: Example arguments by name.
        open_axes: The axis of an input that has any length, 0 included, and the name of that length.
        outputs: Names of the results, in their order.

    Raises:
        UserError: The ONNX libraries are not installed.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError("ONNX files need more libraries: pip install 'scenegraph-track[onnx]'") from None
    lengths = {name: Dim(name, min=0) for _, name in open_axes.values()}
    shapes = {name: {} for name in inputs} | {name: {axis: lengths[n]} for name, (axis, n) in open_axes.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "# The axis name", UserWarning)  # several inputs share a length
        program = torch.onnx.export(
            deepcopy(module).cpu().float().eval(),
            (),
            kwargs=dict(inputs),
            dynamic_shapes=shapes,
            input_names=list(inputs),
            output_names=list(outputs),
            custom_translation_table={
                torch.ops.aten.index_add.default: _add_rows,
                torch.ops.aten.scatter_reduce.two: _largest_rows,
            },
            dynamo=True,
            verbose=False,
        )
    return program.model_proto.SerializeToString()


class _Remember(nn.Module):
    """`GraphTracker.remember` of tensors alone."""

    def __init__(self, network: GraphTracker) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        memory: Tensor,
        track_states: Tensor,
        detection_states: Tensor,
        motion: Tensor,
        matched: Tensor,
        offset: Tensor,
    ) -> tuple[Tensor, Tensor]:
        output = SimpleNamespace(tracks=track_states, detections=detection_states, motion=motion)
        return self.network.remember(memory, output, matched, offset)


def _add_rows(base: Any, dim: int, index: Any, rows: Any, alpha: float = 1.0) -> Any:
    """``index_add`` along the first axis, of rows as a whole."""
    from onnxscript import opset18 as op

    return op.ScatterND(base, op.Unsqueeze(index, op.Constant(value_ints=[1])), rows, reduction="add")


def _largest_rows(base: Any, dim: int, index: Any, rows: Any, reduce: str, include_self: bool = True) -> Any:
    """``scatter_reduce`` as messages use it: maxima along the first axis, the base where there are none.

    Every row of the index holds one number only, so that rows can be taken as a whole, which is faster.
    """
    if reduce != "amax" or include_self:
        raise NotImplementedError(f"scatter_reduce: expected amax without the base, found {reduce}, {include_self}")
    from onnxscript import opset18 as op

    numbers = op.Slice(index, *(op.Constant(value_ints=[k]) for k in (0, 1, 1)))
    lowest = op.Constant(value_float=torch.finfo(torch.float32).min)
    largest = op.ScatterND(op.Expand(lowest, op.Shape(base)), numbers, rows, reduction="max")
    return op.Where(op.Equal(largest, lowest), base, largest)

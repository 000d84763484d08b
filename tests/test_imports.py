"""What is embedded loads no heavy library: looked at in one fresh process, which tells a line of each thing."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

CODE = """
import json, sys
HEAVY = ("cv2", "timm", "transformers", "matplotlib", "lightning_fabric", "av", "trackeval", "supervision")
HEAVY += ("onnx", "onnxscript", "onnxruntime")
def tell(name, value):
    print(json.dumps([name, value]), flush=True)
def loaded():
    return [name for name in HEAVY if name in sys.modules]

import torch, scenegraph_track, scenegraph_track.structures, scenegraph_track.graph
from scenegraph_track import Detections, Frame, SceneGraph, Tracker
tell("containers and graph", loaded())

for name in HEAVY:
    sys.modules[name] = None  # an import of it fails
import scenegraph_track.graph.portable
from scenegraph_track.graph import SceneGraphConstructor
boxes = torch.tensor([[0.0, 0, 9, 9], [5, 5, 20, 20]])
scene = SceneGraphConstructor()(boxes, torch.ones(2), torch.ones(2), torch.tensor([32.0, 32]))
tell("networks without them", scene.relations.shape[0])
for name in HEAVY:
    del sys.modules[name]

import scenegraph_track.target.embedded
from scenegraph_track.target.one_stream import OneStreamEncoder, SmallViT
OneStreamEncoder(SmallViT(32, 8, 24, 1, 3), 16, 32)(torch.rand(1, 1, 3, 16, 16), torch.rand(1, 3, 32, 32))
tell("our own encoder", [name for name in ("cv2", "timm", "transformers") if name in sys.modules])

tracker = Tracker.from_config()
state = tracker.start()
for k in range(3):
    state, graph = tracker.step(state, Frame(k, k / 10), Detections.from_arrays([[0, 0, 9, 9]]))
tell("boxes alone", ["cv2" in sys.modules, len(graph)])

from geometry import optical_flow
for height, width in ((16, 192), (31, 300), (192, 16)):
    image = torch.rand(3, height, width)
    tell(f"flow of {height} x {width}", list(optical_flow(image, image).flow.shape))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True)
    return {"errors": done.stderr[-600:], **dict(json.loads(line) for line in done.stdout.splitlines())}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Containers and graph drag no video, models, plots or metrics along.
        ("containers and graph", []),
        # The networks run where no heavy library can be loaded.
        ("networks without them", 2),
        ("our own encoder", []),
        # OpenCV is for images: a tracker that has boxes alone never loads it.
        ("boxes alone", [False, 1]),
        # OpenCV reads beyond such images at its fast preset, which ends the process: so another one is asked.
        ("flow of 16 x 192", [2, 16, 192]),
        ("flow of 31 x 300", [2, 31, 300]),
        ("flow of 192 x 16", [2, 192, 16]),
    ],
)
def test_a_fresh_process(name: str, expected: object, told: dict[str, Any]) -> None:
    assert told.get(name) == expected, told["errors"]

"""The report of the scene graph: simple predictions, and a whole report of untrained networks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from scenegraph_track.graph import EvolvingSceneGraph, SceneGraphConstructor
from scenegraph_track.training import scene_report
from scenegraph_track.training.scene_courses import CourseSettings, make_course
from scenegraph_track.training.scene_report import (
    DEEP,
    REGIMES,
    STREAMS,
    WORLDS,
    _extrapolated,
)
from scenegraph_track.training.weights import save_weights
from tests.training.tiny_scene import HIDDEN, SIZE, tiny_world


def test_straight_on_and_standing_still() -> None:
    clean = CourseSettings(missed=(0, 0), gaps=0, jitter=(1e-6, 1e-6), whole=(1, 1), camera=0)
    course = make_course(np.random.default_rng(0), tiny_world(), SIZE, clean)
    still, straight = _extrapolated(course)
    np.testing.assert_allclose(straight[HIDDEN, 0], course.truth[HIDDEN, 0], atol=0.01)
    np.testing.assert_allclose(still[HIDDEN, 0], np.repeat(course.truth[None, HIDDEN[0] - 1, 0], 4, 0), atol=0.01)


def test_the_whole_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Rows(list):
        def rows(self, chosen: list[int]):
            return iter([self[k] for k in chosen])

    worlds = [tiny_world(), tiny_world()]
    monkeypatch.setattr(scene_report, "scene_worlds", lambda settings: Rows(worlds[: settings.scenes]))
    monkeypatch.setattr(scene_report, "make_course", lambda rng, w, size, s: make_course(rng, w, SIZE, s))
    monkeypatch.setattr(scene_report, "stream_world", lambda *_: tiny_world())
    torch.manual_seed(0)
    parts = {"constructor": SceneGraphConstructor(8, 8), "evolving": EvolvingSceneGraph(8)}
    weights = {f"{part}.{name}": value for part, net in parts.items() for name, value in net.state_dict().items()}
    save_weights(tmp_path / "scene.safetensors", weights, {"recipe": {"scene": {"node_dim": 8, "edge_dim": 8}}})
    command = ["report", "--weights", str(tmp_path / "scene.safetensors"), "--worlds", "2", "--json"]
    monkeypatch.setattr(sys, "argv", [*command, str(tmp_path / "report.json")])
    scene_report.main()
    found = json.loads((tmp_path / "report.json").read_text())
    assert list(found) == list(REGIMES) and list(found[STREAMS]) == ["boxes", "left"]
    assert "hidden or left" in capsys.readouterr().out
    boxes = found[WORLDS]["boxes"]["all"]
    assert boxes["boxes"] >= 8 and boxes["learned"]["iou"] == pytest.approx(boxes["filter"]["iou"], abs=0.01)
    assert boxes["learned"]["nll"] != boxes["filter"]["nll"]
    pairs = found[DEEP]["relations"]["both seen"]
    assert pairs["pairs"] > 20 and pairs["stated"]["in_front_of"]["ap"] > 90

    monkeypatch.setattr(sys, "argv", [*command[:2], str(tmp_path / "nothing.safetensors")])
    with pytest.raises(SystemExit, match=r"nothing\.safetensors: no such file"):
        scene_report.main()

"""The scene graph of the tracker itself on held-out worlds, with what is learned and without."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from scenegraph_track.training import scene_online
from scenegraph_track.training.scene_courses import CourseSettings
from scenegraph_track.training.scene_report import REGIMES, STREAMS, WORLDS
from tests.training.tiny_scene import HIDDEN, SIZE, tiny_world


def test_frames_have_the_objects_that_are_found_and_what_is_known() -> None:
    clean = CourseSettings(missed=(0, 0), gaps=0, jitter=(1e-6, 1e-6), whole=(1, 1))
    given = list(scene_online.frames_of(np.random.default_rng(0), tiny_world(), SIZE, clean, True))
    frame, detections, slots = given[HIDDEN[0]]
    assert slots.tolist() == [1] or slots.tolist() == [1, 2]  # object 0 is hidden
    np.testing.assert_allclose(detections.boxes[0], [35, 15, 60, 60], atol=0.01)
    assert frame.world_from_camera is not None and 2 < float(detections.depths[0]) < 4
    plain = list(scene_online.frames_of(np.random.default_rng(0), tiny_world(), SIZE, clean, False))
    assert plain[0][0].intrinsics is None and plain[0][1].depths is None


def test_the_whole_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Rows(list):
        def rows(self, chosen: list[int]):
            return iter([self[k] | {"size": np.array(SIZE)} for k in chosen])

    monkeypatch.setattr(scene_online, "scene_worlds", lambda settings: Rows([tiny_world()] * 2))
    monkeypatch.setattr(scene_online, "stream_world", lambda *_: {**tiny_world(), "size": np.array(SIZE)})
    path = tmp_path / "online.json"
    monkeypatch.setattr(sys, "argv", ["online", "--config", "reference", "--json", str(path)])
    scene_online.main()
    found = json.loads(path.read_text())
    assert list(found) == list(REGIMES) and list(found[STREAMS]) == ["boxes", "left"]
    boxes = found[WORLDS]["boxes"]["all"]
    assert boxes["boxes"] >= 2 and 0 < boxes["without"]["iou"] != boxes["learned"]["iou"]
    assert set(found[WORLDS]["left"]["all"]) == {"hidden", "left", "without", "learned"}
    assert found[WORLDS]["relations"]["both seen"]["pairs"] > 0
    assert "boxes of hidden objects" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["online", "--weights", str(tmp_path / "nothing.safetensors")])
    with pytest.raises(SystemExit, match=r"nothing\.safetensors: no such file"):
        scene_online.main()

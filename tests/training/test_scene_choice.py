"""How far relations are believed: a correction that hurts is left out, one that helps is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from geometry.weights import read_metadata
from scenegraph_track.graph import EvolvingSceneGraph, SceneGraphConstructor
from scenegraph_track.structures import RELATIONS
from scenegraph_track.tracking.scene_model import SceneModel
from scenegraph_track.training import scene_choice
from scenegraph_track.training.scene_choice import NAME, chosen_strengths
from scenegraph_track.training.scene_data import SceneWorldSettings
from scenegraph_track.training.weights import save_weights

TRUTH = np.array([True, False, True, False])


def test_the_best_strength_of_each_relation(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = np.tile(np.array([[2.0], [1], [-1], [-2]]), (1, len(RELATIONS)))
    change = np.zeros_like(rule)
    change[:, 0] = [0, -2, 2, 0]  # right
    change[:, 1] = [-4, 4, -4, 4]  # wrong
    monkeypatch.setattr(
        scene_choice, "_said", lambda *_: iter([("a", (rule, change, np.tile(TRUTH[:, None], (1, len(RELATIONS)))))])
    )
    strengths, figures = chosen_strengths(None, None)
    assert strengths[1] == 0 and strengths[0] > 0.5 and strengths[2:] == [0] * 4
    assert figures[RELATIONS[0]][strengths[0]] == pytest.approx(100) and figures[RELATIONS[0]][0.0] < 90


def test_a_relation_that_no_pair_has_keeps_its_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    # without a warning; groups of pairs in which it is absent, and empty ones, say nothing
    rule = np.tile(np.array([[2.0], [1], [-1], [-2]]), (1, len(RELATIONS)))
    change = np.zeros_like(rule)
    change[:, 0] = [0, -2, 2, 0]  # right
    truth = np.zeros(rule.shape, bool)
    there = truth.copy()
    there[:, 0] = TRUTH
    parts = [("a", (rule, change, truth)), ("b", (rule, change, there)), ("c", (rule[:0], change[:0], truth[:0]))]
    monkeypatch.setattr(scene_choice, "_said", lambda *_: iter(parts))
    strengths, figures = chosen_strengths(None, None)
    assert strengths[0] > 0.5 and strengths[1:] == [0.0] * 5
    assert figures[RELATIONS[0]][strengths[0]] == pytest.approx(100) and figures[RELATIONS[1]] == {}


def test_what_is_said_of_worlds_and_written_into_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from scenegraph_track.training.scene_courses import make_course
    from tests.training.tiny_scene import SIZE, tiny_world

    class Rows(list):
        def rows(self, chosen: list[int]):
            return iter([self[k] for k in chosen])

    monkeypatch.setattr(scene_choice, "scene_worlds", lambda settings: Rows([tiny_world()]))
    monkeypatch.setattr(scene_choice, "make_course", lambda rng, w, size, s: make_course(rng, w, SIZE, s))
    torch.manual_seed(0)
    model = SceneModel(SceneGraphConstructor(8, 8).eval(), EvolvingSceneGraph(8).eval())
    torch.nn.init.normal_(model.constructor.relations.net[-1].weight)
    said = list(scene_choice._said(model, SceneWorldSettings(split="val")))
    assert len(said) == 4 and all(len(r) == len(c) == len(t) for _, (r, c, t) in said)
    assert (model.constructor.relations.strength == 1).all() and any(np.abs(c).max() > 0 for _, (_, c, _) in said)

    parts = {"constructor": model.constructor, "evolving": model.evolving}
    weights = {f"{part}.{name}": value for part, net in parts.items() for name, value in net.state_dict().items()}
    save_weights(tmp_path / "best.safetensors", weights, {"recipe": {"scene": {"node_dim": 8, "edge_dim": 8}}})
    out = tmp_path / "scene.safetensors"
    monkeypatch.setattr(sys, "argv", ["choice", "--weights", str(tmp_path / "best.safetensors"), "--out", str(out)])
    scene_choice.main()
    told = read_metadata(out)["strengths"]
    assert load_file(out)[NAME].tolist() == list(told.values()) and list(told) == list(RELATIONS)
    assert "chosen" in capsys.readouterr().out

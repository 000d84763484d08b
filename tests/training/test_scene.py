"""The stage `scene`: whole courses at once are the same as frame by frame, and its losses fall."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track.graph import EvolvingSceneGraph, Motion, SceneGraphConstructor
from scenegraph_track.training.scene import SceneStage, box_errors, paired_iou, scene_losses, scene_outputs
from scenegraph_track.training.scene_batches import collate, cues
from scenegraph_track.training.scene_courses import Course, CourseSettings, make_course
from tests.training.tiny_scene import RATE, SIZE, tiny_world

NETS = {"node_dim": 16, "edge_dim": 8}


@pytest.fixture(scope="module")
def course() -> Course:
    return make_course(np.random.default_rng(0), tiny_world(), SIZE, CourseSettings(gaps=0, missed=(0, 0), camera=0))


@pytest.fixture
def stage() -> SceneStage:
    torch.manual_seed(0)
    stage = SceneStage(SceneStage.Settings(scene=NETS), 0)
    for weight in stage.evolving.absent.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return stage


def batch_of(course: Course) -> dict[str, torch.Tensor]:
    return collate([cues(np.random.default_rng(0), course, depth=True)])


def test_a_course_at_once_is_the_same_as_frame_by_frame(course: Course, stage: SceneStage) -> None:
    batch = batch_of(course)
    whole = scene_outputs(stage.constructor, stage.evolving, batch)
    state, slots, edges = stage.evolving.start(), [], 0
    for t in range(len(course.born)):
        seen, slot = np.flatnonzero(course.seen[t]), np.array(slots, dtype=int)
        unseen = slot[~course.seen[t, slot]]
        here = np.concatenate([seen, unseen])  # rows: the detections, then the places of the others
        row = {k: i for i, k in enumerate(here)}
        node = batch["rows"][t, here]
        pairs = np.array([[row[i], row[j]] for i, j in course.edges[t].T]).T.reshape(2, -1)
        graph = stage.constructor(
            *(batch[f"node_{name}"][node] for name in ("boxes", "scores", "visibility", "size")),
            positions=batch["node_positions"][node],
            depth=batch["node_depth"][node],
            edge_index=torch.from_numpy(pairs),
        )
        count = pairs.shape[1]
        torch.testing.assert_close(graph.relations, whole["relations"][edges : edges + count])
        edges += count
        matched = torch.tensor([row[k] if course.seen[t, k] else -1 for k in slots], dtype=torch.int64)
        places = torch.tensor([-1 if course.seen[t, k] else row[k] for k in slots], dtype=torch.int64)
        motion = Motion(*(batch[name][t, slot] for name in ("expected", "velocity", "std")))
        state = stage.evolving(state, graph, batch["boxes"][t, here], matched, 1 / RATE, SIZE, None, places, motion)
        slots += [k for k in seen if k not in slots]
        away = np.array([k for k in slots if not course.seen[t, k]], dtype=int)
        rows = [slots.index(k) for k in away]
        for name in ("boxes", "std", "left"):
            torch.testing.assert_close(getattr(state, name)[rows], whole[name][t, away], atol=1e-3, rtol=1e-4)
    assert len(slots) == 3 and edges == len(whole["relations"])


def test_untrained_it_says_what_the_filter_says(course: Course) -> None:
    batch = batch_of(course)
    output = scene_outputs(SceneGraphConstructor(**NETS), EvolvingSceneGraph(16), batch)
    torch.testing.assert_close(output["boxes"][batch["hidden"]], batch["expected"][batch["hidden"]])
    losses = scene_losses(batch, output)
    assert losses["iou"] == pytest.approx(losses["iou_filter"]) and losses["iou"] > 0.3


def test_losses_fall_and_reach_every_weight(course: Course, stage: SceneStage) -> None:
    batch = batch_of(course)
    weights = [w for module in stage.modules().values() for w in module.parameters()]
    optimiser = torch.optim.Adam(weights, 5e-3)
    history = []
    for _ in range(40):
        optimiser.zero_grad()
        loss, parts = stage.loss(batch, 0)
        loss.backward()
        optimiser.step()
        history.append({name: float(part.detach()) for name, part in parts.items()})
    assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in weights)
    assert all(history[-1][name] < history[0][name] for name in ("relation", "adjacency", "box", "left"))
    assert stage.collapse({"val/relation": 0.3}) is None and "worse" in stage.collapse({"val/relation": 1.5})


def test_errors_by_hand() -> None:
    expected = torch.tensor([[0.0, 0, 10, 20]])
    truth = torch.tensor([[4.0, 0, 14, 40]])
    torch.testing.assert_close(box_errors(expected, truth, torch.tensor([20.0])), torch.tensor([[0.2, 0.5, 0, 1.0]]))
    torch.testing.assert_close(paired_iou(expected, truth), torch.tensor([6 * 20 / (200 + 400 - 120)]))

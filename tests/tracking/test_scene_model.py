"""The learned scene graph behind the tracker: what it says of tracks, frame by frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scenegraph_track.config import SceneSettings, load_config
from scenegraph_track.errors import UserError
from scenegraph_track.graph import EvolvingSceneGraph, SceneGraphConstructor
from scenegraph_track.structures import ObjectState, SceneGraph
from scenegraph_track.tracking.matching import box_iou
from scenegraph_track.tracking.reference import Association, associate, start_state
from scenegraph_track.tracking.scene_model import (
    SceneModel,
    SceneTold,
    learned_scene,
    named_hiders,
    scene_model,
    with_scene,
)
from scenegraph_track.tracking.situation import prepare
from scenegraph_track.training.weights import save_weights

SIZE = (400, 300)
DIM = 16


def model(untrained: bool = False) -> SceneModel:
    torch.manual_seed(0)
    constructor, evolving = SceneGraphConstructor(DIM, 8), EvolvingSceneGraph(DIM)
    if not untrained:
        torch.nn.init.normal_(evolving.absent[-1].weight, std=0.5)
    return SceneModel(constructor.eval(), evolving.eval())


def nodes_of(decided: Association) -> dict[str, np.ndarray]:
    seen = decided.detection >= 0
    return {
        "track_id": decided.tracks.ids,
        "box": decided.boxes,
        "box_std": np.ones_like(decided.boxes),
        "state": np.where(seen, ObjectState.VISIBLE, ObjectState.HIDDEN),
        "shown": seen,
        "visibility": seen.astype(float),
        "score": np.ones(len(seen)),
    }


def walk(
    told_by: SceneModel, hidden: int, size: tuple[int, int] = SIZE, forget: bool = False, **more: np.ndarray
) -> list[SceneTold]:
    """One object walks behind another and is not detected for some frames; then two of everything that was said."""
    state, settings, said = start_state(), load_config("reference").tracker, []
    for k in range(10 + hidden):
        boxes = np.array([[150.0, 90, 230, 200], [60 + 10 * k, 100, 90 + 10 * k, 180]])[: 1 if k >= 10 else 2]
        boxes *= size[0] / SIZE[0]
        state, decided = associate(prepare(state, settings, k / 10, boxes, np.ones(len(boxes)), image_size=size))
        said.append(told_by.tell(nodes_of(decided), decided, state, size, **more))
        memory = said[-1].memory[:, :3] if forget else said[-1].memory
        state = replace(state, scene_ids=decided.tracks.ids, scene_memory=memory)
    return said


def test_a_hidden_object_gets_another_box_and_its_own_deviation() -> None:
    plain, learned = walk(model(untrained=True), 4)[-1], walk(model(), 4)[-1]
    assert learned.boxes.shape == (2, 4) and np.array_equal(plain.boxes[0], learned.boxes[0])
    assert 130 < plain.boxes[1, 0] < 220 and not np.allclose(plain.boxes[1], learned.boxes[1], atol=0.5)
    assert np.isnan(learned.box_std[0]).all() and (learned.box_std[1] > 0).all()
    sooner = walk(model(untrained=True), 1)[-1]
    assert (plain.box_std[1] > sooner.box_std[1]).all() and not np.allclose(plain.box_std[1], learned.box_std[1])
    assert learned.left[0] == 0 and 0 < learned.left[1] < 1
    assert plain.left[1] < 0.5 and learned.hidden_by.tolist() == [-1, 0]


def test_what_it_says_is_an_edge_of_the_scene_graph() -> None:
    told = walk(model(), 2)[-1]
    scene = SceneGraph.build(0, 0.0, {"track_id": np.array([1, 2])}, told.relates)
    assert scene.relates_index.tolist() == [[0, 1], [1, 0]] and ((scene.relations > 0) & (scene.relations < 1)).all()
    assert (scene.adjacency > 0).all()


def test_it_does_not_depend_on_resolution() -> None:
    small, large = walk(model(), 4)[-1], walk(model(), 4, (1600, 1200))[-1]
    np.testing.assert_allclose(4 * small.boxes, large.boxes, rtol=1e-3)
    np.testing.assert_allclose(small.relates["relation"], large.relates["relation"], atol=1e-3)


def test_memory_counts_and_that_of_another_width_does_not() -> None:
    said = walk(model(), 3)
    assert said[-1].memory.shape == (2, DIM) and not np.allclose(said[-1].memory, said[-2].memory)
    blind = walk(model(), 3, forget=True)
    assert np.array_equal(blind[0].memory, said[0].memory) and not np.allclose(blind[1].memory, said[1].memory)


@pytest.mark.parametrize("shown", [False, True])
def test_what_is_told_becomes_nodes_and_edges(shown: bool) -> None:
    # A prediction that the tracker reports stays as it is; another one is the learned one, and may have left.
    state, settings = start_state(), load_config("reference").tracker
    learned = model()
    learned.evolving.absent[-1].bias.data[8] = 99  # everything that is not seen has left
    for k in range(13):
        boxes = np.array([[150.0, 90, 230, 200], [60 + 10 * k, 100, 90 + 10 * k, 180]])[: 1 if k >= 10 else 2]
        state, decided = associate(prepare(state, settings, k / 10, boxes, np.ones(len(boxes)), image_size=SIZE))
        nodes = nodes_of(decided)
        nodes["shown"] = nodes["shown"] | shown
        after, relates, state = with_scene(learned, nodes, decided, state, SIZE)
    assert np.array_equal(state.scene_ids, [1, 2]) and state.scene_memory.shape == (2, DIM)
    assert np.array_equal(after["box"][1], nodes["box"][1]) == shown and (after["box_std"][1] != 1).all()
    assert after["state"].tolist() == [ObjectState.VISIBLE, ObjectState.HIDDEN if shown else ObjectState.LEFT]
    assert after["hidden_by"].tolist() == [0, 1 if shown else 0]
    assert relates["edge_index"].shape == (2, 2 if shown else 0) and len(relates["relation"]) == (2 if shown else 0)
    assert np.array_equal(after["hidden_by"], named_hiders(after))  # by boxes alone


def test_what_ships_is_a_trained_scene_graph() -> None:
    assert learned_scene(SceneSettings()) is None
    shipped = learned_scene(SceneSettings(weights="embedded"))
    assert shipped is not None and shipped.constructor.relations.strength.max() > 0
    plain, told = walk(model(untrained=True), 4)[-1], walk(shipped, 4)[-1]
    assert told.left[1] < 0.5 and box_iou(told.boxes, plain.boxes)[1, 1] > 0.5
    assert told.relates["relation"][0, 0] > 0.5  # it walked behind the other one


def test_no_tracks_at_all() -> None:
    state, settings = start_state(), load_config("reference").tracker
    state, decided = associate(prepare(state, settings, 0.0, np.zeros((0, 4)), np.zeros(0), image_size=SIZE))
    told = model().tell(nodes_of(decided), decided, state, SIZE, np.zeros(0), np.eye(3))
    assert told.boxes.shape == (0, 4) and told.relates["edge_index"].shape == (2, 0) and told.hidden_by.shape == (0,)


def test_weights_are_loaded_as_their_recipe_says(tmp_path: Path) -> None:
    path, made = tmp_path / "scene.safetensors", model()
    parts = {"constructor": made.constructor, "evolving": made.evolving}
    weights = {f"{part}.{name}": value for part, net in parts.items() for name, value in net.state_dict().items()}
    save_weights(path, weights, {"recipe": {"scene": {"node_dim": DIM, "edge_dim": 8}}})
    expected, found = walk(made, 2)[-1], walk(scene_model(path), 2)[-1]
    assert np.array_equal(found.boxes, expected.boxes) and np.array_equal(found.left, expected.left)
    save_weights(path.with_name("other.safetensors"), weights, {"recipe": {"scene": {"depth": 3}}})
    with pytest.raises(UserError, match="does not describe a scene graph"):
        scene_model(path.with_name("other.safetensors"))
    with pytest.raises(UserError, match="no such file"):
        scene_model(tmp_path / "missing.safetensors")

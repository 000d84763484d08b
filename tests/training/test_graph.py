"""The stage that teaches the graph tracker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from scenegraph_track.data.streams import simulate
from scenegraph_track.errors import UserError
from scenegraph_track.training.graph import GraphLoss, GraphStage, Roll, graph_losses, judged
from scenegraph_track.training.graph_data import FALSE, GraphData, make_clip, owners
from scenegraph_track.training.graph_targets import ALONE, UNKNOWN, frame_targets, joined_features, joined_targets
from scenegraph_track.training.run import run_training
from scenegraph_track.training.settings import load_recipe
from scenegraph_track.training.weights import read_metadata

TINY = [
    *("data.clips=2", "data.frames=5", "data.burn_in=2", "data.warm_up=4", "data.workers=0", "train.accelerator=cpu"),
    *("data.validation_presets=[dance]", "data.validation_streams=1", "data.validation_frames=8", "graph.width=8"),
    *("train.warmup_steps=0", "train.log_every=1", "graph.layers=2", "data.presets={dance: 1, street: 1}"),
]


def stage(*more: str) -> GraphStage:
    torch.manual_seed(0)
    made = load_recipe("graph", [*TINY, *more]).create_stage()
    assert isinstance(made, GraphStage)
    return made


def test_a_clip_follows_from_its_generator_and_has_what_was_asked_for() -> None:
    data = GraphData(warm_up=6, frames=4, depth=1.0, appearance=1.0)
    a, b, other = (make_clip(np.random.default_rng(seed), data) for seed in (5, 5, 6))
    assert a.state == b.state and len(a.moments) == 4 and a.seed == b.seed != other.seed
    for mine, same in zip(a.moments, b.moments, strict=True):
        assert np.array_equal(mine.boxes, same.boxes) and np.array_equal(mine.embeddings, same.embeddings)
        assert mine.depths.shape == mine.scores.shape == mine.owner.shape
        kinds, count = np.unique(mine.owner[mine.first], return_counts=True)
        assert (count == 1).all() and FALSE not in kinds
    without = make_clip(np.random.default_rng(5), GraphData(warm_up=6, frames=4, depth=0.0, appearance=0.0))
    assert without.moments[0].depths is None and without.moments[0].embeddings is None


def test_mirroring_keeps_the_truth_on_its_detections() -> None:
    data, errors = GraphData(presets={"street": 1.0}, warm_up=2, frames=3), []
    for seed in range(6):
        for moment in make_clip(np.random.default_rng(seed), data).moments:
            assert (moment.boxes[:, 2] > moment.boxes[:, 0]).all()
            true = moment.truth[moment.owner]
            width = moment.boxes[:, 2] - moment.boxes[:, 0]
            error = np.abs(moment.boxes[:, 0] + moment.boxes[:, 2] - true[:, 0] - true[:, 2]) / 2 / width
            errors.extend(error[moment.first])
    assert np.nanmedian(errors) < 0.2 and np.isfinite(errors).sum() > 20


def test_whose_track_it_is() -> None:
    had = np.array([[0, 5, 1], [0, 3, 0], [2, 0, 1], [0, 0, 4.0]])
    assert owners(had).tolist() == [1, -1, FALSE, 2]
    assert owners(had[:0]).tolist() == []


def test_targets_name_the_edge_to_the_objects_detection() -> None:
    clip = make_clip(np.random.default_rng(1), GraphData(presets={"street": 1.0}, warm_up=20, frames=2))

    roll = Roll(clip, GraphLoss())
    features, _ = roll.look(0)
    targets = frame_targets(clip, roll.situation, roll.moment, features)
    had = owners(clip.state.tracks.memory[:, -clip.identities - 1 :])
    track, detection = features.edge_index
    assert (targets.edge_of_track >= 0).sum() > 1
    for row, edge in enumerate(targets.edge_of_track):
        if edge >= 0:
            assert track[edge] == row and roll.moment.owner[detection[edge]] == had[row] > FALSE
            assert targets.edge_of_detection[detection[edge]] == edge
        elif edge == UNKNOWN:
            assert had[row] == FALSE or had[row] in roll.moment.owner
        else:
            assert edge == ALONE and (had[row] == -1 or had[row] not in roll.moment.owner)


def test_an_untrained_network_equals_the_reference_tracker_and_learns() -> None:
    made = stage("loss.by_reference=0", "data.frames=6")
    assert made.validate()["mean_hota_gain"] == 0
    batch = next(made.batches(0, 1, 0))
    optimiser = torch.optim.Adam(made.net.parameters(), 5e-3)
    losses = []
    for step in range(10):
        loss, figures = made.loss(batch, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(figures["matching"].detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert all(weight.grad is not None for weight in made.net.parameters())


def test_the_right_matching_costs_less_than_a_wrong_one() -> None:
    made = stage()
    batch = next(made.batches(0, 1, 0))

    roll = Roll(batch.clips[0], made.settings.loss)
    features, _ = roll.look(0)
    inputs = joined_features([features], torch.device("cpu"))
    targets = joined_targets([roll.targets()], [0], torch.device("cpu"))
    output = made.net(memory=torch.zeros(len(features.tracks), 8), **inputs)
    right = torch.full_like(output.logits, -12.0)
    right[targets.edge_of_track[targets.edge_of_track >= 0]] = 12.0
    losses = [
        float(graph_losses(replace(output, logits=logits), inputs, targets, made.settings.loss)["matching"].detach())
        for logits in (right, output.logits, -right)
    ]
    assert losses[0] < losses[1] < losses[2]


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [*TINY, "train.steps=4", "train.checkpoint_every=2", "train.validate_every=4"]
    whole = run_training("graph", options, tmp_path / "whole")
    loss = GraphStage.loss

    def stopped(self, batch, step):
        if step == 3:
            raise UserError("stop")
        return loss(self, batch, step)

    monkeypatch.setattr(GraphStage, "loss", stopped)
    with pytest.raises(UserError, match="stop"):
        run_training("graph", options, tmp_path / "resumed")
    monkeypatch.undo()
    resumed = run_training("graph", options, tmp_path / "resumed", resume=True)
    a, b = load_file(whole), load_file(resumed)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert {"hota", "mean_hota_gain", "worst_hota_gain"} <= set(read_metadata(whole)["held_out"])


def test_figures_of_the_reference_tracker_on_a_stream() -> None:

    result = judged(simulate("street", 0, "val", 20), None)
    assert 0 < result["HOTA"] <= 100 and result["IDSW"] >= 0 and result["DetPr"] > 20


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(UserError, match=r"data.presets: expected some of .*dance.*, found ballet"):
        load_recipe("graph", ["data.presets={ballet: 1}"])

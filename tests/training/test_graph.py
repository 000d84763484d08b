"""The stage that teaches the graph tracker."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scenegraph_track.data.streams import simulate
from scenegraph_track.errors import UserError
from scenegraph_track.graph.features import FrameFeatures
from scenegraph_track.training.graph import GraphStage, graph_losses, judged
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


def test_an_untrained_network_equals_the_reference_tracker_and_learns() -> None:
    made = stage("data.frames=6")
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
    frame = next(made.batches(0, 1, 0)).frames(torch.device("cpu"))[0]
    inputs = {field.name: frame[field.name] for field in fields(FrameFeatures)}
    output = made.net(memory=torch.zeros(len(frame["memory"]), 8), **inputs)
    right = torch.full_like(output.logits, -12.0)
    right[frame["edge_of_track"][frame["edge_of_track"] >= 0]] = 12.0
    losses = [
        float(graph_losses(replace(output, logits=logits), frame, made.settings.loss)["matching"].detach())
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

"""The learning rate over steps, and over parts of a model."""

from __future__ import annotations

import pytest
from torch import nn

from scenegraph_track.errors import UserError
from scenegraph_track.training.optimiser import learning_rate, make_optimiser, set_learning_rate
from scenegraph_track.training.settings import TrainSettings


def test_the_schedule_rises_and_falls() -> None:
    settings = TrainSettings(steps=104, warmup_steps=4, learning_rate=1.0, final_learning_rate=0.1)
    rates = [learning_rate(step, settings) for step in range(104)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[54] == pytest.approx(0.55)  # half way
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)


def test_a_schedule_that_is_all_warmup() -> None:
    assert learning_rate(1, TrainSettings(steps=2, warmup_steps=2, learning_rate=3.0)) == pytest.approx(2.0)


def test_the_longest_beginning_gives_the_factor() -> None:
    module = nn.ModuleDict({"depth": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "depths": nn.Linear(2, 1)})
    module["depths"].bias.requires_grad_(False)  # stays as it is
    optimiser = make_optimiser(module, TrainSettings(), {"depth": 0.5, "depth.0": 0.1})
    set_learning_rate(optimiser, 2.0)
    names = {id(weight): name for name, weight in module.named_parameters()}
    found = {names[id(w)]: (g["lr"], g["weight_decay"]) for g in optimiser.param_groups for w in g["params"]}
    assert found == {
        "depth.0.weight": (0.2, 0.01),
        "depth.0.bias": (0.2, 0.0),
        "depth.1.weight": (1.0, 0.01),
        "depth.1.bias": (1.0, 0.0),
        "depths.weight": (2.0, 0.01),
    }


def test_a_factor_that_fits_nothing_and_nothing_to_train() -> None:
    module = nn.ModuleDict({"depth": nn.Linear(2, 2)})
    with pytest.raises(UserError, match=r"no weight begins with dept$"):
        make_optimiser(module, TrainSettings(), {"dept": 0.1})
    with pytest.raises(UserError, match="expected weights to train, found none"):
        make_optimiser(module.requires_grad_(False), TrainSettings(), {})

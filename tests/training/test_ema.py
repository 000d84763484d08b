"""The moving average of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scenegraph_track.training.ema import Ema


def test_the_average_follows_its_equation_and_counters_are_copied() -> None:
    module = nn.BatchNorm1d(1)
    ema = Ema(module, decay=0.15)
    nn.init.constant_(module.weight, 3.0)
    module.num_batches_tracked.fill_(5)
    ema.update(module, step=0)  # decay still 1 / 10
    assert ema.average["weight"].item() == pytest.approx(0.1 * 1 + 0.9 * 3)
    assert ema.average["num_batches_tracked"].item() == 5
    ema.update(module, step=100)  # decay has risen to its value
    assert ema.average["weight"].item() == pytest.approx(0.15 * 2.8 + 0.85 * 3)


def test_the_own_weights_come_back_bit_by_bit() -> None:
    module = nn.Linear(3, 3)
    own = {name: value.clone() for name, value in module.state_dict().items()}
    ema = Ema(module, 0.9)
    ema.average["weight"].zero_()
    with pytest.raises(RuntimeError), ema.applied(module):
        assert not module.weight.any()
        raise RuntimeError
    assert all(torch.equal(value, own[name]) for name, value in module.state_dict().items())

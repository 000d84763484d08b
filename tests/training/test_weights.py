"""Weights files: strict loading, and what they say about themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from scenegraph_track.errors import UserError
from scenegraph_track.training.weights import load_weights, read_metadata, save_weights


def net(hidden: int = 3) -> nn.ModuleDict:
    return nn.ModuleDict({"depth": nn.Linear(2, hidden), "pose": nn.Linear(hidden, 1)})


def test_weights_and_metadata_come_back(tmp_path: Path) -> None:
    module, other = net(), net()
    story = {"recipe": {"a": [1, 2.5]}, "step": 7, "commit": "12345678e9", "held_out": {"loss": 0.5}}
    save_weights(tmp_path / "w.safetensors", module.state_dict(), story)
    known = load_weights(other, tmp_path / "w.safetensors")
    assert known == read_metadata(tmp_path / "w.safetensors") == {"format": "scenegraph-track weights 1", **story}
    assert all(torch.equal(a, b) for a, b in zip(module.state_dict().values(), other.state_dict().values()))


def test_one_module_of_a_file(tmp_path: Path) -> None:
    module, pose = net(), nn.Linear(3, 1)
    save_weights(tmp_path / "w.safetensors", module.state_dict(), {})
    load_weights(pose, tmp_path / "w.safetensors", part="pose")
    assert torch.equal(pose.weight, module["pose"].weight)


def test_weights_that_do_not_fit_are_all_named_and_nothing_is_loaded(tmp_path: Path) -> None:
    given = {"depth.weight": torch.zeros(5, 2), "depth.bias": torch.zeros(3), "flow.weight": torch.zeros(1)}
    save_weights(tmp_path / "w.safetensors", given, {})
    module = net()
    before = module["depth"].bias.clone()
    with pytest.raises(UserError) as wrong:
        load_weights(module, tmp_path / "w.safetensors")
    assert str(wrong.value) == (
        f"{tmp_path / 'w.safetensors'}: the weights do not fit ModuleDict: 2 missing (pose.weight, pose.bias); "
        "1 unexpected (flow.weight); 1 of another shape (depth.weight is (5, 2), not (3, 2))"
    )
    assert torch.equal(module["depth"].bias, before)


def test_shared_weights_can_be_written(tmp_path: Path) -> None:
    module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    module["b"].weight = module["a"].weight
    save_weights(tmp_path / "w.safetensors", module.state_dict(), {})
    load_weights(module, tmp_path / "w.safetensors")


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file of weights"):
        read_metadata(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not this")
    with pytest.raises(UserError, match="expected a safetensors file"):
        load_weights(net(), tmp_path / "bad.safetensors")

"""Networks of target models from weights files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from geometry.errors import GeometryError
from scenegraph_track.errors import UserError
from scenegraph_track.target import embedded
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.training.weights import save_weights

TINY = {"channels": [4, 6, 8], "blocks": [0, 1], "dim": 8, "layers": 1, "decoder_layers": 1, "view": 32}


def saved(path: Path, **recipe) -> TargetNetwork:
    torch.manual_seed(0)
    net = TargetNetwork(TargetNetSettings(**TINY)).eval()
    weights = {f"target.{name}": value for name, value in net.state_dict().items()}
    save_weights(path, weights, {"recipe": {"target_net": TINY, **recipe}})
    return net


def test_a_network_is_built_as_its_file_says(tmp_path: Path) -> None:
    net = saved(tmp_path / "w.safetensors", following={"factor": 4.25, "memory": {"confident": 0.5}})
    found = embedded.target_network(tmp_path / "w.safetensors")
    image = torch.rand(1, 3, 32, 32)
    assert not found.training and not any(weight.requires_grad for weight in found.parameters())
    assert torch.allclose(found.features(image), net.features(image), atol=1e-5)
    settings = embedded.follow_settings(tmp_path / "w.safetensors")
    assert settings.factor == 4.25 and settings.memory.confident == 0.5 and settings.memory.visible == 0.85


def test_the_weights_that_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "SHIPPED", tmp_path / "target.safetensors")
    for read in (embedded.target_network, embedded.follow_settings):
        with pytest.raises(UserError, match="no trained target model ships with this version"):
            read()
    saved(tmp_path / "target.safetensors")
    assert embedded.target_network().settings.view == 32
    assert embedded.follow_settings().interval == 5


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match=r"none.safetensors: no such file"):
        embedded.target_network(tmp_path / "none.safetensors")
    path = tmp_path / "w.safetensors"
    saved(path, target_net={**TINY, "dim": 16})
    with pytest.raises(GeometryError, match="do not fit TargetNetwork"):
        embedded.target_network(path)
    saved(path, target_net={"layerz": 3})
    with pytest.raises(UserError, match="the section target_net of the recipe in it does not describe TargetNetS"):
        embedded.target_network(path)

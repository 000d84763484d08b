"""Point networks from weights files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from geometry.errors import GeometryError
from scenegraph_track.errors import UserError
from scenegraph_track.occlusion import embedded
from scenegraph_track.occlusion.point_net import PointNet
from scenegraph_track.occlusion.point_tracker import PointTracker
from scenegraph_track.training.weights import save_weights


def save(path: Path, net: PointNet, **changed) -> None:
    weights = {f"points.{name}": value for name, value in net.state_dict().items()}
    save_weights(path, weights, {"recipe": {"point_net": {**net.settings.model_dump(mode="json"), **changed}}})


def test_a_network_is_built_as_its_file_says(net: PointNet, moving: list[Tensor], tmp_path: Path) -> None:
    save(tmp_path / "w.safetensors", net)
    found = embedded.point_network(tmp_path / "w.safetensors")
    assert found.settings == net.settings and not found.training
    assert not any(weight.requires_grad for weight in found.parameters())
    queries = torch.tensor([[0.0, 20.0, 15.0]])
    tracker = PointTracker.from_pretrained(tmp_path / "w.safetensors", stride=1)
    assert tracker.stride == 1
    assert torch.equal(
        tracker.track(moving[:3], queries).positions, PointTracker(net, 1).track(moving[:3], queries).positions
    )


def test_the_weights_that_ship(net: PointNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "SHIPPED", tmp_path / "points.safetensors")
    with pytest.raises(UserError, match="no trained point tracker ships with this version"):
        PointTracker.from_pretrained()
    save(tmp_path / "points.safetensors", net)
    assert PointTracker.from_pretrained().window == net.settings.window


def test_files_that_do_not_fit_are_named(net: PointNet, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(GeometryError, match=r"w.safetensors: no such file"):
        embedded.point_network(path)
    save(path, net, dim=32)
    with pytest.raises(GeometryError, match="do not fit PointNet"):
        embedded.point_network(path)
    save(path, net, layerz=3)
    with pytest.raises(UserError, match="the section point_net of the recipe in it does not describe PointNetSettings"):
        embedded.point_network(path)

"""Which file of weights is meant, and what the recipe in it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import BaseModel, ConfigDict

from geometry.errors import GeometryError
from scenegraph_track.errors import UserError
from scenegraph_track.trained import recipe_settings, weights_file
from scenegraph_track.training.weights import save_weights


class Net(BaseModel):
    model_config = ConfigDict(extra="forbid")
    dim: int = 4


def test_weights_in_place_of_those_that_ship(tmp_path: Path) -> None:
    shipped = tmp_path / "net.safetensors"
    with pytest.raises(
        UserError, match=r"no trained net ships with this version: train it \(scenegraph-track train n\)"
    ):
        weights_file(None, shipped, "net", "n")
    assert weights_file("mine.safetensors", shipped, "net", "n") == Path("mine.safetensors")
    shipped.touch()
    assert weights_file(None, shipped, "net", "n") == shipped


def test_settings_from_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_weights(file, {"a": torch.zeros(1)}, {"recipe": {"net": {"dim": 8}, "wrong": {"dimm": 8}}})
    assert recipe_settings(file, "net", Net).dim == 8
    assert recipe_settings(file, "absent", Net, optional=True).dim == 4
    for section, optional in (("wrong", False), ("wrong", True), ("absent", False)):
        with pytest.raises(
            UserError, match=f"w.safetensors: the section {section} of the recipe in it does not describe"
        ):
            recipe_settings(file, section, Net, optional)
    with pytest.raises(GeometryError, match="no such file of weights"):
        recipe_settings(tmp_path / "none.safetensors", "net", Net)

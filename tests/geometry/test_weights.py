"""Weights that fit or are refused, and the ones that ship."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from geometry.errors import GeometryError
from geometry.weights import embedded_weights, load_weights, read_metadata, recipe_section


def test_a_part_of_a_file(tmp_path: Path) -> None:
    net = nn.Linear(2, 3)
    weights = {f"one.{name}": value + 1 for name, value in net.state_dict().items()}
    save_file(weights | {"two.x": torch.zeros(1)}, tmp_path / "w.safetensors", {"recipe": '{"a": 1}', "seed": "7"})
    metadata = load_weights(net, tmp_path / "w.safetensors", "one")
    assert torch.equal(net.weight, weights["one.weight"])
    assert metadata == read_metadata(tmp_path / "w.safetensors") == {"recipe": {"a": 1}, "seed": 7}


@pytest.mark.parametrize(
    ("recipe", "section"),
    [('{"net": {"dim": 8}}', {"dim": 8}), ('{"other": {}}', {}), ('{"net": 3}', {}), ("no recipe", {}), ("[1]", {})],
)
def test_a_section_of_the_recipe(tmp_path: Path, recipe: str, section: dict) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors", {"recipe": recipe})
    assert recipe_section(tmp_path / "w.safetensors", "net") == section


def test_what_does_not_fit_is_named_and_nothing_is_loaded(tmp_path: Path) -> None:
    net = nn.Linear(2, 3)
    before = net.weight.clone()
    save_file({"weight": torch.zeros(3, 4), "more": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(GeometryError, match=r"1 missing \(bias\); 1 unexpected \(more\); 1 of another shape"):
        load_weights(net, tmp_path / "w.safetensors")
    assert torch.equal(net.weight, before)


def test_no_file_and_no_safetensors(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="no such file of weights"):
        load_weights(nn.Linear(1, 1), tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(GeometryError, match="expected a safetensors file"):
        read_metadata(tmp_path / "text.safetensors")


def test_embedded_weights_that_do_not_exist() -> None:
    with pytest.raises(GeometryError, match="found 'nothing'"):
        embedded_weights("nothing")

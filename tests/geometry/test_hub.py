"""Where pretrained models come from: what is wrong with an id, a folder or its files is said in one sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from geometry.errors import GeometryError
from geometry.hub import HubModel

NOTHING = re.compile(r"(?!)")


class OtherError(GeometryError):
    """As a package above has it."""


def hub_model(source: str | Path, **options: Any) -> HubModel:
    return HubModel(str(source), "someone/some-model", OtherError, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model in the library's own format."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    ViTModel(ViTConfig(**sizes, image_size=8, patch_size=4)).save_pretrained(tmp_path)
    return tmp_path


def sentence(error: pytest.ExceptionInfo[BaseException]) -> str:
    """The text of an error of the kind that was asked for."""
    assert error.type is OtherError and "\n" not in str(error.value)
    return str(error.value)


def load_weights(folder: Path, unused: re.Pattern[str] = NOTHING) -> Any:
    from transformers import ViTModel

    files = hub_model(folder)
    return files.weights(ViTModel, files.config(), unused)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("empty", "expected a folder with config.json, preprocessor_config.json and model.safetensors"),
        ("model.safetensors", "expected a folder, or a hub id such as someone/some-model"),
        ("none", "expected a folder, or a hub id such as someone/some-model"),
    ],
)
def test_places_that_hold_no_model(place: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(OtherError) as error:
        hub_model(tmp_path / place)
    assert sentence(error).startswith(f"{tmp_path / place}: {message}")


@pytest.mark.parametrize("source", ["a/b/c", "a b", "https://example.org/a"])
def test_what_can_be_no_hub_id_is_not_asked_for(source: str) -> None:
    with pytest.raises(OtherError) as error:
        hub_model(source)
    assert sentence(error) == f"{source}: expected a folder, or a hub id such as someone/some-model"


def test_hub_out_of_reach_or_without_the_model() -> None:
    with pytest.raises(OtherError) as error:
        hub_model("nobody-at-all/no-such-model", local_files_only=True).config()
    assert "check the id and the connection, or download it first and give its local folder" in sentence(error)


def test_hub_gives_what_the_library_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoConfig

    def unknown(*args: Any, **options: Any) -> None:
        raise ValueError("no model_type\nin the file")

    monkeypatch.setattr(AutoConfig, "from_pretrained", unknown)
    with pytest.raises(OtherError) as error:
        hub_model("someone/odd").config()
    assert sentence(error) == "someone/odd: not a model that transformers knows: no model_type"


@pytest.mark.parametrize("text", ["{", '{"model_type": "of_tomorrow"}'])
def test_configurations_that_cannot_be_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(OtherError) as error:
        hub_model(tmp_path).config()
    assert sentence(error).startswith(f"{tmp_path}: config.json cannot be read as a model of transformers: ")


def test_the_library_is_asked_as_one_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A folder in the home directory, a revision, never the hub; code that lies beside a model is not run.
    class Kind:
        @staticmethod
        def from_pretrained(place: str, **options: Any) -> tuple[str, dict[str, Any]]:
            return place, options

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    place, options = hub_model("~", revision="v2", local_files_only=True).load(Kind, more=1)
    assert place == str(tmp_path)
    assert options == {"revision": "v2", "local_files_only": True, "trust_remote_code": False, "more": 1}


def test_weights_come_in_float32_as_they_were_saved(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({key: value.half() for key, value in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    loaded = load_weights(folder).state_dict()
    assert {value.dtype for value in loaded.values()} == {torch.float32}
    assert torch.equal(loaded["pooler.dense.weight"], tensors["pooler.dense.weight"].half().float())


def test_weights_that_are_incomplete_broken_or_pickled(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    save_file({key: value for key, value in tensors.items() if "layernorm." not in key}, weights, {"format": "pt"})
    with pytest.raises(OtherError) as error:
        load_weights(folder)
    assert sentence(error) == f"{folder}: the weights lack 2 tensors of the model, such as layernorm.bias"
    assert torch.equal(load_weights(folder, re.compile(r"layernorm\.")).layernorm.weight, torch.ones(8))
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(OtherError) as error:
        load_weights(folder)
    assert "expected weights that fit config.json as safetensors (model.safetensors)" in sentence(error)
    weights.unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(OtherError) as error:
        load_weights(folder)
    assert "as safetensors" in sentence(error)


def test_errors_of_the_library_are_explained_and_own_ones_kept(folder: Path) -> None:
    files = hub_model(folder)
    with pytest.raises(OtherError) as error, files.explained("no usable processor"):
        raise KeyError
    assert sentence(error) == f"{folder}: no usable processor: KeyError"
    with pytest.raises(GeometryError, match=r"^mine$"), files.explained("no usable processor"):
        raise GeometryError("mine")

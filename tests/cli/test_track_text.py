"""``track --text``: what a sentence means is followed, or it is said that nothing matches."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from scenegraph_track.cli.app import run
from scenegraph_track.language.network import LanguageNetSettings, LanguageNetwork
from scenegraph_track.language.reading import Place, Reader
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.training.weights import save_weights

TINY = LanguageNetSettings(channels=(4, 6, 8), blocks=(0, 1), stages=2, heads=2, text_dim=8, tower=8)
TARGET = TargetNetSettings(channels=(4, 6, 8), blocks=(0, 1), dim=8, layers=1, decoder_layers=1, view=32)


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    torch.manual_seed(0)
    files = {}
    for name, network, part in (
        ("language", LanguageNetwork(TINY), {"language_net": TINY.model_dump(mode="json")}),
        ("target", TargetNetwork(TARGET), {"target_net": TARGET.model_dump(mode="json")}),
    ):
        files[name] = tmp_path / f"{name}.safetensors"
        state = {f"{name}.{key}": value for key, value in network.state_dict().items()}
        save_weights(files[name], state, {"recipe": part})
    return [x for name, file in files.items() for x in ("--set", f"{name}.weights={file}")]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six frames; something red is there from the third."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(6):
        image = np.full((72, 96, 3), 128, np.uint8)
        if index >= 2:
            image[20:44, 30:54] = [0, 0, 255]
        cv2.imwrite(str(folder / f"{index:06d}.png"), image)
    return folder


@pytest.fixture(autouse=True)
def red(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's places are what is red, if the sentence says so."""

    def places(self: Reader, look, text: str) -> list[Place]:
        image = look.seen.images[0, :3]
        rows, columns = torch.nonzero((image[0] > 0.9) & (image[1] < 0.1), as_tuple=True)
        if "red" not in text or not len(rows):
            return []
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return [Place(np.array([float(x) for x in box]), 0.9)]

    monkeypatch.setattr(Reader, "places", places)


def rows(folder: Path) -> np.ndarray:
    text = (folder / "images.txt").read_text()
    return np.array([[float(x) for x in line.split(",")] for line in text.splitlines()]).reshape(-1, 10)


def test_what_enters_later_is_found(images: Path, settings: list[str], tmp_path: Path) -> None:
    assert run(["track", str(images), "--text", "the red square", *settings, "--out", str(tmp_path / "out"), "-q"]) == 0
    found = rows(tmp_path / "out")
    assert found[0, 0] == 3  # frames count from 1 in files
    np.testing.assert_allclose(found[0, 2:6], [30, 20, 24, 24], atol=0.1)


def test_text_that_matches_nothing_says_so(images: Path, settings: list[str], tmp_path: Path, capsys) -> None:
    arguments = ["track", str(images), "--text", "the blue star", *settings, "--out", str(tmp_path / "out")]
    assert run(arguments) == 0
    assert 'nothing in these frames matches "the blue star"' in capsys.readouterr().err
    assert len(rows(tmp_path / "out")) == 0


def test_a_box_and_a_sentence(images: Path, settings: list[str], tmp_path: Path) -> None:
    box = ["--init", "30,20,24,24", "--frame", "2", "--text", "the red square"]
    assert run(["track", str(images), *box, *settings, "--out", str(tmp_path / "out"), "-q"]) == 0
    found = rows(tmp_path / "out")
    assert found[0, 0] == 3 and set(found[:, 1]) == {1.0}


def test_unknown_words_are_told(images: Path, settings: list[str], tmp_path: Path, capsys) -> None:
    arguments = ["track", str(images), *settings, "--out", str(tmp_path / "out"), "--text"]
    assert run([*arguments, "the red zeppelin"]) == 0
    assert "nothing is known of zeppelin" in capsys.readouterr().err
    assert run([*arguments, "the zeppelin"]) == 2
    assert "expected words of looks, place or motion" in capsys.readouterr().err
    assert run([*arguments, "red", "--no-images"]) == 2

"""The model card of the weights that ship, and how large they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from geometry.weights import read_metadata
from scenegraph_track.cli.app import run
from scenegraph_track.model_card import FORMATS, LARGEST_RELEASE, model_card, shipped_files
from scenegraph_track.training.weights import save_weights


def test_the_weights_that_ship_are_small() -> None:
    sizes = {name: path.stat().st_size for name, path in shipped_files().items()}
    assert sum(sizes.values()) <= LARGEST_RELEASE == 25_000_000, sizes
    assert {"detector", "flow", "depth", "graph", "scene", "target", "rules"} <= set(sizes)


@pytest.mark.parametrize("name", sorted(shipped_files()))
def test_each_says_how_it_was_made_and_how_good_it_is(name: str) -> None:
    story = read_metadata(shipped_files()[name])
    assert story["format"] in FORMATS
    assert story["recipe"] and story["held_out"]
    assert "seed" in story or "seed" in story["recipe"]


def test_the_card_says_what_the_files_say(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    story = {
        "stage": "detector",
        "seed": "7",
        "step": "120",
        "version": "0.3",
        "commit": "0123456789abcdef-dirty",
        "held_out": {"mbo": 41.23456, "by": {"still": 1.5}},
        "recipe": {"labels": {"folder": "/elsewhere/runs/objects", "presets": {"easy": 1.0}, "scenes": 12}},
    }
    save_weights(path, {"a": torch.zeros(3)}, story)
    card = model_card({"one.safetensors": path}, "tracker: {}\n")
    assert card.startswith("---\nlicense: apache-2.0\n")
    row = "| one.safetensors | 0.00 | detector | labels: presets easy, scenes 12 | 7 | 120 | 0.3 | 012345678-dirty |"
    assert row in card and "mbo 41.23, by/still 1.5" in card and "tracker: {}" in card
    assert "folder: objects" in card and "elsewhere" not in card, "no paths of the machine that it ran on"


def test_the_card_tells_the_step_that_is_kept_and_what_was_before(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    train = {"steps": 1800, "start": {"depth": "runs/a.safetensors"}}
    story = {"stage": "depth", "step": 1500, "recipe": {"train": train}, "history": "400 steps on less data"}
    save_weights(path, {"a": torch.zeros(3)}, story)
    card = model_card({"one": path})
    assert "| one | 0.00 | depth | not recorded | not recorded | 1500 of 1800 | not recorded | not recorded |" in card
    told = "- **one**: began with the weights of an earlier run (`train.start`); 400 steps on less data"
    assert f"Not by the run of the recipe alone:\n\n{told}\n\n## What" in card


def test_what_a_file_does_not_say_is_said_in_words() -> None:
    table = model_card(shipped_files()).split("\n\nStep:")[0]
    assert "?" not in table.split("## Files")[1]
    rows = {line.split(" | ")[0]: line for line in table.splitlines()}
    assert rows["| rules"].endswith("| 0 | not recorded | not recorded | not recorded |")
    assert rows["| scene"].endswith("| 0 | 1500 of 1500 | 0.1.0 | not recorded |")


def test_files_of_others_are_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "backbone").mkdir()
    card = model_card({"backbone": tmp_path / "backbone"})
    assert "under licences of their own: `backbone`" in card and "(0.0 MB in all)" in card


def test_info_prints_the_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--card"]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == model_card(shipped_files()).strip()
    assert "## Limits" in printed and "## Licence" in printed and "| detector |" in printed

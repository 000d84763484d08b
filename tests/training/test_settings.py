"""Recipes: complete, checked, and with errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scenegraph_track.errors import UserError
from scenegraph_track.training.settings import TrainSettings, differences, load_recipe, named_recipes


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=3", r"--set train.stepz=3: unknown setting train.stepz; did you mean train.steps\?"),
        ("data.batchsize=3", r"unknown setting data.batchsize; did you mean data.batch_size\?"),
        ("dat=3", r"unknown setting dat; did you mean data\?"),
        ("train.steps=0", "--set train.steps=0: train.steps: input should be greater than or equal to 1"),
        ("train.precision=8", "train.precision: input should be '32-true'"),
        ("train.warmup_steps=99", "train.*: expected warmup_steps <= steps, found 99 and 12"),
        ("train.devices=0", "devices: expected at least 1 or auto, found 0"),
        ("stage=tinny", r"stage tinny: expected one of .*tiny; did you mean tiny\?"),
        ("stage=[1]", r"stage: expected the name of a stage \(found \[1\]\)"),
        ("train=7", r"train: expected a mapping of settings \(found 7\)"),
        ("train.steps", "--set train.steps: expected key=value"),
    ],
)
def test_wrong_settings_name_the_key(tiny: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe(tiny, [override])


def test_a_missing_file_and_one_that_is_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(UserError, match="expected a mapping of settings, found list"):
        load_recipe(tmp_path / "list.yaml")


def test_the_text_of_a_recipe_is_the_recipe(tiny: Path, tmp_path: Path) -> None:
    recipe = load_recipe(tiny, ["data.noise=0.25"])
    (tmp_path / "again.yaml").write_text(recipe.text())
    assert load_recipe(tmp_path / "again.yaml") == recipe
    assert set(yaml.safe_load(recipe.text())["train"]) == set(TrainSettings.model_fields)


def test_differences_name_what_enters_the_weights(tiny: Path) -> None:
    old = load_recipe(tiny).values()
    new = load_recipe(tiny, ["train.seed=4", "train.devices=2", "train.log_every=7", "data.noise=1"]).values()
    assert differences(old, new) == ["data.noise", "train.seed"]


def test_named_recipes_all_load() -> None:
    assert all(load_recipe(name).text() for name in named_recipes())

"""Trackers saved and loaded: the same results, everything in the folder, and what is said where something is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from geometry.video import VideoGeometry
from scenegraph_track.config import SAVED, WEIGHTS_KEYS, Config, load_config
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.errors import UserError
from scenegraph_track.graph.export import to_json_line
from scenegraph_track.saved import used_weights
from scenegraph_track.structures import Frame
from scenegraph_track.tracking import release
from scenegraph_track.tracking.tracker import Tracker
from tests.tiny_slots import BACKBONES, tiny_backbone, tiny_detector

EVERYTHING = (
    *("tracker.graph.weights=embedded", "tracker.appearance.kind=both", "target.weights=embedded"),
    *("geometry.working_size=64", "detector.threshold=0", "tracker.scores.low=0", "tracker.scores.high=0"),
    "tracker.scores.birth=0",
)
FILES = {"graph", "scene", "appearance", "detector", "flow", "depth"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "tracker"
    Tracker.from_pretrained("embedded", EVERYTHING).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def lines(tracker: Tracker) -> list[str]:
    """The scene graphs of a small world, as they are written to files."""
    clip, state, found = render(sample_scene("standard", "val", seed=4, size=(96, 64), frames=4)), tracker.start(), []
    for k, frame in enumerate(clip.frames):
        image = torch.from_numpy(np.ascontiguousarray(frame.image.transpose(2, 0, 1))).float() / 255
        state, scene = tracker.step(state, Frame(index=k, timestamp=k / 10, image=image))
        found.append(to_json_line(scene))
    return found


def test_a_saved_tracker_gives_the_same_to_the_byte(copy: Path) -> None:
    found = lines(Tracker.from_pretrained(copy))
    assert '"track_id"' in "".join(found) and found == lines(Tracker.from_pretrained("embedded", EVERYTHING))


def test_the_folder_holds_settings_weights_and_a_card(saved: Path) -> None:
    names = {path.name for path in saved.iterdir()}
    assert names == {f"{name}.safetensors" for name in FILES} | {SAVED, "config.json", "README.md"}
    values = yaml.safe_load((saved / SAVED).read_text())
    assert list(values) == list(Config().model_dump()) and values["geometry"]["flow"] == "flow.safetensors"
    assert values["target"]["weights"] == "appearance.safetensors", "one file of target models serves both"
    card = (saved / "README.md").read_text()
    assert "| detector.safetensors |" in card and "settings of the tracker" in card


def test_a_saved_tracker_can_be_saved_again_and_changed(copy: Path, tmp_path: Path) -> None:
    again = Tracker.from_pretrained(copy, ["tracker.life.hidden_seconds=2"])
    again.save_pretrained(tmp_path / "again")
    assert {p.name for p in (tmp_path / "again").iterdir()} == {p.name for p in copy.iterdir()}
    assert load_config(tmp_path / "again").tracker.life.hidden_seconds == 2
    with pytest.raises(UserError, match="exists and is not empty"):
        again.save_pretrained(copy)
    again.save_pretrained(copy, overwrite=True)
    assert load_config(copy).tracker.life.hidden_seconds == 2


def test_every_setting_that_names_weights_is_known() -> None:
    def named(values: dict[str, Any], before: str = "") -> set[str]:
        inner = [named(value, f"{before}{key}.") for key, value in values.items() if isinstance(value, dict)]
        return set().union({f"{before}{key}" for key in values if key == "weights"}, *inner)

    assert named(Config().model_dump()) <= set(WEIGHTS_KEYS)
    assert set(used_weights(load_config("embedded", EVERYTHING))) <= set(WEIGHTS_KEYS)


def test_a_pretrained_backbone_comes_along(tmp_path: Path) -> None:
    backbone = tiny_backbone(tmp_path / "timm", BACKBONES["dinov2"])
    tiny_detector(tmp_path / "mine.safetensors", BACKBONES["dinov2"], backbone)
    more = [*EVERYTHING, f"detector.weights={tmp_path / 'mine.safetensors'}"]
    tracker = Tracker.from_config("embedded", more)
    wanted = lines(tracker)
    tracker.save_pretrained(tmp_path / "saved")
    for gone in (backbone, tmp_path / "mine.safetensors"):
        gone.rename(tmp_path / f"gone-{gone.name}")
    assert (tmp_path / "saved" / "backbone" / "config.json").is_file()
    assert lines(Tracker.from_pretrained(tmp_path / "saved")) == wanted


def test_what_is_wrong_is_said_in_a_sentence(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: expected a folder that save_pretrained wrote, found no config\.yaml"):
        Tracker.from_pretrained(tmp_path / "empty")
    with pytest.raises(UserError, match=r"takes a configuration"):
        Tracker.from_pretrained("boxes")
    with pytest.raises(UserError, match="expected embedded, a folder"):
        Tracker.from_pretrained("embeded")
    shutil.copy(copy / "graph.safetensors", copy / "detector.safetensors")
    with pytest.raises(UserError, match="weights of detector do not fit SlotDetector"):
        Tracker.from_pretrained(copy)
    (copy / "detector.safetensors").unlink()
    with pytest.raises(UserError, match=r"detector\.weights: expected the weights .*detector\.safetensors, found no"):
        Tracker.from_pretrained(copy)


def test_nothing_is_left_where_a_tracker_cannot_be_saved(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    for name, message in (("broken", "expected a safetensors file"), ("missing", "no such file of weights")):
        tracker = Tracker.from_config("boxes", [f"tracker.graph.weights={tmp_path / name}.safetensors"])
        with pytest.raises(UserError, match=f"tracker.graph.weights: .*{message}"):
            tracker.save_pretrained(tmp_path / "out")
    with pytest.raises(UserError, match="given in Python"):
        Tracker(load_config("reference"), VideoGeometry("dis_fast")).save_pretrained(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.safetensors"]


def test_to_the_hub_and_back(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The hub is a folder: what is uploaded there is what is downloaded.
    hub = tmp_path / "hub"

    class Made:
        repo_id = "somebody/tracker"

    def upload(self: object, folder_path: Path, repo_id: str, **options: Any) -> str:
        shutil.copytree(folder_path, hub)
        return f"https://hub/{repo_id}/commit/1"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi.create_repo", lambda self, **options: Made)
    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi.upload_folder", upload)
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", lambda filename, **options: str(hub / filename))
    monkeypatch.setattr(release, "snapshot_download", lambda name, **options: str(hub))
    tracker = Tracker.from_pretrained(copy)
    assert tracker.push_to_hub("somebody/tracker", private=True) == "https://hub/somebody/tracker/commit/1"
    assert {path.name for path in hub.iterdir()} == {path.name for path in copy.iterdir()}
    found = Tracker.from_pretrained("somebody/tracker", ["tracker.life.hidden_seconds=3"])
    assert found.config.tracker.life.hidden_seconds == 3
    assert found.config.detector.weights == str(hub / "detector.safetensors")


def test_a_hub_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: Any, **options: Any) -> str:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", unreachable)
    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi.create_repo", unreachable)
    with pytest.raises(UserError, match=r"^some/body: no such folder, and not to be had from the hub: no route$"):
        Tracker.from_pretrained("some/body")
    with pytest.raises(UserError, match=r"^some/body: cannot be pushed to the hub: no route$"):
        Tracker.from_config("reference").push_to_hub("some/body")

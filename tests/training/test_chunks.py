"""Items that are made once, kept in files, and shared by processes that train together."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from scenegraph_track.training import chunks as module
from scenegraph_track.training import labels as label_module
from scenegraph_track.training.chunks import Chunks, chunk_path, make_chunks
from scenegraph_track.training.depth import DepthStage
from scenegraph_track.training.labels import LabelSettings
from scenegraph_track.training.pose import PoseStage
from scenegraph_track.training.stage import Stage

MADE: list[int] = []


def row(index: int, settings: LabelSettings) -> dict[str, np.ndarray]:
    """Numbers in place of a rendered scene."""
    MADE.append(index)
    rng = np.random.default_rng(index)
    image, other = rng.integers(0, 256, (2, 3, 32, 32)).astype(np.uint8)
    return {
        "image": image,
        "other": other,
        "intrinsics": np.diag([32.0, 32.0, 1.0]),
        "depth": rng.uniform(1, 2, (32, 32)),
        "confidence": np.full((32, 32), 200, np.uint8),
        "flow": rng.normal(size=(2, 32, 32)),
        "trusted": np.ones((32, 32), bool),
        "motion": np.eye(4),
        "translates": np.array(True),
    }


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of two items each, made in this process."""

    def make(settings, make, name, share=None) -> None:
        Path(settings.folder).mkdir(parents=True, exist_ok=True)
        for number in range(-(-settings.scenes // module.CHUNK)) if share is None else share:
            module._make_chunk(number, settings, make, name)

    MADE.clear()
    monkeypatch.setattr(module, "CHUNK", 2)
    monkeypatch.setattr(module, "make_chunks", make)


def test_a_folder_is_filled_once_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    settings = LabelSettings(folder=str(tmp_path / "labels"), scenes=5)
    module.make_chunks(settings, row, "x", range(1, 2))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "labels").iterdir()}
    items = Chunks(settings, row, "x")
    assert MADE == [2, 3, 0, 1, 4] and len(items) == 5 and len(before) == 1
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    again = Chunks(settings, row, "x")
    assert len(MADE) == 5, "nothing is made twice"
    assert all(np.array_equal(again.arrays["image"][k], row(k, settings)["image"]) for k in range(5))
    assert [one["image"].sum() for one in again.rows([3, 0])] == [again.arrays["image"][k].sum() for k in (3, 0)]


def test_a_process_begins_with_its_own_share(tmp_path: Path) -> None:
    settings = LabelSettings(folder=str(tmp_path), scenes=6)
    Chunks(settings, row, "x", rank=1, world_size=2)
    assert MADE == [2, 3, 0, 1, 4, 5], "its own, then what no other process has made"


def test_items_of_other_settings_are_not_taken(tmp_path: Path) -> None:
    settings = LabelSettings(folder=str(tmp_path), scenes=1)
    other = settings.model_copy(update={"flow": "dis_fast"})
    assert chunk_path(other, 0, "x") != chunk_path(settings, 0, "x")
    assert chunk_path(settings, 0, "y") != chunk_path(settings, 0, "x")
    more = settings.model_copy(update={"scenes": 2})
    assert chunk_path(more, 0, "x") != chunk_path(settings, 0, "x"), "one item is not two"
    assert chunk_path(settings.model_copy(update={"workers": 1}), 0, "x") == chunk_path(settings, 0, "x")


def test_a_try_leaves_no_files(tmp_path: Path) -> None:
    items = Chunks(LabelSettings(folder=str(tmp_path / "none")), row, "x", few=True, rank=1, world_size=2)
    assert len(items) == 2 and not (tmp_path / "none").exists()


@pytest.mark.usefixtures("quick_workers")
def test_processes_make_the_same_items(tmp_path: Path) -> None:
    settings = LabelSettings(folder=str(tmp_path), scenes=1, workers=1)
    make_chunks(settings, row, "x")
    with np.load(chunk_path(settings, 0, "x")) as kept:
        assert np.array_equal(kept["depth"][0], row(0, settings)["depth"])


@pytest.mark.parametrize("kind", [DepthStage, PoseStage])
def test_ranks_draw_their_own_samples(kind: type[Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every second sample of the batch that one process alone would draw, and no sample twice.
    monkeypatch.setattr(label_module, "make_row", row)
    labels = {"folder": str(tmp_path), "scenes": 3}
    stage = kind(kind.Settings(labels=labels, data={"batch": 4, "workers": 0}), 5)
    whole, *parts = (list(islice(stage.batches(*place, 0), 2)) for place in ((0, 1), (0, 2), (1, 2)))
    for number in range(2):
        for rank in range(2):
            for name, value in whole[number].items():
                assert torch.equal(parts[rank][number][name], value[rank::2])
    images = torch.cat([next(iter(batch.values())) for part in parts for batch in part])
    assert len(images.flatten(1).unique(dim=0)) == 8

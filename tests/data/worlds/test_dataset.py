"""The stream of clips: the same for any number of workers, shared out without repeats."""

from __future__ import annotations

import hashlib

import pytest
import torch

from scenegraph_track.data.worlds.dataset import FIELDS, WorldDataset, ordered_loader
from scenegraph_track.errors import UserError

SMALL = {"size": (48, 32), "frames": 3, "seed": 4}


def digest(sample):
    content = hashlib.sha256()
    for name in sorted(sample):
        value = sample[name]
        content.update(value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode())
    return content.hexdigest()


def test_same_bytes_in_the_same_order_for_any_number_of_workers():
    dataset = WorldDataset(**SMALL, length=6, points=5)
    streams = [[digest(s) for s in ordered_loader(dataset, workers)] for workers in (0, 1, 2)]
    assert len(set(streams[0])) == 6  # no scene twice
    assert streams[0] == streams[1] == streams[2]


@pytest.mark.parametrize(("workers", "ranks"), [(1, 1), (3, 1), (1, 2), (2, 3)])
def test_workers_and_ranks_share_the_scenes_without_repeats(workers, ranks):
    shares = [
        list(WorldDataset(**SMALL, length=20, start=5, rank=rank, world_size=ranks).indices(worker, workers))
        for rank in range(ranks)
        for worker in range(workers)
    ]
    assert sorted(index for share in shares for index in share) == list(range(5, 25))


def test_a_scene_depends_on_its_number_only():
    later = WorldDataset(**SMALL, start=3, fields=("image",))
    assert digest(next(iter(later))) == digest(WorldDataset(**SMALL, fields=("image",)).sample(3))


def test_shapes_and_types_of_a_sample():
    sample = WorldDataset(**SMALL, points=7).sample(0)
    objects = len(sample["ids"])
    assert set(sample) == {"index", *FIELDS, "queries", "tracks", "tracks_visible"}
    assert sample["image"].shape == (3, 3, 32, 48) and sample["image"].dtype == torch.uint8
    assert sample["depth"].shape == (3, 1, 32, 48)
    assert sample["flow_forward"].shape == (3, 2, 32, 48)
    assert sample["amodal_masks"].shape == (3, objects, 32, 48)
    assert sample["relations"].shape == (3, objects, objects, 6)
    assert sample["tracks"].shape == (3, 7, 2) and sample["tracks_visible"].shape == (3, 7)
    assert len(sample["sentences"]) == 3 and len(sample["sentences"][0]) == objects


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fields": ("colour",)}, "fields: expected names"),
        ({"rank": 2, "world_size": 2}, "rank: expected"),
        ({"length": -1}, "at least 0"),
        ({"preset": "moon"}, "preset: expected"),
    ],
)
def test_wrong_settings_are_refused_at_once(arguments, message):
    with pytest.raises(UserError, match=message):
        WorldDataset(**arguments)

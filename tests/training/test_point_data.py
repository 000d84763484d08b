"""Clips with tracks of points, and what is cut out of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track.data.covers import covered_at, crossed
from scenegraph_track.errors import UserError
from scenegraph_track.training.point_data import PointClipSettings, PointData, draw_points, make_point_clip

PLAIN = {"colour": 0.0, "noise": 0.0, "frames": 6, "points": 8, "workers": 0, "zoom": 0.2, "shift": 2.0}
SIDE = 9


class Patches:
    """Clips of a red and a green patch on dark grey ground that drift apart, with the tracks of their middles."""

    def __init__(self, count: int = 6, seen: bool = True) -> None:
        rng = np.random.default_rng(0)
        self.items = []
        for _ in range(count):
            images = rng.integers(20, 50, (8, 64, 80, 1), dtype=np.uint8).repeat(3, 3)
            start, way = rng.integers(22, 31, (2, 2)), rng.integers(-1, 2, (2, 2))
            tracks = np.zeros((8, 2, 2), np.float32)
            for t in range(8):
                for k in (0, 1):
                    x, y = start[k] + way[k] * t + (22 * k, 0)
                    images[t, y : y + SIDE, x : x + SIDE] = np.eye(3)[k] * 250
                    tracks[t, k] = x + SIDE / 2, y + SIDE / 2
            visible = np.full((8, 2), seen)
            visible[:, 0] &= (np.abs(tracks[:, 0] - tracks[:, 1]) > SIDE).any(-1)  # the second lies over the first
            self.items.append({"images": images, "tracks": tracks, "seen": visible})

    def __len__(self) -> int:
        return len(self.items)

    def rows(self, chosen):
        return (self.items[index] for index in chosen)


def colours(item: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, T, 3) under the tracks of a sample, black outside; and where points are seen (N, T)."""
    images, tracks, seen = (item[name][0].numpy() for name in ("images", "tracks", "seen"))
    found = np.zeros((*seen.shape, 3), int)
    for row, t in zip(*np.nonzero(((tracks >= 0) & (tracks < (80, 64))).all(-1))):
        x, y = tracks[row, t].astype(int)
        found[row, t] = images[t, :, y, x]
    return found, seen


@pytest.mark.parametrize("pasted", [0.0, 1.0])
def test_tracks_stay_on_their_patch(pasted: float) -> None:
    # Through zoom, drift, mirrors and time, backward or forward; what is pasted over a point hides it.
    clips, data = Patches(), PointData(**PLAIN, pasted=pasted)
    for seed in range(12):
        item = draw_points(np.random.default_rng(seed), clips, data)
        found, seen = colours(item)
        first = item["queries"][0, :, 0].long().numpy()
        assert seen[np.arange(8), first].all()
        own = found[np.arange(8), first][:, None]  # colours may be exchanged, in all frames alike
        assert (own.max(-1) > 150).all()
        assert (np.abs(found - own).max(-1)[seen] < 60).all()


def test_what_is_pasted_hides_just_what_it_covers() -> None:
    x, y = np.meshgrid(np.arange(0.5, 80, 4), np.arange(0.5, 64, 4))
    tracks = np.stack([x.ravel(), y.ravel()], -1)[:, None].repeat(5, 1)
    bright = np.full((64, 80, 3), 200, np.uint8)
    for seed in range(6):
        images, masks = crossed(np.random.default_rng(seed), np.zeros((5, 64, 80, 3), np.uint8), bright)
        covered = covered_at(masks, tracks)
        for t in range(5):
            np.testing.assert_array_equal(images[t, ::4, ::4, 0].ravel() == 200, covered[:, t])
        assert covered.any() and not covered.all()


def test_what_is_asked_for_counts_from_then_on() -> None:
    data = PointData(**PLAIN, pasted=0.0)
    item = draw_points(np.random.default_rng(1), Patches(), data)
    assert item["images"].shape == (1, 6, 3, 64, 80) and item["flows"].shape == (1, 5, 4, 64, 80)
    first = item["queries"][0, :, 0].long()
    assert torch.allclose(item["tracks"][0, torch.arange(8), first], item["queries"][0, :, 1:], atol=1e-4)
    assert torch.equal(item["counted"][0], torch.arange(6) > first[:, None])


def test_the_flow_goes_with_the_view() -> None:
    # A patch drifts between views as its track does.
    clips, errors = Patches(), []
    for seed in range(4):
        data = PointData(**{**PLAIN, "zoom": 0.0}, pasted=0.0, flow="dis_fine")
        item = draw_points(np.random.default_rng(seed), clips, data)
        tracks, seen = item["tracks"][0], item["seen"][0]
        for row, t in zip(*torch.nonzero(seen[:, :-1] & seen[:, 1:], as_tuple=True)):
            x, y = tracks[row, t].long().tolist()
            errors.append(float((item["flows"][0, t, :2, y, x] - tracks[row, t + 1] + tracks[row, t]).norm()))
    assert np.median(errors) < 0.5


def test_the_same_generator_gives_the_same_sample() -> None:
    clips, data = Patches(), PointData(frames=6, points=8, workers=0)
    one, two, other = (draw_points(np.random.default_rng(seed), clips, data) for seed in (3, 3, 4))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["images"], other["images"])


def test_clips_without_anything_to_see_are_refused() -> None:
    with pytest.raises(UserError, match="expected points that can be seen, found none"):
        draw_points(np.random.default_rng(0), Patches(2, seen=False), PointData(**PLAIN))


def test_a_clip_follows_from_its_number() -> None:
    settings = PointClipSettings(size=(64, 48), frames=3, references=2, points=8, objects=3, presets={"standard": 1.0})
    one, two, other = (make_point_clip(index, settings) for index in (4, 4, 5))
    assert all(np.array_equal(one[name], two[name], equal_nan=one[name].dtype.kind == "f") for name in one)
    assert not np.array_equal(one["images"], other["images"])
    assert one["images"].shape == (3, 48, 64, 3) and one["queries"].shape == (16, 3)
    assert one["tracks"].shape == (3, 16, 2) and one["instance"].shape == (3, 12, 16)
    frames = one["queries"][:, 0].astype(int)
    np.testing.assert_allclose(one["tracks"][frames, range(16)], one["queries"][:, 1:], atol=1e-2)
    assert one["seen"][frames, range(16)].mean() > 0.8  # the rule of visibility is strict at edges
    inside = one["chosen_for"] > 0
    boxes = one["boxes"][frames[inside], one["chosen_for"][inside] - 1]
    points = one["queries"][inside, 1:]
    assert inside.any() and ((points >= boxes[:, :2] - 0.02) & (points <= boxes[:, 2:])).all()


@pytest.mark.parametrize(
    ("settings", "message"), [({"presets": {"ballet": 1.0}}, "found ballet"), ({"references": 20}, "at most 16")]
)
def test_settings_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PointClipSettings(**settings)

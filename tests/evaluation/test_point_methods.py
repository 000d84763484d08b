"""Ways to follow points, on a texture whose way is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from scenegraph_track.evaluation.point_clips import PointClip
from scenegraph_track.evaluation.point_methods import CHAINS, LEARNED, chain, point_methods
from scenegraph_track.occlusion.point_net import PointNet, PointNetSettings
from scenegraph_track.occlusion.point_tracker import PointTracker

FRAMES, WAY = 6, np.array([2.0, 1.0])
TINY = {
    "channels": (4, 6, 8),
    "features": 8,
    "dim": 16,
    "layers": 1,
    "heads": 2,
    "virtual": 3,
    "window": 4,
    "stride": 2,
}


def clip(cover: bool = False) -> PointClip:
    """A texture that moves by (2, 1) px a frame; the last point is asked for in frame 2.

    With ``cover`` something else lies over the place of the first point in frames 2 and 3.
    """
    rng = np.random.default_rng(0)
    noise = [cv2.GaussianBlur(rng.uniform(0, 255, (120, 130, 3)).astype(np.float32), (0, 0), 2) for _ in "ab"]
    whole, other = (cv2.normalize(one, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8) for one in noise)
    images = [whole[20 - t : 100 - t, 30 - 2 * t : 126 - 2 * t].copy() for t in range(FRAMES)]
    places = np.array([[30.0, 40.0], [60.5, 20.5], [44.0, 60.0]])
    first = np.array([0, 0, 2])
    tracks = (places[:, None] + (np.arange(FRAMES) - first[:, None])[..., None] * WAY).astype(np.float32)
    seen = np.ones((3, FRAMES), bool)
    if cover:
        seen[0, 2:4] = False
        for t in (2, 3):
            images[t][30:58, 20:50] = other[30:58, 20:50]
    return PointClip(
        "a",
        [torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images],
        np.column_stack([first, places]).astype(np.float32),
        tracks,
        seen,
        np.arange(FRAMES) > first[:, None],
        np.zeros(3, bool),
    )


@pytest.mark.parametrize("name", CHAINS)
def test_a_moving_texture_is_followed(name: str) -> None:
    one = clip()
    positions, visible = point_methods(None)[name](one)
    assert np.isnan(positions[2, :2]).all() and not visible[2, :2].any()
    np.testing.assert_allclose(positions[2, 2], one.queries[2, 1:])
    known = np.isfinite(positions).all(-1)
    assert np.linalg.norm(positions - one.tracks, axis=-1)[known].max() < 0.5 and visible[known].all()


@pytest.mark.parametrize("lost", [False, True])
def test_a_covered_point_is_told_hidden(lost: bool) -> None:
    # When it goes under the other texture; one beside it is not.
    positions, visible = point_methods(None)["lk_lost" if lost else "lk"](clip(cover=True))
    assert not visible[0, 2] and visible[0, :2].all() and visible[1].all()
    assert not (lost and visible[0, 2:].any())
    assert np.isfinite(positions[0]).all()


@pytest.mark.parametrize("lost", [False, True])
def test_there_and_back_must_agree(lost: bool) -> None:
    # To 1.5 px, or a twentieth of the way: the first point is off by 2 px after 2 in one step, the second after 50.
    def step(clip: PointClip, t: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        off = np.array([[2.0 * (t == 1), 0.0], [2.0, 0.0], [0.0, 0.0]])[: len(points)]
        return points + np.array([[2.0, 0], [0, 0], [0, 0]])[: len(points)] + (t == 3) * np.array(
            [0, 50.0]
        ), points + off

    one = clip()
    positions, visible = chain(one, step, lost)
    assert visible[0].tolist() == [True, True, False, not lost, False, False]  # outside in the end
    assert positions[0, :4, 0].tolist() == [30, 32, 34, 36] and positions[1, 4, 1] == 70.5
    assert visible[1].tolist() == [True, False, False, False, not lost, False]


def test_a_point_tracker_beside_them() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = PointNet(PointNetSettings(**TINY)).eval().requires_grad_(False)
    torch.nn.init.zeros_(net.move.weight)
    methods = point_methods(PointTracker(net))
    assert list(methods) == [LEARNED, *CHAINS] and LEARNED not in point_methods(None)
    one = clip()
    positions, visible = methods[LEARNED](one)
    assert positions.shape == one.tracks.shape and visible.dtype == bool
    assert np.linalg.norm(positions - one.tracks, axis=-1)[:2].max() < 1.5  # it begins from the flow

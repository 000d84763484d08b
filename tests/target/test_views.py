"""Views: where boxes go, what is cut out, and that the fast way of cutting gives the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scenegraph_track.errors import UserError
from scenegraph_track.target.views import View, cut, cut_array, jittered, to_image, to_view, view_of_box

numbers = st.floats(-200, 200)


def picture(height: int = 60, width: int = 80, seed: int = 0) -> np.ndarray:
    """Smooth colours, so that a sample between pixels is defined well."""
    cv2 = pytest.importorskip("cv2")
    coarse = np.random.default_rng(seed).uniform(0, 255, (8, 8, 3)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy()).float()[None] / 255


def test_the_view_of_a_box_is_centred_and_rounded_up() -> None:
    view = view_of_box([10, 20, 40, 32], 4, 128)
    assert view.centre == (25, 26) and view.size == 128
    assert view.side == np.ceil(4 * np.sqrt(30 * 12))
    assert view_of_box([3, 3, 3, 3], 4, 16).side == 1
    assert view_of_box([0, 0, 0.3, 0.3], 10, 16).side == 3  # 10 * 0.3 is 3.0000000000000004


@pytest.mark.parametrize("box", [[0, 0, float("nan"), 1], [5, 0, 4, 1], [0, 0, float("inf"), 1]])
def test_what_is_no_box_has_no_view(box: list[float]) -> None:
    with pytest.raises(UserError, match="expected a box of finite"):
        view_of_box(box, 4, 16)


@given(numbers, numbers, st.floats(1, 300), st.integers(8, 64), st.lists(numbers, min_size=4, max_size=4))
def test_there_and_back(x: float, y: float, side: float, size: int, box: list[float]) -> None:
    view = View((x, y), side, size)
    boxes = np.array([box])
    assert np.allclose(to_image(to_view(boxes, view), view), boxes, atol=1e-9)
    tensors = torch.tensor([box], dtype=torch.float64)
    assert torch.allclose(to_view(tensors, [view]), torch.from_numpy(to_view(boxes, view)))


def test_each_row_has_its_own_view() -> None:
    views = [View((10, 10), 20, 40), View((0, 5), 8, 16)]
    boxes = torch.tensor([[0.0, 0, 20, 20], [-4, 1, 4, 9]])
    assert torch.equal(to_view(boxes, views), torch.tensor([[0.0, 0, 40, 40], [0, 0, 16, 16]]))
    assert torch.equal(to_image(to_view(boxes, views)[:, None], views)[:, 0], boxes)


def test_a_view_of_whole_pixels_is_the_image() -> None:
    image = tensor(picture())
    found = cut(image, [View((30, 25), 16, 16)])
    assert torch.allclose(found, image[:, :, 17:33, 22:38], atol=1e-5)


def test_outside_the_image_is_zero() -> None:
    found = cut(torch.ones(1, 3, 20, 20), [View((0, 10), 16, 16)])[0]
    assert torch.allclose(found[:, :, :8], torch.zeros(3, 16, 8), atol=1e-5)
    assert torch.allclose(found[:, :, 8:], torch.ones(3, 16, 8))


@pytest.mark.parametrize("side", [12, 31.7, 64, 70])
def test_what_a_view_shows_is_where_its_boxes_are(side: float) -> None:
    """A bright square ends, in the view, at its box."""
    image = torch.zeros(1, 3, 100, 100)
    image[:, :, 40:52, 30:38] = 1
    view = View((35.3, 47.1), side, 32)
    shown = cut(image, [view])[0, 0]
    left, top, right, bottom = to_view(np.array([30.0, 40, 38, 52]), view)
    across, down = shown.amax(0), shown.amax(1)
    middles = np.arange(32) + 0.5
    inside = [(middles > a + 1) & (middles < b - 1) for a, b in ((left, right), (top, bottom))]
    outside = [(middles < a - 1.5) | (middles > b + 1.5) for a, b in ((left, right), (top, bottom))]
    for profile, within, beyond in zip((across, down), inside, outside):
        assert profile[torch.from_numpy(within)].ge(0.5).all() and not profile[torch.from_numpy(beyond)].any()
    if side > 20:  # the smallest view cuts the square
        assert float(shown.sum()) / view.scale**2 == pytest.approx(8 * 12, rel=0.1)


def test_shrinking_averages() -> None:
    """A fine chequerboard becomes grey where it is shrunk, also when it is shrunk by no whole number."""
    board = ((torch.arange(120)[:, None] + torch.arange(120)) % 2).float().expand(1, 3, -1, -1)
    for side in (96.0, 77.0):
        shown = cut(board, [View((60, 60), side, 16)])
        assert (shown - 0.5).abs().max() < 0.15  # up to 0.5 where nothing is averaged


@pytest.mark.parametrize("view", [View((40, 30), 33, 32), View((5.5, 51.2), 47, 24), View((37, 31), 130, 32)])
def test_opencv_cuts_the_same(view: View) -> None:
    image = picture()
    ours = cut(tensor(image), [view])[0].permute(1, 2, 0).numpy()
    theirs = cut_array(image, view) / 255
    assert theirs.shape == ours.shape
    assert np.abs(ours - theirs).mean() < 0.01


def test_gradients_of_pixels() -> None:
    image = torch.rand(1, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    views = [View((4, 5), 6, 4), View((3, 3), 20, 4)]
    assert torch.autograd.gradcheck(lambda x: cut(x, views), [image])


def test_many_views_of_one_image_and_one_of_each() -> None:
    images = torch.rand(2, 3, 30, 40)
    views = [View((10, 10), 12, 8), View((30, 20), 25, 8)]
    both = cut(images, views)
    assert torch.equal(both[1:], cut(images[1:], views[1:]))
    assert torch.equal(cut(images[:1], views)[:1], both[:1])
    assert len(cut(images[:1], [])) == 0
    with pytest.raises(UserError, match="expected views of one size"):
        cut(images, [views[0]])
    with pytest.raises(UserError, match="expected views of one size"):
        cut(images, [views[0], View((1, 1), 4, 4)])


def test_jitter_follows_its_formula() -> None:
    box = np.array([10.0, 20, 30, 30])
    found = np.stack([jittered(box, np.random.default_rng(k), 3, 0.25) for k in range(4000)])
    sides = found[:, 2:] - found[:, :2]
    logs = np.log(sides / [20, 10])
    assert np.abs(logs.mean(0)).max() < 0.02 and np.allclose(logs.std(0), 0.25, atol=0.02)
    away = ((found[:, :2] + found[:, 2:]) / 2 - [20, 25]) / np.sqrt(sides.prod(1))[:, None]
    assert np.abs(away).max() <= 1.5 and np.allclose(away.std(0), 3 / np.sqrt(12), atol=0.05)
    assert np.array_equal(jittered(box, np.random.default_rng(5), 0, 0), box)

"""Masks: each pixel to its best slot, and boxes of hard and soft masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detectors.errors import DetectorError
from detectors.masks import assign_pixels, mask_boxes, soft_boxes

masks_strategy = hnp.arrays(bool, st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9)))


def test_pixels_that_no_slot_explains_belong_to_none() -> None:
    soft = torch.full((2, 4, 4), 0.3)  # the rest has 0.4
    assert (assign_pixels(soft, (4, 4))[0] == 0).all()
    soft[1] = 0.4
    labels, best = assign_pixels(soft, (4, 4))
    assert (labels == 2).all() and torch.allclose(best, torch.tensor(0.4))
    assert (assign_pixels(soft, (4, 4), threshold=0.5)[0] == 0).all()


def test_equal_slots_give_the_first_every_pixel() -> None:
    assert (assign_pixels(torch.full((3, 2, 2), 1 / 3), (4, 4))[0] == 1).all()


def test_masks_are_resized_before_the_choice() -> None:
    # The border between two linear ramps lies between the cells of the grid; choosing first would put it on one.
    ramp = torch.linspace(0, 1, 4).expand(1, 4, 4)
    labels, best = assign_pixels(torch.cat([1 - ramp, ramp]), (32, 32))
    assert (labels[:, :16] == 1).all() and (labels[:, 16:] == 2).all()
    skew = 0.7 * ramp
    border = int((assign_pixels(torch.cat([1 - skew, skew]), (32, 32))[0] == 2).sum(1)[0])
    assert border == 11  # no multiple of the cell's 8 pixels
    reference = torch.nn.functional.interpolate((1 - ramp)[None], (32, 32), mode="bilinear", align_corners=False)[0, 0]
    assert torch.allclose(best[:, :16], reference[:, :16], atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(masks_strategy)
def test_boxes_are_the_extremes_of_the_masks(masks: np.ndarray) -> None:
    for mask, box in zip(masks, mask_boxes(torch.from_numpy(masks), largest_component=False), strict=True):
        rows, columns = np.nonzero(mask)
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else (0, 0, 0, 0)
        assert box.tolist() == [float(side) for side in expected]


@settings(deadline=None, max_examples=50)
@given(masks_strategy)
def test_box_of_the_largest_component_agrees_with_scipy(masks: np.ndarray) -> None:
    from scipy.ndimage import find_objects, label

    for mask, box in zip(masks, mask_boxes(torch.from_numpy(masks)), strict=True):
        parts, count = label(mask, np.ones((3, 3)))
        if not count:
            assert box.tolist() == [0, 0, 0, 0]
            continue
        sizes = np.bincount(parts.ravel())[1:]
        windows = [w for w, size in zip(find_objects(parts), sizes, strict=True) if size == sizes.max()]
        assert box.tolist() in [[x.start, y.start, x.stop, y.stop] for y, x in windows]


@settings(deadline=None, max_examples=50)
@given(masks_strategy)
def test_soft_boxes_of_hard_masks_are_hard(masks: np.ndarray) -> None:
    masks = torch.from_numpy(masks)
    assert torch.allclose(soft_boxes(masks.float()), mask_boxes(masks, largest_component=False), atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.float64, (2, 5, 7), elements=st.just(0) | st.floats(1e-6, 1)), st.floats(0.1, 10))
def test_soft_boxes_lie_in_the_image_and_do_not_depend_on_the_masks_scale(masks: np.ndarray, scale: float) -> None:
    boxes = soft_boxes(torch.from_numpy(masks), (50, 70))
    assert (boxes >= -1e-9).all() and (boxes[:, 2:] <= torch.tensor([70, 50]) + 1e-9).all()
    assert (boxes[:, 2:] >= boxes[:, :2]).all()
    assert torch.allclose(boxes, soft_boxes(torch.from_numpy(masks * scale), (50, 70)), atol=1e-6)


def test_soft_boxes_have_right_gradients() -> None:
    torch.manual_seed(0)
    masks = torch.rand(2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft_boxes, masks)


def test_gradient_steps_move_a_soft_box_to_its_target() -> None:
    x = torch.arange(32) + 0.5
    centre, width = torch.tensor(10.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    target = torch.tensor([14.0, 26.0])
    for _ in range(30):
        row = torch.sigmoid(width - (x - centre).abs())
        box = soft_boxes(row.expand(1, 8, 32))[0, [0, 2]]
        steps = torch.autograd.grad((box - target).square().sum(), (centre, width))
        with torch.no_grad():
            centre -= 0.1 * steps[0]
            width -= 0.1 * steps[1]
    assert torch.allclose(box, target, atol=0.3)


def test_soft_boxes_ignore_haze_below_the_lowest_level() -> None:
    mask = torch.zeros(12, 16)
    mask[3:8, 4:9] = 1
    assert torch.allclose(soft_boxes((0.05 + 0.95 * mask)[None]), torch.tensor([[4.0, 3, 9, 8]]), atol=1e-4)
    assert soft_boxes((0.05 + 0.95 * mask)[None], levels=(0, 1))[0, 0] < 3.9


def test_an_empty_soft_mask_gives_zeros_and_finite_gradients() -> None:
    masks = torch.zeros(1, 4, 4, requires_grad=True)
    boxes = soft_boxes(masks)
    boxes.sum().backward()
    assert boxes.tolist() == [[0, 0, 0, 0]] and bool(masks.grad.isfinite().all())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: assign_pixels(torch.full((2, 4, 4), 0.6), (4, 4)), "sum to at most 1"),
        (lambda: assign_pixels(torch.full((2, 4, 4), -0.1), (4, 4)), "sum to at most 1"),
        (lambda: assign_pixels(torch.full((2, 4, 4), float("nan")), (4, 4)), "sum to at most 1"),
        (lambda: assign_pixels(torch.zeros(4, 4), (4, 4)), "K, h, w"),
        (lambda: assign_pixels(torch.zeros(1, 4, 4), (0, 4)), "at least one pixel"),
        (lambda: mask_boxes(torch.ones(2, 4, 4)), "bool"),
        (lambda: soft_boxes(torch.ones(2, 4, 4, dtype=torch.bool)), "floats"),
        (lambda: soft_boxes(torch.ones(2, 4, 4), levels=(0.5, 0.5)), "low < high"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(wrong, message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        wrong()

"""Masks are carried along the flow, and the numbers of objects with them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from detectors.carrying import LEAST_IOU, MEMORY, NumberedMasks, carry_masks, number_masks
from detectors.errors import DetectorError

SIZE = (24, 40)


def squares(*corners: tuple[int, int], side: int = 6) -> Tensor:
    """Masks of squares whose upper left corners (x, y) are given."""
    masks = torch.zeros(len(corners), *SIZE, dtype=torch.bool)
    for mask, (x, y) in zip(masks, corners):
        mask[y : y + side, x : x + side] = True
    return masks


def moved(x: float, y: float = 0.0, size: tuple[int, int] = SIZE) -> Tensor:
    """The flow to the frame before where everything has moved by (x, y) pixels since."""
    return torch.tensor([-x, -y])[:, None, None].expand(2, *size)


def numbered(*frames: tuple[Tensor, Tensor | None], **options) -> list[list[int]]:
    """The numbers of the objects of frames, given as masks and flow."""
    state, found = NumberedMasks.start(), []
    for masks, flow in frames:
        state, numbers = number_masks(state, masks, flow, **options)
        found.append(numbers.tolist())
    return found


def test_the_flow_is_brought_to_the_size_of_the_masks() -> None:
    carried = carry_masks(squares((1, 2), side=4), moved(8, 4, size=(48, 80)))
    assert torch.allclose(carried, squares((5, 4), side=4).float(), atol=1e-4)


def test_what_comes_from_outside_the_image_is_nothing() -> None:
    mask = squares((34, 9))
    assert not carry_masks(mask, moved(-100)).any()
    part = carry_masks(mask, moved(-4))
    assert (part[0, 9:15, 30:36] > 0.99).all() and not part[..., 36:].any()


def test_parts_of_pixels_add_up() -> None:
    """Eight steps of 0.4 pixels are 3.2, though each alone is less than half a pixel."""
    masks = squares((10, 9)).float()
    for _ in range(8):
        masks = carry_masks(masks, moved(0.4))
    columns = torch.arange(SIZE[1]) + 0.5
    assert (masks.sum((0, 1)) @ columns / masks.sum()).item() == pytest.approx(13 + 3.2, abs=0.01)


def test_where_the_flow_is_unknown_nothing_has_moved() -> None:
    mask, flow = squares((10, 9)), moved(3).clone()
    flow[:, :, :20], flow[0, 0, 0] = torch.nan, torch.inf
    assert torch.allclose(carry_masks(mask, flow), mask.float(), atol=1e-4)
    assert numbered((mask, None), (mask, flow)) == [[1], [1]]


def test_numbers_follow_the_flow_in_whatever_order_masks_come() -> None:
    first, second = squares((2, 2), (20, 12)), squares((32, 12), (14, 2))
    assert numbered((first, None), (second, moved(12))) == [[1, 2], [2, 1]]
    assert numbered((first, None), (second, None)) == [[1, 2], [3, 4]], "nothing has moved where there is no flow"


def test_pairs_have_the_largest_total_overlap() -> None:
    """Two that were one: the part that is more of it keeps the number."""
    whole = squares((10, 9))
    parts = whole.repeat(2, 1, 1)
    parts[0, :, 12:], parts[1, :, :12] = False, False
    assert numbered((whole, None), (parts, None)) == [[1], [2, 1]]


def test_too_little_overlap_is_another_object() -> None:
    maps = [(squares((10, 9)), None), (squares((14, 9)), None)]  # 2 of 10 columns are shared
    assert numbered(*maps, least_iou=0.19) == [[1], [1]]
    assert numbered(*maps, least_iou=0.21) == [[1], [2]]
    apart = [(squares((2, 9)), None), (squares((30, 9)), None)]
    assert numbered(*apart, least_iou=0.0) == [[1], [2]], "without any overlap nothing is the same"
    assert LEAST_IOU > 0


@pytest.mark.parametrize(("hidden", "number"), [(MEMORY, 1), (MEMORY + 1, 2)])
def test_a_hidden_object_moves_on_and_is_remembered_for_a_while(hidden: int, number: int) -> None:
    hiding = [(squares(), moved(2))] * hidden
    back = squares((2 + 2 * (hidden + 1), 9))
    assert numbered((squares((2, 9)), None), *hiding, (back, moved(2)))[-1] == [number]


def test_a_small_object_that_drifts_slowly_is_found_again() -> None:
    """0.45 pixels a frame over nine frames are 4: more than its width of 3."""
    hiding = [(squares(), moved(0.45))] * MEMORY
    back = squares((14, 9), side=3)
    assert numbered((squares((10, 9), side=3), None), *hiding, (back, moved(0.45)))[-1] == [1]


def test_who_left_the_image_is_forgotten() -> None:
    state, _ = number_masks(NumberedMasks.start(), squares((32, 9), (10, 9)))
    state, numbers = number_masks(state, squares((22, 9)), moved(12))
    assert numbers.tolist() == [2] and state.numbers.tolist() == [2]
    state, numbers = number_masks(state, squares((22, 9), (32, 9)), None)
    assert numbers.tolist() == [2, 3], "a number is not given twice"


def test_a_step_changes_nothing_that_it_was_given() -> None:
    state, _ = number_masks(NumberedMasks.start(), squares((2, 2), (20, 12)))
    kept = [one.clone() for one in (state.numbers, state.ages, state.masks)]
    masks, flow = squares((5, 2)), moved(3)
    one, two = (number_masks(state, masks, flow) for _ in range(2))
    assert torch.equal(one[1], two[1]) and torch.equal(one[0].masks, two[0].masks)
    assert all(torch.equal(a, b) for a, b in zip(kept, (state.numbers, state.ages, state.masks)))
    assert torch.equal(masks, squares((5, 2)))
    assert one[0].numbers.tolist() == [1, 2] and one[0].ages.tolist() == [0, 1], "found ones first"


def test_frames_may_change_their_size() -> None:
    double = squares((2, 2), (20, 12)).repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert numbered((squares((20, 12), (2, 2)), None), (double, moved(0, size=(48, 80)))) == [[1, 2], [2, 1]]


def test_frames_without_objects() -> None:
    assert numbered((squares(), None), (squares(), moved(1)), (squares((2, 2)), moved(1))) == [[], [], [1]]


@pytest.mark.parametrize(
    "call",
    [
        lambda: number_masks(NumberedMasks.start(), torch.ones(4, 4, dtype=torch.bool)),
        lambda: number_masks(NumberedMasks.start(), squares((2, 2)), torch.zeros(3, *SIZE)),
        lambda: carry_masks(torch.rand(4, 4), torch.rand(2, 4, 4)),
    ],
)
def test_a_wrong_shape_is_said_in_one_sentence(call) -> None:
    with pytest.raises(DetectorError, match="expected"):
        call()

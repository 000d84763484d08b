"""Objects of a video keep their numbers: masks are carried along the flow, and remembered for a while."""

from __future__ import annotations

import pytest
import torch

from detectors.carrying import MEMORY
from detectors.slot_detector import PixelVotes, SlotDetector
from scenegraph_track.discovery import DiscoveryState, discover, discovered_detections, objects_of

SIZE = (32, 48)


class Painted(SlotDetector):
    """A detector that reads its votes off the image: red is object, green the row and blue the column of its middle."""

    def __init__(self) -> None:
        super().__init__(channels=(8, 8, 8, 8), dim=8, embedding=2)

    def forward(self, images, residual=None) -> PixelVotes:
        red, green, blue = images[:, :, 1::2, 1::2].unbind(1)
        embedding = torch.stack([torch.ones_like(red), torch.zeros_like(red)], 1)
        middles = torch.stack([blue * SIZE[1], green * SIZE[0]], 1)
        return PixelVotes(12 * red - 6, middles, torch.full_like(red, 1.0), embedding)


def frame(*corners: tuple[int, int]) -> torch.Tensor:
    """An image with squares of 10 pixels whose upper left corners (x, y) are given."""
    image = torch.zeros(3, *SIZE)
    for x, y in corners:
        value = torch.tensor([1.0, (y + 5) / SIZE[0], (x + 5) / SIZE[1]])
        image[:, y : y + 10, x : x + 10] = value[:, None, None]
    return image


def flow(x: float) -> torch.Tensor:
    """Everything came from x pixels to the left."""
    return torch.tensor([-x, 0.0])[:, None, None].expand(2, *SIZE)


@pytest.fixture
def net() -> SlotDetector:
    return Painted().eval()


def test_objects_keep_their_numbers_while_they_move(net: SlotDetector) -> None:
    state, found = discover(net, DiscoveryState.start(), frame((4, 4), (30, 16)))
    first = {number: int(found.labels[y, x]) for number, (x, y) in enumerate([(9, 9), (35, 21)])}
    assert sorted(first.values()) == [1, 2] and found.numbers.tolist() == [1, 2]
    state, found = discover(net, state, frame((10, 4), (36, 16)), flow=flow(6))
    assert found.labels[9, 15] == first[0] and found.labels[21, 41] == first[1]
    assert found.labels[9, 5] == 0 and len(found.numbers) == 2


def test_a_newcomer_gets_a_new_number(net: SlotDetector) -> None:
    state, _ = discover(net, DiscoveryState.start(), frame((4, 4)))
    state, found = discover(net, state, frame((4, 4), (30, 16)), flow=flow(0))
    assert found.labels[9, 9] == 1 and found.labels[21, 35] == 2


@pytest.mark.parametrize(("hidden", "number"), [(MEMORY, 1), (MEMORY + 1, 2)])
def test_an_object_is_remembered_for_a_while(net: SlotDetector, hidden: int, number: int) -> None:
    state, _ = discover(net, DiscoveryState.start(), frame((12, 10)))
    for _ in range(hidden):
        state, found = discover(net, state, frame(), flow=flow(0))
        assert not found.labels.any() and len(found.numbers) == 0
    _, found = discover(net, state, frame((12, 10)), flow=flow(0))
    assert found.labels[15, 17] == number


def test_a_step_is_a_pure_function(net: SlotDetector) -> None:
    state, _ = discover(net, DiscoveryState.start(), frame((4, 4)))
    masks = state.masks.clone()
    one, two = (discover(net, state, frame((6, 4)), flow=flow(2)) for _ in range(2))
    assert torch.equal(one[1].labels, two[1].labels) and torch.equal(one[0].masks, two[0].masks)
    assert torch.equal(state.masks, masks)


def test_detections_have_boxes_and_masks(net: SlotDetector) -> None:
    detections = discovered_detections(objects_of(net, frame((4, 4), (30, 16))))
    assert len(detections) == 2 and detections.masks is not None and detections.embeddings is not None
    rows = {int(box[0]): row for row, box in enumerate(detections.boxes.round().tolist())}
    left, right = rows[4], rows[30]
    assert torch.allclose(detections.boxes[left].float(), torch.tensor([4.0, 4, 14, 14]), atol=1.01)
    assert detections.depths is None, "depth is the tracker's"
    assert detections.masks[right].sum() == pytest.approx(100, abs=25)
    assert (detections.scores > 0.8).all()
    assert len(discovered_detections(objects_of(net, frame()))) == 0


def test_motion_that_cannot_be_trusted_anywhere_counts_as_none(net: SlotDetector) -> None:
    unknown = torch.full((2, *SIZE), torch.nan)
    _, found = discover(net, DiscoveryState.start(), frame((4, 4)), residual=unknown)
    assert len(found.numbers) == 1

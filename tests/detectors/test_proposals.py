"""Proposals: the container refuses what does not fit; soft masks become masks, scores and depths."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.errors import DetectorError
from detectors.masks import mask_boxes
from detectors.proposals import Proposals, label_map, proposals_from_labels, proposals_from_masks

BOXES = torch.tensor([[1.0, 2, 5, 6], [0, 0, 3, 3]])


def full(n: int = 2) -> Proposals:
    """Proposals with every field."""
    return Proposals(
        boxes=torch.arange(4.0).repeat(n, 1),
        scores=torch.linspace(0, 1, n),
        masks=torch.ones(n, 6, 8, dtype=torch.bool),
        embeddings=torch.arange(n * 3.0).reshape(n, 3),
        depths=torch.full((n,), float("nan")),
        classes=torch.arange(n),
    )


def rectangle(x1: int, y1: int, x2: int, y2: int, size: tuple[int, int] = (12, 16)) -> torch.Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[y1:y2, x1:x2] = True
    return mask


# --- the container ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"boxes": torch.zeros(2, 5)}, "boxes"),
        ({"boxes": BOXES.double()}, "boxes"),
        ({"boxes": BOXES.numpy()}, "boxes"),
        ({"boxes": BOXES[:, [2, 1, 0, 3]]}, "boxes"),  # x2 < x1
        ({"boxes": BOXES * float("nan")}, "boxes"),
        ({"boxes": BOXES * float("inf")}, "boxes"),
        ({"scores": torch.ones(3)}, "scores"),
        ({"scores": None}, "scores"),
        ({"scores": torch.tensor([0.5, 1.5])}, "scores"),
        ({"scores": torch.tensor([0.5, float("nan")])}, "scores"),
        ({"masks": torch.ones(1, 4, 4, dtype=torch.bool)}, "masks"),
        ({"masks": torch.ones(2, 4, 4)}, "masks"),  # soft
        ({"embeddings": torch.ones(2)}, "embeddings"),
        ({"embeddings": torch.full((2, 3), float("inf"))}, "embeddings"),
        ({"depths": torch.tensor([1.0, -1.0])}, "depths"),
        ({"depths": torch.tensor([1.0, float("inf")])}, "depths"),
        ({"classes": torch.ones(2)}, "classes"),
    ],
)
def test_the_field_that_does_not_fit_is_named(changes: dict, field: str) -> None:
    with pytest.raises(DetectorError, match=rf"Proposals\.{field}"):
        Proposals(**{"boxes": BOXES, "scores": torch.tensor([0.5, 1.0]), **changes})


def test_rows_by_number_slice_index_and_mask() -> None:
    found = full(4)
    for index, rows in ((2, [2]), (-1, [3]), (slice(1, 3), [1, 2]), (torch.tensor([3, 0]), [3, 0]), ([True] * 4, None)):
        chosen = found[index]
        assert chosen.classes.tolist() == (rows or [0, 1, 2, 3])
        assert len(chosen) == len(chosen.masks) == len(chosen.embeddings) == len(chosen.depths)
    assert found[found.scores > 0.5].classes.tolist() == [2, 3]
    with pytest.raises(IndexError):
        found[4]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 4), max_size=4))
def test_joining_keeps_all_rows_in_order(sizes: list[int]) -> None:
    parts = [full(n) for n in sizes]
    joined = Proposals.join([Proposals.empty(), *parts])
    assert len(joined) == sum(sizes)
    if len(joined):
        assert joined.classes.tolist() == [row for n in sizes for row in range(n)]
        assert torch.equal(joined.masks, torch.cat([part.masks for part in parts]))


def test_joining_leaves_out_what_a_part_lacks_and_refuses_other_sizes() -> None:
    bare = Proposals(boxes=BOXES, scores=torch.ones(2))
    joined = Proposals.join([full(), bare])
    assert len(joined) == 4 and joined.masks is None and joined.depths is None
    smaller = full()
    with pytest.raises(DetectorError, match="masks"):
        Proposals.join([smaller, Proposals(**{**vars(smaller), "masks": smaller.masks[:, :3]})])


def test_fields_are_those_of_detections() -> None:
    # A tracker's input is made from proposals without any translation.
    from scenegraph_track.structures import Detections

    detections = Detections(**vars(full()))
    assert len(detections) == 2 and torch.equal(detections.masks, full().masks)
    assert len(Detections(**vars(Proposals.empty()))) == 0


def test_label_map_gives_an_overlap_to_the_higher_score() -> None:
    masks = torch.stack([rectangle(0, 0, 4, 4), rectangle(2, 2, 6, 6)])
    for scores, winner in (([0.9, 0.3], 1), ([0.3, 0.9], 2), ([0.5, 0.5], 1)):
        labels = label_map(Proposals(boxes=BOXES, scores=torch.tensor(scores), masks=masks))
        assert labels.dtype == torch.int32 and labels[3, 3] == winner
        assert labels[0, 0] == 1 and labels[5, 5] == 2 and labels[11, 15] == 0
    with pytest.raises(DetectorError, match="no masks"):
        label_map(Proposals.empty())


# --- masks of slots to proposals -------------------------------------------------------------------------------------


def two_slots(size: tuple[int, int] = (12, 16)) -> torch.Tensor:
    """Slot 0 on the left part with 0.9, slot 1 on a rectangle to the right with 0.8, none elsewhere."""
    return torch.stack([0.9 * rectangle(0, 0, 6, 12, size).float(), 0.8 * rectangle(9, 2, 14, 7, size).float()])


def test_boxes_scores_masks_and_order_of_slots() -> None:
    embeddings = torch.eye(2)
    found = proposals_from_masks(two_slots(), torch.tensor([0.5, 1.0]), (12, 16), embeddings)
    assert found.boxes.tolist() == [[0, 0, 6, 12], [9, 2, 14, 7]]
    assert torch.allclose(found.scores, torch.tensor([0.45, 0.8]))
    assert torch.equal(found.masks, two_slots() > 0) and torch.equal(found.embeddings, embeddings)
    assert found.depths is None


def test_slots_that_explain_too_little_give_no_proposals() -> None:
    soft = torch.full((2, 4, 4), 0.3)  # the rest has 0.4
    assert len(proposals_from_masks(soft, torch.ones(2), (4, 4), least_area=1)) == 0


def test_any_size_also_smaller_than_the_grid() -> None:
    for size in ((1, 1), (5, 3), (47, 33)):
        found = proposals_from_masks(two_slots(), torch.ones(2), size, least_area=1)
        assert found.masks.shape[1:] == size and bool((found.boxes[:, 2:] <= torch.tensor(size[::-1])).all())


def test_only_the_largest_part_counts_when_asked() -> None:
    soft = two_slots()
    soft[1, 10:12, 14:16] = 0.8
    presence = torch.ones(2)
    assert proposals_from_masks(soft, presence, (12, 16)).boxes[1].tolist() == [9, 2, 14, 7]
    whole = proposals_from_masks(soft, presence, (12, 16), largest_component=False)
    assert whole.boxes[1].tolist() == [9, 2, 16, 12] and whole.masks[1, 11, 15]


def test_small_masks_and_empty_slots_are_dropped_but_took_their_pixels() -> None:
    soft, presence = two_slots(), torch.tensor([0.01, 1.0])
    assert len(proposals_from_masks(soft, presence, (12, 16), least_area=26)) == 1
    found = proposals_from_masks(soft, presence, (12, 16), least_presence=0.1)
    assert found.boxes.tolist() == [[9, 2, 14, 7]]
    assert len(proposals_from_masks(soft, presence, (12, 16), least_area=1000)) == 0
    nothing = proposals_from_masks(soft, presence, (12, 16), torch.eye(2), torch.ones(12, 16), least_area=1000)
    assert nothing.masks.shape == (0, 12, 16) and nothing.embeddings.shape == (0, 2) and nothing.depths.shape == (0,)


def test_gradients_reach_presence_and_embeddings() -> None:
    presence = torch.tensor([0.5, 0.9], requires_grad=True)
    embeddings = torch.ones(2, 3, requires_grad=True)
    found = proposals_from_masks(two_slots().requires_grad_(), presence, (12, 16), embeddings)
    (found.scores.sum() + found.embeddings.sum()).backward()
    assert torch.allclose(presence.grad, torch.tensor([0.9, 0.8])) and bool((embeddings.grad == 1).all())


def test_depth_is_the_median_inside_without_the_rim() -> None:
    depth = torch.full((12, 16), 50.0)
    depth[3:6, 10:13] = 2.0  # the inside of slot 1; its rim still has the background's depth
    depth[4, 11] = float("nan")
    depth[5, 11] = -1
    found = proposals_from_masks(two_slots(), torch.ones(2), (12, 16), depth=depth)
    assert found.depths.tolist() == [50, 2]


def test_depth_is_weighted_by_confidence_and_nan_where_unknown() -> None:
    depth = torch.ones(12, 16)
    depth[:, 11:] = 4.0
    presence, confidence = torch.ones(2), torch.ones(12, 16)
    confidence[:, 11:] = 0.1  # inside the rim 3 pixels at 1 m with weight 1, 6 at 4 m with weight 0.1
    assert proposals_from_masks(two_slots(), presence, (12, 16), depth=depth).depths[1] == 4
    assert proposals_from_masks(two_slots(), presence, (12, 16), depth=depth, confidence=confidence).depths[1] == 1
    confidence[:, 9:] = 0
    depths = proposals_from_masks(two_slots(), presence, (12, 16), depth=depth, confidence=confidence).depths
    assert depths[0] == 1 and bool(depths[1].isnan())


def test_a_mask_too_thin_to_erode_still_has_a_depth() -> None:
    labels = torch.zeros(12, 16, dtype=torch.int64)
    labels[2, :] = 1
    found = proposals_from_labels(labels, torch.ones(1), depth=torch.full((12, 16), 3.0))
    assert found.depths.tolist() == [3] and found.scores.tolist() == [1]


def test_depth_of_a_large_mask_is_sampled_from_all_of_it() -> None:
    labels, depth = torch.ones(120, 160, dtype=torch.int64), torch.linspace(1, 3, 120)[:, None].expand(120, 160)
    assert abs(float(proposals_from_labels(labels, torch.ones(1), depth=depth).depths) - 2) < 0.02


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 4), st.integers(0, 2**31), st.tuples(st.integers(2, 20), st.integers(2, 20)))
def test_proposals_of_any_masks_are_disjoint_and_their_boxes_fit(count: int, seed: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    soft = (3 * torch.randn(count + 1, 4, 5, generator=generator)).softmax(0)[:-1]
    found = proposals_from_masks(soft, torch.rand(count, generator=generator), size, least_area=2)
    assert bool((found.masks.sum(0) <= 1).all()) and bool((found.masks.sum((1, 2)) >= 2).all())
    assert torch.equal(found.boxes, mask_boxes(found.masks, largest_component=False))
    again = proposals_from_labels(label_map(found), found.scores, least_area=2)
    assert torch.equal(again.masks, found.masks) and torch.equal(again.scores, found.scores)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: proposals_from_masks(two_slots(), torch.ones(3), (4, 4)), "one presence"),
        (lambda: proposals_from_masks(two_slots(), torch.ones(2), (4, 4), torch.ones(3, 2)), "one embedding"),
        (lambda: proposals_from_masks(two_slots(), torch.ones(2), (4, 4), depth=torch.ones(4, 5)), "depth"),
        (lambda: proposals_from_labels(torch.tensor([[0, 2]]), torch.ones(1)), "labels 0..1, found 0..2"),
        (lambda: proposals_from_labels(torch.tensor([0, 1]), torch.ones(1)), "H, W"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(wrong, message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        wrong()

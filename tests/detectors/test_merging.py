"""Fragments of one object are united; what looks or moves otherwise, or does not touch, is not."""

from __future__ import annotations

import pytest
import torch

from detectors.errors import DetectorError
from detectors.merging import merge_fragments, unite

SIZE = 32


def scene(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    """Hard masks of rectangles xyxy."""
    masks = torch.zeros(len(boxes), SIZE, SIZE)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = 1
    return masks


HALVES = scene((4, 4, 12, 20), (12, 4, 20, 20), (24, 24, 30, 30))
"""Two halves of one object, and another one apart."""

ALIKE = torch.tensor([[1.0, 0.1, 0], [1, -0.1, 0], [1, 0, 0]])


def flow_of(masks: torch.Tensor, motions: list[tuple[float, float]], noise: float = 0.1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    flow = noise * torch.randn(2, SIZE, SIZE, generator=generator)
    return flow + (masks[:, None] * torch.tensor(motions)[:, :, None, None]).sum(0)


def test_touching_halves_that_look_alike_are_one_and_the_distant_twin_is_not() -> None:
    assert merge_fragments(HALVES, ALIKE).tolist() == [0, 0, 1]


def test_halves_that_look_different_stay_two() -> None:
    assert merge_fragments(HALVES, torch.eye(3)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_one_motion_unites_and_two_motions_part(order: int) -> None:
    same = flow_of(HALVES, [(2, 1), (2, 1), (2, 1)])
    other = flow_of(HALVES, [(2, 1), (-2, 1), (2, 1)])
    assert merge_fragments(HALVES, flow=same, order=order).tolist() == [0, 0, 1]
    assert merge_fragments(HALVES, flow=other, order=order).tolist() == [0, 1, 2]
    assert merge_fragments(HALVES, ALIKE, other, order=order).tolist() == [0, 1, 2]  # alike in looks, not in motion


def test_affine_motion_unites_a_turning_object_and_constant_motion_does_not() -> None:
    y, x = torch.meshgrid(torch.arange(SIZE) - 12.0, torch.arange(SIZE) - 12.0, indexing="ij")
    turning = 0.3 * torch.stack([-y, x])
    assert merge_fragments(HALVES, flow=turning, order=1).tolist() == [0, 0, 1]
    assert merge_fragments(HALVES, flow=turning, order=0, noise=0.1, threshold=0.8).tolist() == [0, 1, 2]


def test_a_small_part_with_its_own_motion_is_not_swallowed_by_a_large_one() -> None:
    masks = scene((0, 0, 32, 24), (10, 24, 14, 28))
    assert merge_fragments(masks, flow=flow_of(masks, [(0, 0), (1.5, 0)])).tolist() == [0, 1]
    assert merge_fragments(masks, flow=flow_of(masks, [(0, 0), (0, 0)])).tolist() == [0, 0]


def test_regions_that_touch_at_a_corner_stay_two() -> None:
    masks = scene((4, 4, 12, 12), (11, 12, 20, 20))  # one pair of neighbours
    assert merge_fragments(masks, torch.ones(2, 3)).tolist() == [0, 1]
    assert merge_fragments(masks, torch.ones(2, 3), least_contact=0.01).tolist() == [0, 0]


def test_chains_are_united_step_by_step() -> None:
    masks = scene((0, 0, 8, 8), (24, 0, 32, 8), (8, 0, 16, 8), (16, 0, 24, 8))
    assert merge_fragments(masks, torch.ones(4, 2)).tolist() == [0, 0, 0, 0]


def test_only_candidates_are_joined_and_empty_slots_stay_alone() -> None:
    masks = torch.cat([HALVES, torch.zeros(1, SIZE, SIZE)])
    embeddings = torch.ones(4, 2)
    assert merge_fragments(masks, embeddings).tolist() == [0, 0, 1, 2]
    candidates = torch.tensor([True, False, True, True])
    assert merge_fragments(masks, embeddings, candidates=candidates).tolist() == [0, 1, 2, 3]


def test_without_any_known_flow_motion_says_nothing() -> None:
    unknown = torch.full((2, SIZE, SIZE), float("nan"))
    assert merge_fragments(HALVES, ALIKE, unknown).tolist() == [0, 0, 1]
    assert merge_fragments(HALVES, flow=unknown).tolist() == [0, 1, 2]
    partly = flow_of(HALVES, [(2, 1), (2, 1), (2, 1)])
    partly[:, ::3] = float("nan")
    assert merge_fragments(HALVES, flow=partly).tolist() == [0, 0, 1]


def test_groups_follow_a_permutation_of_the_slots() -> None:
    masks = scene((4, 4, 12, 20), (12, 4, 20, 20), (20, 4, 28, 20), (4, 24, 12, 30))
    embeddings = torch.tensor([[1.0, 0], [1, 0.05], [0, 1], [1, 0]])
    groups = merge_fragments(masks, embeddings)
    assert groups.tolist() == [0, 0, 1, 2]
    for seed in range(5):
        order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
        permuted = merge_fragments(masks[order], embeddings[order])
        assert torch.equal(permuted[:, None] == permuted, groups[order][:, None] == groups[order])


def test_united_slots_have_summed_masks_highest_presence_and_mean_embeddings() -> None:
    masks = scene((0, 0, 4, 4), (4, 0, 16, 4), (20, 20, 24, 24)) * 0.9
    presence = torch.tensor([0.9, 0.5, 0.2], requires_grad=True)
    embeddings = torch.tensor([[4.0, 0], [0, 4], [1, 1]], requires_grad=True)
    united, highest, mean = unite(torch.tensor([0, 0, 1]), masks, presence, embeddings)
    assert torch.allclose(united, torch.stack([masks[0] + masks[1], masks[2]]))
    assert torch.allclose(highest, torch.tensor([0.9, 0.2]))
    assert torch.allclose(mean, torch.tensor([[1.0, 3], [1, 1]]))  # 16 pixels and 48
    (highest.sum() + mean.sum()).backward()
    assert presence.grad.tolist() == [1, 0, 1] and bool((embeddings.grad > 0).all())
    assert unite(torch.tensor([0, 0, 1]), masks, presence)[2] is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "embeddings, a flow or both"),
        ({"embeddings": torch.ones(2, 4)}, "3 embeddings"),
        ({"flow": torch.ones(2, 8, 8)}, "flow"),
        ({"flow": torch.ones(2, SIZE, SIZE), "order": 3}, "order"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(more: dict, message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        merge_fragments(HALVES, **more)

"""Losses without labels: lower for the right answer, with right gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import one_hot

from detectors.errors import DetectorError
from detectors.losses import (
    depth_edge_alignment,
    feature_reconstruction,
    mask_entropy,
    similarity_targets,
    slot_contrast,
    temporal_similarity,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masks_of(labels: torch.Tensor, slots: int) -> torch.Tensor:
    """Hard masks (1, K, h, w) of labels (h, w)."""
    return one_hot(labels, slots).permute(2, 0, 1)[None].double()


def step(at: int, size: int = 12) -> torch.Tensor:
    """Labels (size, size): 0 left of a column, 1 from it on."""
    return (torch.arange(size) >= at).long().expand(size, -1)


def test_reconstruction_is_a_mean_square_without_gradient_to_the_target() -> None:
    guess, target = noise(2, 3, 4).requires_grad_(), noise(2, 3, 4, seed=1).requires_grad_()
    loss = feature_reconstruction(guess, target)
    torch.testing.assert_close(loss, (guess - target).square().mean())
    loss.backward()
    assert target.grad is None and guess.grad is not None
    assert feature_reconstruction(target, target) == 0


def test_reconstruction_leaves_out_what_has_no_weight() -> None:
    target, weights = noise(2, 3, 4), torch.ones(2, 3).double()
    guess = target.clone()
    guess[:, 1], weights[:, 1] = 9, 0
    assert feature_reconstruction(guess, target, weights) == 0 < feature_reconstruction(guess, target)


def test_contrast_wants_slots_to_stay_themselves() -> None:
    """Slots that keep their vector, slots that swap places, slots all alike: least, most, log of their number."""
    first = torch.eye(4).double().view(2, 1, 2, 4)
    stay, swap = first.expand(-1, 3, -1, -1), torch.cat([first, first.flip(2)], 1)
    assert slot_contrast(stay) < 1e-3
    assert slot_contrast(swap) > 9
    assert float(slot_contrast(torch.ones(2, 2, 2, 4))) == pytest.approx(math.log(4))


def test_contrast_takes_negatives_from_the_whole_batch() -> None:
    # Two videos with the same two slots: each is confused with its twin in the other video.
    twin = torch.eye(2).double().expand(2, 2, -1, -1)
    assert float(slot_contrast(twin)) == pytest.approx(math.log(2), abs=1e-3)
    assert slot_contrast(twin[:1]) < 1e-3


def test_contrast_does_not_see_lengths_of_slots() -> None:
    slots = noise(2, 3, 4, 5)
    torch.testing.assert_close(slot_contrast(slots), slot_contrast(7 * slots))
    with pytest.raises(DetectorError, match="at least two frames"):
        slot_contrast(slots[:, :1])


def test_similarity_targets_are_chances_of_alike_patches() -> None:
    features = torch.eye(3).double()[None]
    order = [2, 0, 1]
    targets = similarity_targets(features, features[:, order], temperature=0.05)
    torch.testing.assert_close(targets.sum(-1), torch.ones(1, 3).double())
    assert targets[0].argmax(0).tolist() == order
    # By the formula: one at similarity 1 and two at 0.
    assert float(targets.max()) == pytest.approx(1 / (1 + 2 * math.exp(-1 / 0.05)))


def test_opposite_patches_are_impossible() -> None:
    features = torch.tensor([[[1.0, 0.0], [-1.0, 0.1]]])
    targets = similarity_targets(features, features)
    assert targets[0, 0, 1] == 0 and targets[0, 0, 0] == 1
    # A patch with nothing alike keeps its best, and stays finite.
    lonely = similarity_targets(-features[:, :1], features[:, :1])
    assert lonely.tolist() == [[[1.0]]]


def test_temporal_similarity_wants_the_right_transition() -> None:
    features, order = torch.eye(4).double()[None], [1, 2, 3, 0]
    following = features[:, order]
    right = 20 * (features @ following.transpose(1, 2))
    wrong = right.roll(1, -1)
    losses = [float(temporal_similarity(logits, features, following)) for logits in (right, 0 * right, wrong)]
    assert losses[0] < losses[1] < losses[2]
    assert losses[1] == pytest.approx(math.log(4))
    # The least that any prediction can reach is the entropy of the targets.
    targets = similarity_targets(features, following)
    best = float(temporal_similarity(targets.log(), features, following))
    assert best == pytest.approx(float(-(targets * targets.log()).sum(-1).mean()))
    assert best < losses[0]


def test_entropy_of_decided_and_undecided_masks() -> None:
    assert mask_entropy(masks_of(step(6), 3)) == 0
    assert float(mask_entropy(torch.full((2, 5, 7), 0.2))) == pytest.approx(1)
    assert mask_entropy(torch.ones(1, 1, 4)) == 0
    hard = masks_of(step(6), 3).requires_grad_()
    mask_entropy(hard).backward()
    assert hard.grad is not None and hard.grad.isfinite().all()


def test_masks_should_change_at_depth_edges() -> None:
    """The right cut, no cut, undecided masks, a cut elsewhere, the right cut and one more."""
    depth = (2.0 + 4 * step(5))[None, None]
    two = step(5) + step(9)
    right, none, wrong, more = (
        float(depth_edge_alignment(masks_of(labels, 3), depth)) for labels in (step(5), 0 * step(5), step(8), two)
    )
    even = float(depth_edge_alignment(torch.full((1, 3, 12, 12), 1 / 3), depth))
    assert right < 1e-3 < none < wrong and right < more < wrong and right < even


def test_slanted_planes_have_no_edge() -> None:
    """A steep floor asks for no cut, although its depth changes more from row to row than at a small step."""
    floor = (1 / (0.02 + 0.05 * torch.arange(12).double()))[:, None].expand(12, 12)[None, None]
    whole = masks_of(0 * step(5), 2)
    assert depth_edge_alignment(whole, floor, missed=1) < 1e-6
    cut = masks_of(step(6).T, 2)
    assert depth_edge_alignment(cut, floor) > 0.01


def test_edges_blurred_over_two_pixels_are_edges() -> None:
    inverse = (1.0 - 0.5 * (step(5) + step(6)) * 0.9)[None, None]
    whole = masks_of(0 * step(5), 2)
    assert depth_edge_alignment(whole, 1 / inverse) > 0.5 * depth_edge_alignment(whole, (1.0 + 9 * step(5))[None, None])


def test_unknown_depth_is_left_out() -> None:
    depth, masks = (2.0 + 4 * step(5))[None, None], masks_of(step(9), 2).requires_grad_()
    broken, weights = depth.clone(), torch.ones(1, 1, 12, 12).double()
    broken[..., 8:] = torch.nan
    weights[..., 8:] = 0
    loss = depth_edge_alignment(masks, broken)
    torch.testing.assert_close(loss, depth_edge_alignment(masks, depth, weights))
    loss.backward()
    assert masks.grad is not None and masks.grad.isfinite().all()
    assert depth_edge_alignment(masks, torch.full_like(depth, torch.nan)) == 0


def test_gradients() -> None:
    check = torch.autograd.gradcheck
    features, following = noise(1, 3, 4), noise(1, 5, 4, seed=1)
    depth, soft = noise(1, 1, 4, 5).exp(), noise(1, 2, 4, 5, seed=2)
    soft.requires_grad_()
    assert check(lambda x: feature_reconstruction(x, noise(2, 3, 4, seed=3)), (noise(2, 3, 4).requires_grad_(),))
    assert check(slot_contrast, (noise(2, 3, 2, 4).requires_grad_(),))
    assert check(lambda x: temporal_similarity(x, features, following), (noise(1, 3, 5, seed=4).requires_grad_(),))
    assert check(lambda x: mask_entropy(x.softmax(1)), (soft,))
    assert check(lambda x: depth_edge_alignment(x.softmax(1), depth), (soft,))

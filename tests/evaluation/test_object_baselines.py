"""Blocks, k-means and linked components."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from detectors.carrying import NumberedMasks, number_masks
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.object_baselines import blocks, kmeans, link_labels, linked_components

SIDE, FRAMES, STEP = 48, 6, 4


def flow_to_before(labels: NDArray, step: int = STEP) -> Tensor:
    """What is labelled came from ``step`` pixels to the left, all else stood still."""
    flow = torch.zeros(2, *labels.shape)
    flow[0][torch.from_numpy(labels > 0)] = -step
    return flow


def square(left: int, top: int = 10, number: int = 1) -> NDArray[np.int32]:
    labels = np.zeros((SIDE, SIDE), np.int32)
    labels[top : top + 10, max(left, 0) : max(left + 10, 0)] = number
    return labels


def test_blocks_are_a_grid_that_never_changes() -> None:
    labels = blocks(4, (30, 61))
    assert labels.shape == (4, 30, 61)
    assert labels[0, ::10, [0, 30, 60]].T.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert (labels == labels[0]).all()
    sizes = np.bincount(labels[0].ravel())[1:]
    assert sizes.min() == 200 and sizes.max() == 210
    assert blocks(1, (8, 8), grid=2).max() == 4


@pytest.fixture(scope="module")
def clip() -> tuple[Tensor, list[Tensor], NDArray]:
    """A red square that stands, and one of the colour of the ground that moves."""
    truth = np.stack([square(4 + STEP * t, 4) + square(30, 30, 2) for t in range(FRAMES)])
    images = torch.full((FRAMES, 3, SIDE, SIDE), 90, dtype=torch.uint8)
    images[:, 0][torch.from_numpy(truth == 2)] = 250
    residuals = [flow_to_before(labels == 1) for labels in truth]
    return images, residuals, truth


def overlap(found: NDArray, truth: NDArray) -> float:
    """Intersection over union of an object over the whole video with its best segment."""
    return max(((found == k) & truth).sum() / ((found == k) | truth).sum() for k in np.unique(found))


def test_kmeans_finds_objects_by_colour_and_by_motion(clip: tuple) -> None:
    images, residuals, truth = clip
    found = kmeans(images, residuals, clusters=3, colour=5, motion=50)
    assert found.shape == truth.shape and set(np.unique(found)) == {1, 2, 3}
    assert overlap(found, truth == 2) > 0.95
    assert overlap(found, truth == 1) > 0.95
    without = kmeans(images, residuals, clusters=3, colour=5, motion=0)
    assert overlap(without, truth == 2) > 0.95
    assert overlap(without, truth == 1) < 0.3


def test_kmeans_is_the_same_each_time(clip: tuple) -> None:
    images, residuals, _ = clip
    first, again, other = (kmeans(images, residuals, clusters=9, seed=seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_kmeans_takes_unknown_motion_for_none(clip: tuple) -> None:
    images, residuals, _ = clip
    nothing = [torch.zeros_like(one) for one in residuals]
    unknown = [torch.full_like(one, torch.nan) for one in residuals]
    assert (kmeans(images, nothing, clusters=5) == kmeans(images, unknown, clusters=5)).all()


def test_time_parts_a_clip_where_it_weighs_much(clip: tuple) -> None:
    images, residuals, _ = clip
    found = kmeans(images, residuals, clusters=2, colour=0, motion=0, time=50)
    assert len(np.unique(found[:3])) == 1 and len(np.unique(found[3:])) == 1
    assert found[0, 0, 0] != found[-1, 0, 0]


def test_kmeans_of_fewer_pixels_than_clusters() -> None:
    found = kmeans(torch.arange(12, dtype=torch.uint8).reshape(1, 3, 2, 2) * 20, [torch.zeros(2, 2, 2)], clusters=30)
    assert sorted(found.ravel().tolist()) == [1, 2, 3, 4]


def test_kmeans_refuses_what_does_not_fit(clip: tuple) -> None:
    images, residuals, _ = clip
    with pytest.raises(UserError, match="expected 6 residuals"):
        kmeans(images, residuals[1:])
    with pytest.raises(UserError, match=r"residuals \(2, 48, 48\)"):
        kmeans(images, [one[:, 1:] for one in residuals])
    with pytest.raises(UserError, match="clusters >= 1"):
        kmeans(images, residuals, clusters=0)


def test_a_number_follows_the_flow() -> None:
    # A square that moves by more than its width keeps its number; without the flow it has a new one in each frame.
    maps = [square(12 * t, number=t + 5) for t in range(3)]
    assert set(np.unique(link_labels(maps, [flow_to_before(one, 12) for one in maps]))) == {0, 1}
    still = [torch.zeros(2, SIDE, SIDE)] * 3
    assert set(np.unique(link_labels(maps, still))) == {0, 1, 2, 3}


def test_regions_are_kept_whatever_their_numbers() -> None:
    maps = [square(4 + t, 4, 7 - t) + square(20 + t, 30, 2 + 9 * t) for t in range(3)]
    linked = link_labels(maps, [flow_to_before(one, 1) for one in maps])
    for t, (one, before) in enumerate(zip(linked, maps)):
        assert ((one > 0) == (before > 0)).all()
        assert one[8, 8 + t] == linked[0, 8, 8] and one[34, 24 + t] == linked[0, 34, 24]
    assert linked[0, 8, 8] != linked[0, 34, 24]


def test_a_vanished_object_is_remembered_for_a_while() -> None:
    maps = [square(20), *[np.zeros((SIDE, SIDE), np.int32)] * 3, square(21)]
    flows = [torch.zeros(2, SIDE, SIDE)] * 5
    for memory, number in ((3, 1), (2, 2), (0, 2)):
        assert link_labels(maps, flows, memory=memory)[4, 15, 25] == number


def test_the_match_is_the_best_one_to_one() -> None:
    # Two halves that were one: the larger goes on, the other begins anew.
    whole = square(10)
    halves = whole.copy()
    halves[:, 16:20] *= 2
    linked = link_labels([whole, halves], [torch.zeros(2, SIDE, SIDE)] * 2)
    assert (linked[1, 12, 10], linked[1, 12, 18]) == (1, 2)


def test_too_little_overlap_is_another_object() -> None:
    maps, flows = [square(10), square(17)], [torch.zeros(2, SIDE, SIDE)] * 2  # 3 of 17 columns are shared
    assert link_labels(maps, flows, least_iou=0.15)[1].max() == 1
    assert link_labels(maps, flows, least_iou=0.2)[1].max() == 2
    apart = link_labels([square(0), square(30)], flows, least_iou=0)
    assert apart[1].max() == 2


def test_unknown_flow_and_flow_from_outside() -> None:
    flow = torch.full((2, SIDE, SIDE), torch.nan)
    assert link_labels([square(10), square(10)], [flow, flow]).max() == 1
    half = torch.zeros(2, SIDE, SIDE)
    half[:, :, :20] = torch.nan
    assert link_labels([square(15), square(15)], [half, half]).max() == 1
    outside = torch.full((2, SIDE, SIDE), 1000.0)
    assert link_labels([square(38), square(38)], [outside, outside]).max() == 2


def test_linking_nothing_and_what_does_not_fit() -> None:
    empty = np.zeros((SIDE, SIDE), np.int32)
    flow = torch.zeros(2, SIDE, SIDE)
    assert not link_labels([empty, empty], [flow, flow]).any()
    with pytest.raises(UserError, match="as many flows"):
        link_labels([empty, empty], [flow])
    with pytest.raises(UserError, match="as many flows"):
        link_labels([empty], [flow[:, 1:]])


def test_components_are_one_object_through_the_video(clip: tuple) -> None:
    _, residuals, truth = clip
    found = linked_components(residuals, residuals)
    assert set(np.unique(found)) == {0, 1}
    assert overlap(found, truth == 1) == 1
    assert not found[truth == 2].any()


def test_regions_are_numbered_by_the_rule_of_discovery() -> None:
    generator = np.random.default_rng(3)
    maps = [np.kron(generator.integers(0, 5, (6, 6)), np.ones((8, 8), int)) for _ in range(6)]
    flows = [torch.from_numpy(generator.normal(0, 3, (2, SIDE, SIDE)).astype(np.float32)) for _ in maps]
    state = NumberedMasks.start()
    for one, flow, linked in zip(maps, flows, link_labels(maps, flows)):
        regions = np.stack([one == number for number in range(1, 5)])
        state, numbers = number_masks(state, torch.from_numpy(regions), flow)
        assert [np.unique(linked[region]).tolist() for region in regions] == [[number] for number in numbers.tolist()]
    assert state.used > 4, "or the numbers would show nothing"

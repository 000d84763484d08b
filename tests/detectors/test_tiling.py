"""Tiles cover the image; what is found in several is kept once and whole."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.errors import DetectorError
from detectors.proposals import Proposals, proposals_from_labels
from detectors.tiling import detect_in_tiles, suppress, tile_windows


def painted(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (40, 60)) -> torch.Tensor:
    """An image in which object i is a rectangle of value i + 1 on 0."""
    image = torch.zeros(3, *size)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        image[:, y1:y2, x1:x2] = i + 1
    return image


def finder(least_share: float = 0.0, with_masks: bool = True):
    """A detector of painted rectangles that sees only what covers a share of its input."""

    def detect(image: torch.Tensor, *_: torch.Tensor | None) -> Proposals:
        labels = image[0].long()
        found = proposals_from_labels(
            labels, torch.full((int(labels.max()),), 0.8), least_area=int(least_share * labels.numel()) + 1
        )
        return found if with_masks else Proposals(boxes=found.boxes, scores=found.scores)

    return detect


def rows(proposals: Proposals) -> list[list[float]]:
    return sorted(proposals.boxes.tolist())


@settings(deadline=None, max_examples=50)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.floats(0, 0.9),
)
def test_tiles_are_of_one_size_cover_every_pixel_and_overlap_enough(
    size: tuple[int, int], tiles: tuple[int, int], overlap: float
) -> None:
    if tiles[0] > size[0] or tiles[1] > size[1]:
        with pytest.raises(DetectorError, match="no room"):
            tile_windows(size, tiles, overlap)
        return
    windows = tile_windows(size, tiles, overlap)
    assert len(windows) == tiles[0] * tiles[1]
    assert len({tuple((w[2:] - w[:2]).tolist()) for w in windows}) == 1
    covered = torch.zeros(size, dtype=torch.bool)
    for x1, y1, x2, y2 in (w.tolist() for w in windows):
        assert 0 <= x1 < x2 <= size[1] and 0 <= y1 < y2 <= size[0]
        covered[y1:y2, x1:x2] = True
    assert bool(covered.all())
    for one, next_one in pairwise(windows[: tiles[1]]):
        assert one[2] - next_one[0] >= overlap * (one[2] - one[0]) - 1


@pytest.mark.parametrize("with_masks", [True, False])
def test_objects_in_overlaps_and_across_borders_are_found_once_and_whole(with_masks: bool) -> None:
    # one in the corner, one inside the overlap of all tiles, one cut by every tile, one cut by two of them
    boxes = [(0, 0, 6, 6), (28, 18, 32, 22), (8, 26, 54, 36), (24, 2, 35, 8)]
    image = painted(*boxes)
    found = detect_in_tiles(finder(with_masks=with_masks), image)
    assert rows(found) == sorted([[float(side) for side in box] for box in boxes])
    if with_masks:
        value = {tuple(float(side) for side in box): i + 1 for i, box in enumerate(boxes)}
        for mask, box in zip(found.masks, found.boxes.tolist(), strict=True):
            assert torch.equal(mask, image[0] == value[tuple(box)])


def test_small_objects_are_found_in_tiles_only_and_large_ones_in_the_whole() -> None:
    small, large = (4, 4, 9, 9), (10, 12, 50, 38)
    image, detector = painted(small, large), finder(least_share=0.015)
    assert rows(detector(image)) == [list(map(float, large))]
    assert rows(detect_in_tiles(detector, image)) == sorted([list(map(float, small)), list(map(float, large))])
    assert rows(detect_in_tiles(detector, image, whole=False)) == [list(map(float, small))]


def test_maps_are_cut_like_the_image_and_none_stays_none() -> None:
    size = (40, 60)
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    seen = []

    def detect(image: torch.Tensor, flow: torch.Tensor, depth: torch.Tensor, nothing: None) -> Proposals:
        assert image.shape[-2:] == flow.shape[-2:] == depth.shape and nothing is None
        assert torch.equal(flow[0], image[0]) and torch.equal(flow[1], depth)
        seen.append((float(image[0].min()), float(depth.min()), *depth.shape))
        return Proposals.empty()

    assert len(detect_in_tiles(detect, torch.stack([x, y, y]), torch.stack([x, y]), y, None, tiles=(1, 2))) == 0
    assert seen == [(0, 0, *size), (0, 0, 40, 35), (25, 0, 40, 35)]


def test_one_tile_is_the_whole_and_runs_once() -> None:
    calls = []

    def detect(image: torch.Tensor) -> Proposals:
        calls.append(image.shape)
        return finder()(image)

    image = painted((3, 3, 9, 9))
    for whole in (True, False):
        calls.clear()
        assert len(detect_in_tiles(detect, image, tiles=1, whole=whole)) == 1 and len(calls) == 1


def test_other_fields_come_along() -> None:
    def detect(image: torch.Tensor) -> Proposals:
        found = finder()(image)
        more = {"embeddings": torch.ones(len(found), 2), "depths": torch.full((len(found),), 3.0)}
        return Proposals(**{**vars(found), **more, "classes": torch.full((len(found),), 7)})

    found = detect_in_tiles(detect, painted((3, 3, 9, 9)))
    assert found.classes.tolist() == [7] and found.depths.tolist() == [3] and found.embeddings.tolist() == [[1, 1]]


# --- suppression -----------------------------------------------------------------------------------------------------


def boxes_of(*boxes: tuple[float, ...], scores: list[float], **more: torch.Tensor) -> Proposals:
    return Proposals(boxes=torch.tensor(boxes), scores=torch.tensor(scores), **more)


def test_the_better_of_two_that_overlap_is_kept_and_the_best_comes_first() -> None:
    found = boxes_of((0.0, 0, 10, 10), (1, 1, 10, 10), (20, 0, 30, 10), scores=[0.5, 0.6, 0.9])
    assert suppress(found).boxes.tolist() == [[20, 0, 30, 10], [1, 1, 10, 10]]
    assert len(suppress(found, least_iou=0.9)) == 3


def test_what_overlaps_only_a_suppressed_one_is_kept() -> None:
    found = boxes_of((0.0, 0, 10, 10), (3, 0, 13, 10), (6, 0, 16, 10), scores=[0.9, 0.8, 0.7])
    assert suppress(found).boxes[:, 0].tolist() == [0, 6]


def test_a_box_inside_another_is_kept_and_a_mask_inside_another_is_not() -> None:
    inside = boxes_of((0.0, 0, 10, 10), (4, 4, 7, 7), scores=[0.9, 0.8])
    assert len(suppress(inside)) == 2
    masks = torch.zeros(2, 10, 10, dtype=torch.bool)
    masks[0], masks[1, 4:7, 4:7] = True, True
    assert len(suppress(Proposals(**{**vars(inside), "masks": masks}))) == 1
    masks[0, 4:7, 4:7] = False  # an object in front of another
    assert len(suppress(Proposals(**{**vars(inside), "masks": masks}))) == 2


def test_other_classes_do_not_suppress_each_other() -> None:
    found = boxes_of((0.0, 0, 10, 10), (0, 0, 10, 10), (0, 0, 10, 10), scores=[0.9, 0.8, 0.7])
    assert len(suppress(found)) == 1
    classes = torch.tensor([1, 2, 1])
    assert suppress(Proposals(**{**vars(found), "classes": classes})).classes.tolist() == [1, 2]


def test_boxes_and_masks_without_area_are_never_the_same() -> None:
    assert len(suppress(boxes_of((1.0, 1, 1, 1), (1, 1, 1, 1), scores=[0.9, 0.8]))) == 2


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.integers(0, 8))
def test_suppression_is_idempotent_and_leaves_no_two_alike(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner, side = torch.rand(count, 2, generator=generator), torch.rand(count, 2, generator=generator)
    found = Proposals(boxes=torch.cat([corner, corner + side], 1), scores=torch.rand(count, generator=generator))
    kept = suppress(found)
    assert torch.equal(suppress(kept).boxes, kept.boxes)
    assert bool((kept.scores.diff() <= 0).all())
    if count:
        assert float(kept.scores[0]) == float(found.scores.max())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: tile_windows((10, 10), 0), "at least one tile"),
        (lambda: tile_windows((10, 10), 2, 1.0), "overlap"),
        (lambda: detect_in_tiles(finder(), torch.zeros(3, 8, 8), torch.zeros(2, 4, 4)), "image's size"),
        (
            lambda: detect_in_tiles(
                lambda _: boxes_of((0.0, 0, 1, 1), scores=[1.0], masks=torch.ones(1, 3, 3, dtype=torch.bool)),
                torch.zeros(3, 8, 8),
                whole=False,
            ),
            "masks of",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(wrong, message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        wrong()

"""What students are shown: moved cells, occluders, noise and blur."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from scenegraph_track.errors import UserError
from scenegraph_track.pretraining.corruption import (
    KINDS,
    CorruptionSettings,
    blurred,
    corrupted_images,
    drawn_kind,
    noised,
    relocated,
)
from scenegraph_track.pretraining.occluders import OCCLUDERS, coverage, occluded

BOXES = torch.tensor([[8.0, 8.0, 24.0, 40.0], [10.0, 12.0, 42.0, 28.0]])


def cells(count: int = 3, size: int = 6) -> torch.Tensor:
    """Features whose two channels tell the row and the number of a cell."""
    numbers = torch.arange(size * size, dtype=torch.float32).view(1, 1, size, size).expand(count, 1, -1, -1)
    rows = torch.arange(count, dtype=torch.float32).view(-1, 1, 1, 1).expand_as(numbers)
    return torch.cat([rows, numbers], 1)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_relocation_is_a_permutation_of_a_part_of_the_cells(share: float) -> None:
    torch.manual_seed(0)
    before = cells()
    after = relocated(before, share)
    assert after.shape == before.shape and torch.equal(after[:, 0], before[:, 0])  # all channels go together
    sorted_after = after[:, 1].flatten(1).sort(1).values
    assert torch.equal(sorted_after, before[:, 1].flatten(1))  # no cell is lost
    moved = (after[:, 1] != before[:, 1]).flatten(1).sum(1)
    assert (moved <= int(share * 36)).all() and ((moved > 0.4 * share * 36).all() or share == 0)
    if share:
        assert not torch.equal(after[0, 1], after[1, 1])  # each row has its own


def test_shares_of_cells_beyond_one_are_refused() -> None:
    with pytest.raises(UserError, match=r"a share of cells from 0 to 1, found 1\.5"):
        relocated(cells(), 1.5)


def test_coverage_is_the_area_of_a_rectangle_in_each_pixel() -> None:
    found = coverage(torch.tensor([[1.5, 0.0]]), torch.tensor([[2.0, 1.25]]), (3, 4))[0]
    assert torch.equal(found[0], torch.tensor([0.0, 0.5, 1.0, 0.5]))
    assert torch.equal(found[1], 0.25 * found[0]) and found[2].sum() == 0
    assert found.sum() == pytest.approx(2.5)


@pytest.mark.parametrize("kind", OCCLUDERS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_a_block_hides_the_wanted_share_of_the_box_and_nothing_else(kind: str, share: float) -> None:
    torch.manual_seed(0)
    images = torch.full((2, 3, 48, 48), -5.0)  # no paint is like this
    opacity = torch.tensor([0.5, 0.8]) if kind == "semi_transparent" else None
    after = occluded(images, BOXES, torch.full((2,), share), kind, opacity)
    hidden = ((after - images).abs() > 1e-4).any(1)
    area = (BOXES[:, 2:] - BOXES[:, :2]).prod(1)
    alpha = (after.mean(1) + 5).sum((1, 2)) / area
    inside = torch.zeros_like(hidden)
    for row, (left, top, right, bottom) in enumerate(BOXES.int().tolist()):
        inside[row, top:bottom, left:right] = True
    if share == 0:
        assert not hidden.any()
        return
    if kind == "moving":  # spread over more pixels, and beyond the box
        assert (hidden.sum((1, 2)) > share * area).all() and ((hidden & inside).sum((1, 2)) > 0).all()
        return
    assert not (hidden & ~inside).any()
    assert hidden.sum((1, 2)).float() == pytest.approx(share * area, rel=0.25)
    if kind != "semi_transparent":
        assert (alpha > 0).all()
    else:
        least = after[hidden.unsqueeze(1).expand_as(after)].min()
        assert -5 < least < -0.9  # what is behind shines through


def test_plain_blocks_have_one_colour_and_textured_ones_many() -> None:
    torch.manual_seed(0)
    images = torch.full((1, 3, 48, 48), -5.0)
    plain, textured = (occluded(images, BOXES[:1], torch.ones(1), kind)[0, :, 10:20, 10:20] for kind in OCCLUDERS[:2])
    assert plain.flatten(1).std(1).max() < 1e-6 < textured.flatten(1).std(1).min()


def test_wrong_blocks_are_refused() -> None:
    with pytest.raises(UserError, match="expected one of opaque, textured, semi_transparent, moving, found fog"):
        occluded(torch.zeros(2, 3, 8, 8), BOXES, torch.ones(2), "fog")
    with pytest.raises(UserError, match="expected an opacity of semi-transparent blocks"):
        occluded(torch.zeros(2, 3, 8, 8), BOXES, torch.ones(2), "semi_transparent")


def test_blur_keeps_the_mean_and_takes_the_detail() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 32, 32)
    after = blurred(images, 2.0)
    assert after.shape == images.shape and after.std() < 0.3 * images.std()
    assert after.mean() == pytest.approx(float(images.mean()), abs=0.02)
    assert torch.allclose(blurred(torch.full((1, 3, 8, 8), 0.4), 3.0), torch.tensor(0.4))


def test_noise_has_the_wanted_deviation_for_each_image() -> None:
    torch.manual_seed(0)
    after = noised(torch.full((2, 3, 32, 32), 0.5), torch.tensor([0.0, 0.1]))
    assert (after[0] == 0.5).all() and after[1].std() == pytest.approx(0.1, rel=0.1)
    assert after.min() >= 0 and after.max() <= 1


@pytest.mark.parametrize("kind", KINDS[1:])
def test_images_are_corrupted_by_the_generator_of_torch(kind: str) -> None:
    images = torch.rand(2, 3, 48, 48)
    settings = CorruptionSettings(occluders=dict.fromkeys(OCCLUDERS, 1.0), hidden=(0.4, 0.7))
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(corrupted_images(images, BOXES, kind, settings))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert not torch.equal(found[0], images) and found[0].shape == images.shape


def test_kinds_are_drawn_by_their_shares() -> None:
    torch.manual_seed(0)
    drawn = [drawn_kind({"relocate": 3.0, "noise": 1.0, "blur": 0.0}) for _ in range(200)]
    assert 120 < drawn.count("relocate") < 180 and "blur" not in drawn
    with pytest.raises(UserError, match="expected one of occlude, noise, blur, found relocate"):
        corrupted_images(torch.zeros(2, 3, 8, 8), BOXES, "relocate", CorruptionSettings())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": {"rain": 1.0}}, "kinds: expected some of relocate, occlude, noise, blur, found rain"),
        ({"occluders": {"opaque": 0.0}}, "occluders: expected shares of which one is above 0"),
        ({"relocated": (0.4, 0.2)}, "relocated: expected two numbers that rise"),
        ({"hidden": (0.0, 1.2)}, "hidden: expected two numbers that rise, from 0 to 1"),
    ],
)
def test_wrong_settings_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CorruptionSettings(**changes)

"""Labels of cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track.target.labels import corner_radius, gaussian_maps, heat_maps, ltrb_maps, positive_cells
from scenegraph_track.target.losses import giou

BOX = torch.tensor([10.0, 20, 42, 36])  # middle (26, 28)


def test_a_gaussian_by_hand() -> None:
    found = gaussian_maps(BOX, (6, 8), 8, 0.9)
    assert found.shape == (6, 8)
    y, x = 2, 4  # middle of the cell (36, 20): 1.25 and -1 cells away
    assert found[y, x] == pytest.approx(np.exp(-(1.25**2 + 1) / (2 * 0.81)))
    assert divmod(int(found.argmax()), 8) == (3, 3) and found.max() < 1
    snapped = gaussian_maps(BOX, (6, 8), 8, 0.9, snapped=True)
    assert snapped[3, 3] == 1 and (snapped == 1).sum() == 1


def test_each_box_may_have_its_own_width() -> None:
    boxes = BOX.expand(2, 3, 4)
    sigma = torch.tensor([[0.5, 1, 2], [1, 1, 1]])
    found = gaussian_maps(boxes, (5, 5), 8, sigma)
    assert found.shape == (2, 3, 5, 5)
    assert torch.equal(found[0, 2], gaussian_maps(BOX, (5, 5), 8, 2.0))


def test_distances_by_hand() -> None:
    found = ltrb_maps(BOX, (6, 8), 8, 64)
    assert found[:, 2, 4].tolist() == [26 / 64, 0, 6 / 64, 16 / 64]
    assert found[0, 0, 0] == -6 / 64
    x, y = 4 * 8 + 4, 2 * 8 + 4
    signs = torch.tensor([-1, -1, 1, 1])
    assert torch.allclose(torch.tensor([x, y, x, y]) + signs * found[:, 2, 4] * 64, BOX)


def test_positive_cells_are_in_the_box_and_near_its_middle() -> None:
    found = positive_cells(BOX, (6, 8), 8, 1.0)
    assert found.nonzero().tolist() == [[3, 2], [3, 3]]  # middles (20, 28) and (28, 28); (20, 20) lies on its side
    tiny = positive_cells(torch.tensor([17.0, 17, 18, 18]), (6, 8), 8)
    assert tiny.nonzero().tolist() == [[2, 2]]
    assert not positive_cells(torch.tensor([-60.0, 10, -20, 30]), (6, 8), 8).any()


@pytest.mark.parametrize("sides", [(20.0, 20.0), (6.0, 40.0), (11.0, 3.0)])
def test_the_radius_is_the_largest_that_keeps_the_overlap(sides: tuple[float, float]) -> None:
    """By trying: shifted, shrunk and grown boxes have at least that IoU, and one of them hardly more."""
    radius = float(corner_radius(torch.tensor(sides), 0.7))
    box = torch.tensor([0.0, 0, *sides])
    moves = torch.tensor([[1.0, 1, 1, 1], [1, 1, -1, -1], [-1, -1, 1, 1]]) * radius

    def iou(other: torch.Tensor) -> torch.Tensor:
        low, high = torch.maximum(box[:2], other[:, :2]), torch.minimum(box[2:], other[:, 2:])
        both = (high - low).clamp(min=0).prod(1)
        return both / (sides[0] * sides[1] + (other[:, 2:] - other[:, :2]).prod(1) - both)

    found = iou(box + moves)
    assert found.min() == pytest.approx(0.7, abs=1e-4)
    assert giou(box.expand(3, 4), box + moves).isfinite().all()


def test_heat_maps_peak_at_one_and_widen_with_the_box() -> None:
    boxes = torch.tensor([[4.0, 4, 20, 20], [0.0, 0, 120, 110]])
    found = heat_maps(boxes, (16, 16), 8)
    assert found.flatten(1).amax(1).tolist() == [1, 1]
    assert (found[1] > 0.1).sum() > (found[0] > 0.1).sum()
    assert found[0, 1, 1] == 1  # the middle (12, 12) lies in cell (1, 1)

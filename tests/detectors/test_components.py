"""Connected components of a motion residual."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from detectors.components import LEAST, component_proposals, motion_components
from detectors.errors import DetectorError


def still(height: int = 128, width: int = 128, noise: float = 0.05) -> Tensor:
    """A residual in which nothing moves."""
    return noise * torch.randn(2, height, width, generator=torch.Generator().manual_seed(0))


def values(labels: Tensor) -> list[int]:
    return labels.unique().tolist()


def test_two_objects_apart_are_two_components() -> None:
    residual = still()
    residual[0, 10:40, 20:50] += 3
    residual[1, 80:110, 64:100] += 3
    labels = motion_components(residual)
    expected = torch.zeros(128, 128, dtype=torch.int32)
    expected[10:40, 20:50], expected[80:110, 64:100] = 1, 2
    assert labels.dtype == torch.int32
    assert torch.equal(labels, expected)  # their edges lie between the cells of 2 x 2 pixels


def test_noise_and_slow_drift_are_nothing() -> None:
    assert values(motion_components(still())) == [0]
    residual = still()
    residual[:, 30:60, 30:60] += 0.6 * LEAST / 2**0.5
    assert values(motion_components(residual)) == [0]


def test_threshold_counts_in_standard_deviations() -> None:
    residual = torch.zeros(2, 64, 64)
    residual[0, 10:20, 10:20] = 4
    assert values(motion_components(residual, threshold=3, noise=1.0)) == [0, 1]
    assert values(motion_components(residual, threshold=5, noise=1.0)) == [0]


def test_noise_is_measured_where_it_is_not_given() -> None:
    loud = still(noise=1.0)  # a mean over cells of 2 x 2 pixels has half of that
    assert (motion_components(loud, noise=0.05, split=None) > 0).float().mean() > 0.4
    assert (motion_components(loud, split=None) > 0).float().mean() < 0.02


def test_neighbours_that_move_apart_are_split() -> None:
    residual = torch.zeros(2, 64, 64)
    residual[0, 20:40, 10:30], residual[0, 20:40, 30:50] = 4, -4
    assert values(motion_components(residual)) == [0, 1, 2]
    assert values(motion_components(residual, split=None)) == [0, 1]


def test_a_smooth_change_of_motion_is_one_object() -> None:
    # As of a body that turns: no two neighbours differ much, its ends do.
    residual = torch.zeros(2, 64, 64)
    residual[0, 20:40, 8:56] = torch.linspace(-6, 6, 48)
    residual[1, 20:40, 8:56] = 3
    assert values(motion_components(residual)) == [0, 1]


def test_small_pieces_join_what_is_near_or_vanish() -> None:
    residual = torch.zeros(2, 64, 64)
    residual[0, 20:40, 20:40] = 4
    residual[0, 25, 40] = -4  # a wrong pixel at the border of the object
    residual[0, 60, 60] = 4  # and one far from it
    labels = motion_components(residual, least_area=2 / 64**2)
    assert labels[25, 40] == 1
    assert labels[60, 60] == 0
    assert values(labels) == [0, 1]
    assert motion_components(residual, least_area=0)[60, 60] > 0


def test_unknown_motion_is_nothing() -> None:
    residual = torch.full((2, 48, 64), torch.nan)
    assert values(motion_components(residual)) == [0]
    residual[:, :24] = 0
    residual[0, 4:12, 4:12] = 5
    labels = motion_components(residual)
    assert values(labels) == [0, 1]
    assert (labels[24:] == 0).all()


@pytest.mark.parametrize("size", [(30, 41), (97, 150), (240, 320), (1, 5)])
def test_any_size(size: tuple[int, int]) -> None:
    height, width = size
    residual = torch.zeros(2, height, width)
    residual[0, : height // 2 + 1, : width // 3 + 1] = 5
    labels = motion_components(residual, noise=0.1)
    assert labels.shape == size
    wrong = (labels > 0) != (residual[0] > 0)
    cell = -(-max(size) // 64)
    assert wrong.sum() <= cell * (height + width)  # at most a cell along two of the edges


def test_a_coarser_grid_loses_small_objects() -> None:
    residual = torch.zeros(2, 128, 128)
    residual[0, 64:68, 64:68] = 4
    assert values(motion_components(residual, least_area=0)) == [0, 1]
    assert values(motion_components(residual, least_area=0, grid=8)) == [0]


def test_proposals_are_boxes_scores_masks_and_depths() -> None:
    residual = still(noise=0.01)
    residual[0, 10:40, 20:50] += 9
    residual[1, 80:110, 64:100] += 1
    depth = torch.full((128, 128), 7.0)
    depth[10:40, 20:50] = 2
    found = component_proposals(residual, depth)
    assert found.boxes.tolist() == [[20, 10, 50, 40], [64, 80, 100, 110]]
    assert torch.equal(found.masks[0], residual[0] > 4)
    assert found.depths.tolist() == [2, 7]
    assert 0.9 < found.scores[0] < 1
    assert float(found.scores[1]) == pytest.approx(1 / (1 + LEAST), abs=0.01)


def test_no_motion_gives_no_proposals() -> None:
    assert len(component_proposals(still(), torch.ones(128, 128))) == 0
    assert len(component_proposals(torch.full((2, 32, 32), torch.nan))) == 0


@pytest.mark.parametrize(
    "settings", [{"threshold": -1.0}, {"noise": float("nan")}, {"grid": 0}, {"least_area": 2.0}, {"split": -1.0}]
)
def test_settings_out_of_range_are_refused(settings: dict) -> None:
    with pytest.raises(DetectorError, match="expected threshold"):
        motion_components(torch.zeros(2, 32, 32), **settings)


@pytest.mark.parametrize("residual", [torch.zeros(3, 8, 8), torch.zeros(2, 8), torch.zeros(2, 8, 8).int()])
def test_wrong_shapes_are_refused(residual: Tensor) -> None:
    with pytest.raises(DetectorError, match=r"expected a motion residual \(2, H, W\)"):
        motion_components(residual)

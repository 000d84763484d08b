"""The stage that teaches depth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from scenegraph_track.training.depth import DepthData, Samples, a_part, log_depth_errors, zoom_and_mirror
from scenegraph_track.training.labels import LabelSettings, make_label


def test_no_error_for_the_truth_in_any_scale() -> None:
    depth, weight = torch.rand(2, 1, 9, 11) + 0.5, torch.rand(2, 1, 9, 11)
    error, gradient = log_depth_errors(7 / depth, depth, weight)
    assert error.abs().max() < 1e-5 and gradient < 1e-5


def test_error_by_hand() -> None:
    # A quarter of the pixels is e times too far: the median is right, and a quarter of the weight is off by 1.
    depth = torch.ones(1, 1, 8, 8)
    found = depth.clone()
    found[..., :2] = np.e
    error, _ = log_depth_errors(1 / found, depth, depth)
    assert float(error) == pytest.approx(0.25)


def test_unknown_pixels_do_not_count() -> None:
    depth, weight = torch.rand(1, 1, 8, 8) + 0.5, torch.ones(1, 1, 8, 8)
    disparity = 1 / depth
    depth[..., :3] = 0
    disparity[..., :3] = 99
    assert log_depth_errors(disparity, depth, weight)[0].abs().max() < 1e-5


def test_gradients() -> None:
    torch.manual_seed(0)
    disparity = (torch.rand(2, 1, 4, 10, dtype=torch.double) + 0.5).requires_grad_()
    depth, weight = torch.rand(2, 1, 4, 10).double() + 0.5, torch.rand(2, 1, 4, 10).double()
    steps = [step for step in (1, 2) if step]
    assert steps and gradcheck(lambda d: log_depth_errors(d, depth, weight)[1], (disparity,), atol=1e-4)


def label() -> dict[str, np.ndarray]:
    settings = LabelSettings(presets={"static": 1.0}, size=64, frames=3, frame_rates=[6.0])
    return make_label(1, settings, "dis_sparse")


@pytest.mark.parametrize("seed", range(4))
def test_a_part_of_an_image_is_seen_by_the_camera_that_is_said(seed: int) -> None:
    # A pixel of the enlarged part looks along the same ray as the pixel it came from (mirrored: x changes sign).
    row = label()
    y, x = np.mgrid[:64, :64] + 0.5
    inverse = np.linalg.inv(row["intrinsics"].astype(float))
    ray_x, ray_y = inverse[0, 0] * x + inverse[0, 2], inverse[1, 1] * y + inverse[1, 2]
    rng = np.random.default_rng(seed)
    _, seen_x, seen_y, k = zoom_and_mirror(rng, row, ray_x.astype(np.float32), ray_y.astype(np.float32), 1.5)
    new = np.linalg.inv(k)
    expected_x, expected_y = new[0, 0] * x + new[0, 2], new[1, 1] * y + new[1, 2]
    pixel = abs(inverse[0, 0])
    assert np.abs(np.abs(seen_x) - np.abs(expected_x)).max() < 1.5 * pixel
    assert np.abs(seen_y - expected_y).max() < 1.5 * pixel


def test_what_is_told_is_a_part_of_what_is_known() -> None:
    rng = np.random.default_rng(0)
    depth, confidence = np.full((32, 32), 2.0, np.float32), np.full((32, 32), 0.9, np.float32)
    confidence[:, :8] = 0
    told = [a_part(rng, depth, confidence) for _ in range(20)]
    assert all((part[0][:, :8] == 0).all() and np.array_equal(part[0] > 0, part[1] > 0) for part in told)
    shares = [float((part[0][:, 8:] > 0).mean()) for part in told]
    assert min(shares) < 0.5 < max(shares)
    assert all(np.abs(np.log(part[0][part[0] > 0] / 2)).max(initial=0) < 0.5 for part in told)


def test_samples_fit_the_network() -> None:
    class One:
        def __init__(self) -> None:
            self.arrays = {name: value[None] for name, value in label().items()}

        def __len__(self) -> int:
            return 1

        def rows(self, chosen):
            for index in chosen:
                yield {name: value[index] for name, value in self.arrays.items()}

    sample = Samples(One(), DepthData(complete=1.0), True)(np.random.default_rng(0))
    assert sample["image"].shape == (1, 3, 64, 64) and sample["known"].shape == (1, 2, 64, 64)
    assert all(value.dtype == torch.float32 for value in sample.values())
    alone = Samples(One(), DepthData(complete=0.0), True)(np.random.default_rng(0))
    assert not alone["known"].any()

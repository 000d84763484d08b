"""What the stage of optical flow learns from: pairs whose flow is right, and a loss that is the formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geometry.camera import pixel_grid, sample
from geometry.flow_net import STRIDE
from scenegraph_track.training.flow import FlowData, colour_pair, draw_pairs, robust_error

DATA = FlowData(presets={"easy": 1.0}, size=64, crop=48, frames=3, pairs=4, colour=0.0, noise=0.0, frame_rates=[8.0])


@pytest.mark.parametrize("seed", range(3))
def test_flow_leads_from_a_to_b(seed: int) -> None:
    # Cropped, mirrored, transposed and backwards pairs alike: b looked up along the flow is a where nothing is hidden.
    pairs = draw_pairs(np.random.default_rng(seed), DATA)
    assert pairs["a"].shape == pairs["b"].shape == (4, 3, 48, 48)
    assert pairs["flow"].shape == (4, 2, 48, 48)
    ends = pixel_grid(48, 48) + pairs["flow"]
    stays = ((ends > 0) & (ends < 48)).all(1, keepdim=True)
    seen = ~pairs["hidden"] & stays
    for a, b, end, mask in zip(pairs["a"], pairs["b"], ends, seen):
        moved = float((pairs["flow"].norm(dim=1)).median())
        there = sample(b[None], end[None])[0]
        wrong = sample(b[None], (2 * pixel_grid(48, 48) - end)[None])[0]  # along the reversed flow
        error, reversed_error = (float((a - image).abs().mean(0)[mask[0]].mean()) for image in (there, wrong))
        assert error < 0.03
        if moved > 1:
            assert error < 0.5 * reversed_error


def test_the_same_generator_gives_the_same_pairs() -> None:
    one, two = (draw_pairs(np.random.default_rng(5), DATA) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_colours_change_both_images_alike() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    a, b = colour_pair(np.random.default_rng(1), image, image, 0.3, 0.0)
    assert a.dtype == np.float32 and a.shape == (3, 8, 8) and a.min() >= 0 and a.max() <= 1
    plain = image.transpose(2, 0, 1) / 255
    assert np.abs(a - b).mean() < 0.3 * min(np.abs(a - plain).mean(), np.abs(b - plain).mean())


def robust(error: float) -> float:
    return 2 * ((1 + error) ** 0.5 - 1)


def test_robust_error_by_hand() -> None:
    flow, truth = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    truth[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    truth[0, :, 1, 1] = torch.tensor([0.0, 1.0])
    weight = torch.tensor([[[[3.0, 1.0], [1.0, 0.0]]]])
    assert float(robust_error(flow, truth, weight, 1)) == pytest.approx(3 * robust(5) / 5, abs=2e-3)


def test_robust_error_of_a_coarser_level_by_hand() -> None:
    # Truth is averaged by weight over 2 x 2 pixels; pixels without weight, and what is padded, do not count.
    height, width = STRIDE, STRIDE + 2
    truth, weight = torch.zeros(1, 2, height, width), torch.zeros(1, 1, height, width)
    weight[0, 0, :2, :4] = 1.0
    weight[0, 0, 0, 0] = 5.0
    truth[0, 0, 0, 0] = 8.0  # mean of the first block: 5 * 8 / 8 = 5
    truth[0, 0, :, 4:] = 100.0
    found = torch.zeros(1, 2, STRIDE // 2, STRIDE)
    found[0, 1, 0, 1] = 2.0  # an error of 2 in the second block
    found[0, 0, :, STRIDE // 2 + 1 :] = 50.0  # in the padding
    assert float(robust_error(found, truth, weight, 2)) == pytest.approx(
        (8 * robust(5) + 4 * robust(2)) / (8 + 4), abs=2e-3
    )

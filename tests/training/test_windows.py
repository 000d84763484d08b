"""Windows of rendered worlds: they agree with their truth, also in a mirror."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scenegraph_track.training.collapse import collapse_signs
from scenegraph_track.training.photometric import motion_errors
from scenegraph_track.training.photometric_losses import flow_distance, flow_of_camera, window_loss
from scenegraph_track.training.photometric_settings import PhotometricLoss
from scenegraph_track.training.windows import WindowData, held_window, make_window, mirrored

DATA = WindowData(size=64, worlds=4)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def windows(count: int = 2) -> dict[str, Tensor]:
    """Some rendered windows with their truth."""
    found = [held_window(DATA, "train", number) for number in range(count)]
    return {name: torch.stack([window[name] for window in found]) for name in found[0]}


def test_windows_agree_with_their_truth() -> None:
    # Exact depth and motion give the classical flow; the classical motion points where the true one does.
    batch = windows()
    rigid = flow_of_camera(batch["depth"], batch["truth"], batch["intrinsics"])
    signs = collapse_signs(batch["depth"], batch["truth"], rigid, batch["flow"], batch["trusted"])
    assert float(signs["pose_agreement"]) < 0.25
    assert float(signs["depth_variation"]) > 0.1
    assert float(signs["translation"]) > 0.005
    for k in range(2):
        window = {name: value[k] for name, value in batch.items()}
        turn, true, direction = motion_errors(window["motion"].double().numpy(), window)
        assert turn.max() < max(0.5 * true.max(), 0.5)
        assert direction.size and direction.max() < 30


def test_the_same_number_is_the_same_window() -> None:
    data = WindowData(size=32, parallax=0.0)
    one, two, other = (make_window(data, "train", number) for number in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["images"], other["images"])


@pytest.mark.parametrize("number", range(8))
def test_mirrors_turn_everything_together(number: int) -> None:
    # In each of the eight mirrors the truth still explains images and flow.
    batch = windows(1)
    axes = torch.diag(torch.tensor([1.0 - 2 * (number & 1), 1.0 - (number & 2), 1.0]))
    turned = mirrored(batch, axes[[1, 0, 2]] if number & 4 else axes)
    rigid = flow_of_camera(turned["depth"], turned["truth"], turned["intrinsics"])
    plain = flow_of_camera(batch["depth"], batch["truth"], batch["intrinsics"])
    distance, before = (
        flow_distance(turned["flow"], turned["trusted"], rigid),
        flow_distance(batch["flow"], batch["trusted"], plain),
    )
    torch.testing.assert_close(distance, before, rtol=1e-3, atol=1e-4)
    loss, settings = [], PhotometricLoss(auto_mask=False, smoothness=0.0)
    for b in (batch, turned):
        loss.append(window_loss([1 / b["depth"]], b["truth"], b["images"], b["intrinsics"], settings)[0])
    torch.testing.assert_close(loss[1], loss[0], rtol=1e-3, atol=1e-5)
    if number:
        assert not torch.equal(turned["images"], batch["images"])

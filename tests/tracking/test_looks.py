"""What detections look like: colours and target models tell them apart; the tracker uses what its settings name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track import Tracker
from scenegraph_track.config import AppearanceSettings
from scenegraph_track.errors import UserError
from scenegraph_track.structures import Detections, Frame
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.tracking.appearance import unit
from scenegraph_track.tracking.looks import colour_looks, looks, target_looks

SMALL = TargetNetSettings(channels=(8, 8, 8), blocks=(0, 0), dim=8, layers=1, decoder_layers=1, hidden=8, tower=8)
BOXES = np.array([[10.0, 10, 30, 50], [50.0, 20, 66, 52], [80.0, 5, 110, 65]])


def image() -> torch.Tensor:
    """A red, a green and a red over blue box on a grey ground with a little noise."""
    picture = torch.full((3, 80, 120), 0.5)
    for box, upper, lower in zip(
        BOXES.astype(int), ([1, 0, 0], [0, 1, 0], [1, 0, 0]), ([1, 0, 0], [0, 1, 0], [0, 0, 1])
    ):
        left, top, right, bottom = box
        middle = (top + bottom) // 2
        picture[:, top:middle, left:right] = torch.tensor(upper, dtype=torch.float32)[:, None, None]
        picture[:, middle:bottom, left:right] = torch.tensor(lower, dtype=torch.float32)[:, None, None]
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    return (picture + 0.02 * noise).clamp(0, 1)


def test_colours_are_told_apart_part_by_part() -> None:
    found = colour_looks(image(), BOXES)
    assert found.shape == (3, 48) and np.allclose(np.linalg.norm(found, axis=1), 1)
    red, green, both = found
    assert red @ both == pytest.approx(0.5, abs=0.2) and red @ green < 0.45
    assert red @ colour_looks(image(), BOXES[:1] + np.array([1, 2, 1, -2]))[0] > 0.97  # the box is a little off


def test_colours_change_smoothly_with_the_light() -> None:
    """Soft bins: a little more light changes the histogram a little, wherever the bins end."""
    grey = [torch.full((3, 40, 40), level) for level in np.linspace(0.3, 0.6, 31)]
    seen = np.concatenate([colour_looks(one, np.array([[5.0, 5, 35, 35]])) for one in grey])
    assert (seen[1:] * seen[:-1]).sum(1).min() > 0.97


def test_boxes_beyond_the_image_and_none_at_all() -> None:
    outside = np.array([[-50.0, -50, -20, -20], [110.0, 70, 140, 100]])
    network = TargetNetwork(SMALL).eval()
    for find in (colour_looks, lambda *given: target_looks(network, *given)):
        assert np.isfinite(find(image(), outside)).all() and len(find(image(), outside)) == 2
        assert len(find(image(), BOXES[:0])) == 0 and find(image(), BOXES[:0]).ndim == 2


def test_models_are_those_of_the_detections_whatever_the_others_are() -> None:
    """One pass of the backbone for all: alone or together each detection has the same model."""
    torch.manual_seed(0)
    network = TargetNetwork(SMALL).eval()
    boxes = np.array([[10.0, 10, 34, 34], [50.0, 20, 74, 44], [80.0, 40, 104, 64]])
    together = target_looks(network, image(), boxes)
    assert together.shape == (3, 8)
    for k in range(3):
        assert np.allclose(target_looks(network, image(), boxes[k : k + 1])[0], together[k], atol=1e-4)
    assert abs(unit(together)[0] @ unit(together)[1]) < 0.9999


def test_settings_name_what_is_looked_at(tmp_path) -> None:
    assert looks(AppearanceSettings()) is None
    assert looks(AppearanceSettings(kind="colour")) is colour_looks
    with pytest.raises(UserError, match=r"nothing\.safetensors"):
        looks(AppearanceSettings(kind="target", weights=str(tmp_path / "nothing.safetensors")))


def test_the_tracker_looks_where_there_is_an_image_and_nothing_is_given() -> None:
    tracker = Tracker.from_config("reference", ["tracker.appearance.kind=colour"])
    found = Detections.from_arrays(BOXES)
    scene = tracker.step(tracker.start(), Frame(0, 0.0, image=image()), found)[1]
    assert np.allclose(scene.embeddings.numpy(), colour_looks(image(), BOXES), atol=1e-6)
    given = Detections.from_arrays(BOXES, embeddings=np.eye(3))
    assert (
        tracker.step(tracker.start(), Frame(0, 0.0, image=image()), given)[1].embeddings.tolist() == np.eye(3).tolist()
    )
    assert tracker.step(tracker.start(), Frame(0, 0.0), found)[1].embeddings.shape == (3, 0)
    plain = Tracker.from_config("reference")
    assert plain.step(plain.start(), Frame(0, 0.0, image=image()), found)[1].embeddings.shape == (3, 0)

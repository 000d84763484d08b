"""Slots on a pretrained backbone: sizes, what is saved and trained, and where the backbone comes from again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detectors.embedded import slot_detector
from detectors.errors import DetectorError
from detectors.pretrained_cues import PretrainedCues
from geometry.errors import GeometryError
from tests.tiny_slots import BACKBONES, tiny_backbone, tiny_detector

NAME = BACKBONES["dinov2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone(tmp_path_factory.mktemp("backbone"), NAME)


@pytest.mark.parametrize("size", [(48, 64), (37, 51)])
def test_features_are_at_half_the_resolution_and_hold_what_the_network_knows(
    folder: Path, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    net = PretrainedCues(NAME, str(folder), (8, 8, 8, 8), 8).eval()
    images = torch.rand(2, 3, *size)
    found = net.features(images)
    assert found.shape == (2, 8, -(-size[0] // 2), -(-size[1] // 2))
    net._pretrained[0].network.norm.weight.data.zero_()
    assert not torch.allclose(net.features(images), found)


def test_the_pretrained_network_is_neither_saved_nor_trained_but_moves_along(folder: Path) -> None:
    net = PretrainedCues(NAME, str(folder), (8, 8, 8, 8), 8)
    assert {name.partition(".")[0] for name in net.state_dict()} == {"cues", "map", "mix"}
    net(torch.rand(1, 3, 32, 32)).sum().backward()
    (held,) = net._pretrained
    assert all(value.grad is None for value in held.parameters())
    assert all(value.grad is not None for value in net.parameters())
    net.double()
    assert held.network.norm.weight.dtype == torch.float64 == net(torch.rand(1, 3, 32, 32).double()).dtype


def test_a_detector_is_built_again_as_its_file_says(folder: Path, tmp_path: Path) -> None:
    weights, image = tmp_path / "detector.safetensors", torch.rand(3, 40, 56)
    made = tiny_detector(weights, NAME, folder)
    for backbone in (None, folder):
        found = slot_detector(weights, backbone)
        torch.testing.assert_close(found(image[None]).objectness, made(image[None]).objectness)
    assert len(slot_detector(weights).detect(image)) > 0


def test_what_is_wrong_with_the_backbone_is_said(folder: Path, tmp_path: Path) -> None:
    weights = tmp_path / "detector.safetensors"
    tiny_detector(weights, NAME, folder)
    with pytest.raises(DetectorError, match="nowhere: expected a folder or checkpoint"):
        slot_detector(weights, tmp_path / "nowhere")
    with pytest.raises(DetectorError, match="trained on a pretrained backbone, found others"):
        slot_detector(None, folder)
    other = tiny_backbone(tmp_path / "other", BACKBONES["dinov3"])
    with pytest.raises(GeometryError, match="expected weights of vit_small_patch14_dinov2"):
        slot_detector(weights, other)
